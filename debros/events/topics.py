"""Names of topics: words between dots, `chat.room1.typing`; and patterns, in which `*` stands for a word.

At its end `*` stands for one word or more, so `chat.*` are all topics below `chat`, and `*` alone is every topic. The
first word says who publishes: `node` the node to its own program, `model` what models announce, `presence` who is here; any
other is the application's.
"""

from __future__ import annotations

import re
from typing import Final, get_args

from debros.errors import TopicError, did_you_mean
from debros.sync.notices import Kind

MAX_TOPIC: Final = 255  # characters
_WORD: Final = r"[A-Za-z0-9_-]+"
_TOPIC: Final = re.compile(rf"{_WORD}(\.{_WORD})*")
_PATTERN: Final = re.compile(rf"({_WORD}|\*)(\.({_WORD}|\*))*")
NOTICES: Final = (*get_args(Kind), "skipped", "migration", "migration_progress")
RESERVED: Final = ("node", "model", "presence")


def checked_topic(topic: object) -> str:
    """Return the name of a topic that a program may publish to.

    Raises:
        TopicError: it is of another form, or reserved.
    """
    if not is_topic(topic):
        raise TopicError(f"{topic!r} is no topic: words of letters, digits, `_` and `-` between dots, 'chat.typing'")
    first = str(topic).partition(".")[0]
    if first in RESERVED:
        raise TopicError(f"{topic!r}: topics that begin with {first!r} are published by debros itself")
    return str(topic)


def is_topic(topic: object) -> bool:
    """Whether this is the name of a topic, any of them."""
    return isinstance(topic, str) and len(topic) <= MAX_TOPIC and _TOPIC.fullmatch(topic) is not None


def checked_pattern(pattern: object) -> str:
    """Return a pattern of topics to subscribe to.

    Raises:
        TopicError: it is of another form, or names a notice that no node gives.
    """
    if not isinstance(pattern, str) or len(pattern) > MAX_TOPIC or not _PATTERN.fullmatch(pattern):
        raise TopicError(f"{pattern!r} is no pattern: a topic, with `*` in place of words, 'chat.*'")
    first, _, rest = pattern.partition(".")
    if first == "node" and rest not in NOTICES and rest != "*":
        known = [f"node.{kind}" for kind in NOTICES]
        raise TopicError(f"{pattern!r} is no notice{did_you_mean(pattern, known)}; there are {', '.join(known)}")
    return pattern


def matcher(pattern: str) -> re.Pattern[str]:
    """Return what matches the whole name of a topic that a pattern means."""
    words = [_WORD if word == "*" else re.escape(word) for word in pattern.split(".")]
    if pattern.endswith("*"):
        words[-1] = rf"{_WORD}(\.{_WORD})*"
    return re.compile(r"\.".join(words))
