r"""Regular expressions in linear time, for `matches`: a pattern from a stranger cannot stop the node.

Python's `re` tries alternatives one after another and may need exponential time. Here a pattern becomes a
nondeterministic automaton whose states are followed all at once (Thompson 1968), and the sets of states met on
the way are kept as a deterministic one, made as the text asks for it, as in RE2. Time is at most the length of the
text times the size of the pattern, memory is bounded by `MAX_NODES` and `MAX_SETS`.

Known are what has meaning in a yes-or-no search: literals, `.`, classes, `\d \w \s` and their opposites,
`\b \B ^ $ \A \Z`, groups, `|`, `* + ? {m,n}` (lazy or not is the same here), and `(?i)` in front. They mean what
they mean in `re`; `$` also stands before a last newline. Back references and look-around are refused: no automaton
has them.

Cox, "Regular Expression Matching Can Be Simple And Fast", 2007, https://swtch.com/~rsc/regexp/regexp1.html.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from debros.errors import QueryError

MAX_PATTERN: Final = 1_000  # characters
MAX_NODES: Final = 5_000  # after repeats are written out
MAX_REPEAT: Final = 1_000
MAX_GROUPS: Final = 50  # one inside the other
MAX_SETS: Final = 2_000  # states of the deterministic automaton; beyond it begins anew
MAX_SEEN: Final = 20_000  # steps kept, one per state and character met

Test: TypeAlias = Callable[[str], bool]
_CATEGORY: Final[dict[str, Test]] = {
    "d": str.isdecimal,
    "w": lambda c: c.isalnum() or c == "_",
    "s": str.isspace,
}
_ESCAPE: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "0": "\0"}
_ASSERTED: Final = {"A": "start", "Z": "end", "b": "boundary", "B": "inside"}


class _Node(NamedTuple):
    """One state: a character to test, a condition on the place, or ways that cost nothing."""

    kind: str  # "char", "split", "start", "end", "dollar", "boundary", "inside", "match"
    test: Test | None
    to: tuple[int, ...]


Fragment: TypeAlias = Callable[[int], int]  # given what follows, adds its nodes and returns where they begin


class _Parser:
    """Reads a pattern into nodes. Fragments are closures, so that a repeat can be written out several times."""

    def __init__(self, pattern: str) -> None:
        self.nodes: list[_Node] = []
        self._text = pattern
        self._at = 0
        self._depth = 0
        self._fold = pattern.startswith("(?i)")
        if self._fold:
            self._at = 4

    def parse(self) -> int:
        whole = self._alternatives()
        if self._at != len(self._text):
            raise self._wrong("a `)` without its `(`")
        return whole(self._add(_Node("match", None, ())))

    def _wrong(self, what: str) -> QueryError:
        return QueryError(f"the regular expression {self._text!r} has {what} at character {self._at}")

    def _add(self, node: _Node) -> int:
        if len(self.nodes) >= MAX_NODES:
            raise QueryError(f"the regular expression {self._text[:80]!r} is too large; write it with smaller repeats")
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        self._at += 1
        return self._text[self._at - 1 : self._at]

    def _alternatives(self) -> Fragment:
        ways = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            ways.append(self._sequence())
        if len(ways) == 1:
            return ways[0]
        return lambda follow: self._add(_Node("split", None, tuple(way(follow) for way in ways)))

    def _sequence(self) -> Fragment:
        items: list[Fragment] = []
        while self._peek() not in ("", "|", ")"):
            items.append(self._repeated(self._atom()))

        def build(follow: int) -> int:
            for item in reversed(items):
                follow = item(follow)
            return follow

        return build

    def _repeated(self, item: Fragment) -> Fragment:
        bounds = self._bounds()
        if bounds is None:
            return item
        if self._peek() == "?":  # lazy: the same answer
            self._at += 1
        elif self._peek() == "+":
            raise self._wrong("a possessive repeat, which is not known here,")
        if self._peek() in ("*", "+", "?") or self._bounds() is not None:
            raise self._wrong("a repeat of a repeat")
        least, most = bounds
        return lambda follow: self._write_repeat(item, least, most, follow)

    def _write_repeat(self, item: Fragment, least: int, most: int | None, follow: int) -> int:
        if most is None:
            loop = self._add(_Node("split", None, ()))
            self.nodes[loop] = _Node("split", None, (item(loop), follow))
            follow = loop
        else:
            end = follow
            for _ in range(most - least):
                follow = self._add(_Node("split", None, (item(follow), end)))
        for _ in range(least):
            follow = item(follow)
        return follow

    def _bounds(self) -> tuple[int, int | None] | None:
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        mark = self._peek()
        if mark in simple:
            self._at += 1
            return simple[mark]
        found = re.compile(r"\{(\d*)(,?)(\d*)\}").match(self._text, self._at) if mark == "{" else None
        if found is None or found.group(0) in ("{}", "{,}"):  # as in `re`, a `{` that is no repeat is itself
            return None if found is None or found.group(0) == "{}" else self._bounded(found, 0, None)
        least = int(found.group(1) or 0)
        most = (int(found.group(3)) if found.group(3) else None) if found.group(2) else least
        return self._bounded(found, least, most)

    def _bounded(self, found: re.Match[str], least: int, most: int | None) -> tuple[int, int | None]:
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            raise self._wrong(f"a repeat that is not within 0..{MAX_REPEAT}")
        self._at = found.end()
        return least, most

    def _atom(self) -> Fragment:
        mark = self._take()
        if mark == "(":
            return self._group()
        if mark == "[":
            return self._one(self._class())
        if mark == ".":
            return self._one(lambda c: c != "\n")
        if mark in ("^", "$"):
            return self._assert("start" if mark == "^" else "dollar")
        if mark == "\\":
            if self._peek() in _ASSERTED:
                return self._assert(_ASSERTED[self._take()])
            return self._one(self._escaped())
        if mark in ("*", "+", "?"):
            raise self._wrong("nothing to repeat")
        return self._one(_is(mark))

    def _assert(self, kind: str) -> Fragment:
        return lambda follow: self._add(_Node(kind, None, (follow,)))

    def _one(self, test: Test) -> Fragment:
        found = _folded(test) if self._fold else test
        return lambda follow: self._add(_Node("char", found, (follow,)))

    def _group(self) -> Fragment:
        if self._peek() == "?":
            named = re.compile(r"\?P<[A-Za-z_]\w*>|\?:").match(self._text, self._at)
            if named is None:
                raise self._wrong("a group that is not known here (look-around, flags, back reference)")
            self._at = named.end()
        self._depth += 1
        if self._depth > MAX_GROUPS:
            raise self._wrong(f"more than {MAX_GROUPS} groups inside each other")
        inner = self._alternatives()
        if self._take() != ")":
            raise self._wrong("a `(` without its `)`")
        self._depth -= 1
        return inner

    def _escaped(self) -> Test:
        literal = self._escaped_literal()
        return literal if callable(literal) else _is(literal)

    def _escaped_literal(self) -> str | Test:
        letter = self._take()
        if letter.lower() in _CATEGORY:
            test = _CATEGORY[letter.lower()]
            return test if letter.islower() else lambda c: not test(c)
        if letter in ("x", "u", "U"):
            digits = self._text[self._at : self._at + {"x": 2, "u": 4, "U": 8}[letter]]
            if not re.fullmatch(r"[0-9a-fA-F]+", digits) or len(digits) != {"x": 2, "u": 4, "U": 8}[letter]:
                raise self._wrong("an escape without its hexadecimal digits")
            self._at += len(digits)
            if int(digits, 16) > 0x10FFFF:
                raise self._wrong("an escape beyond Unicode")
            return chr(int(digits, 16))
        if letter in _ESCAPE:
            return _ESCAPE[letter]
        if letter == "" or (letter.isascii() and letter.isalnum()):
            raise self._wrong("an escape that is not known here (back reference?)")
        return letter

    def _class(self) -> Test:
        negated = self._peek() == "^"
        self._at += negated
        singles: set[str] = set()
        ranges: list[tuple[str, str]] = []
        tests: list[Test] = []
        first = True
        while first or self._peek() != "]":
            first = False
            low = self._class_item()
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = self._class_item()
                if not isinstance(low, str) or not isinstance(high, str) or high < low:
                    raise self._wrong("a range that is none")
                ranges.append((low, high))
            elif isinstance(low, str):
                singles.add(low)
            else:
                tests.append(low)
        self._at += 1

        def member(c: str) -> bool:
            return c in singles or any(a <= c <= z for a, z in ranges) or any(test(c) for test in tests)

        return (lambda c: not member(c)) if negated else member

    def _class_item(self) -> str | Test:
        mark = self._take()
        if mark == "":
            raise self._wrong("a `[` without its `]`")
        if mark != "\\":
            return mark
        if self._peek() == "b":
            self._at += 1
            return "\b"
        return self._escaped_literal()


def _folded(test: Test) -> Test:
    return lambda c: test(c) or test(c.lower()) or test(c.upper())


def _is(letter: str) -> Test:
    return lambda c: c == letter


class Pattern:
    """A compiled regular expression."""

    def __init__(self, pattern: str) -> None:
        if len(pattern) > MAX_PATTERN:
            raise QueryError(f"a regular expression has at most {MAX_PATTERN} characters, not {len(pattern)}")
        parser = _Parser(pattern)
        self._begin = parser.parse()
        self._nodes = parser.nodes
        self._forget()

    def _forget(self) -> None:
        self._numbers: dict[frozenset[int], int] = {frozenset({self._begin}): 0}
        self._sets: list[frozenset[int]] = [frozenset({self._begin})]
        self._steps: dict[tuple[int, str, str, str], int] = {}

    def search(self, text: str) -> bool:
        """Return whether the pattern matches anywhere in the text."""
        # A step depends on the set of states, the character, the one before it (for \b) and, near the end, on how
        # many characters are left (for $), so that no more of the text than this needs to be known.
        state, before, last = 0, "", len(text) - 1
        for at, c in enumerate(text):
            ahead = "" if at < last else "end"
            if c == "\n" and at == last:
                ahead = "newline"
            sort = "" if at == 0 else "w" if _CATEGORY["w"](before) else "-"
            following = self._steps.get((state, c, sort, ahead))
            if following is None:
                following = self._step(state, c, sort, ahead)
            if following < 0:
                return True
            state, before = following, c
        sort = "" if not text else "w" if _CATEGORY["w"](before) else "-"
        return self._closure(self._sets[state], sort, "", "") is None

    def _step(self, state: int, c: str, sort: str, ahead: str) -> int:
        """Return the number of the set behind `c`, -1 if the pattern has matched before it."""
        reached = self._closure(self._sets[state], sort, c, ahead)
        if reached is None:
            following = -1
        else:
            tests = [(node.test, node.to[0]) for node in reached if node.test is not None]
            met = frozenset({self._begin, *(to for test, to in tests if test(c))})  # a match may begin anywhere
            if len(self._sets) > MAX_SETS or len(self._steps) > MAX_SEEN:
                self._forget()
                self._numbers[met] = following = len(self._sets)
                self._sets.append(met)
                return following  # `state` no longer has its number, so this step is not kept
            following = self._numbers.setdefault(met, len(self._sets))
            if following == len(self._sets):
                self._sets.append(met)
        self._steps[state, c, sort, ahead] = following
        return following

    def _closure(self, states: frozenset[int], sort: str, c: str, ahead: str) -> list[_Node] | None:
        """Return the nodes reached without taking a character, `None` if one of them is the match."""
        boundary = (sort == "w") != (c != "" and _CATEGORY["w"](c))
        holds = {
            "split": True,
            "start": sort == "",
            "end": c == "",
            "dollar": c == "" or ahead == "newline",
            "boundary": boundary,
            "inside": not boundary,
        }
        seen, waiting, found = set(states), list(states), []
        while waiting:
            node = self._nodes[waiting.pop()]
            if node.kind == "match":
                return None
            if node.kind == "char":
                found.append(node)
            elif holds[node.kind]:
                waiting += [to for to in node.to if to not in seen]
                seen.update(node.to)
        return found


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Pattern:
    """Return the compiled form of a pattern.

    Raises:
        QueryError: it is no regular expression, is too large, or has a part that no automaton has.
    """
    return Pattern(pattern)
