"""Which content stays: a pure function of what is known, the rules, the room there is and the time.

Content is ranked by priority; what stands behind the last that has room goes. What is here already counts a little more
than what would take its place (`HYSTERESIS`), so two that are worth the same do not push each other out in turn.
Protected is what was used within the hour, what is worth more than 0.8, and what was used more than 50 times; `force`
overrides that. No rule and no force lets go of what is not known to be held elsewhere: that is seen to by whoever carries
a decision out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp2
from typing import Final

from debros.pinning.rules import DAY_S, HOUR_S, Facts, Rule

HYSTERESIS: Final = 1.25  # of the priority of what is here already
PROTECTED_WORTH: Final = 0.8
PROTECTED_USES: Final = 50
IDLE_S: Final = 7 * DAY_S
IDLE_PRIORITY: Final = 0.3
MAX_PINS: Final = 10_000
MAX_BYTES: Final = 10 << 30


@dataclass(frozen=True, slots=True)
class Candidate:
    """A piece of content that a decision is about. `rule` is `None` for what is kept in any case."""

    key: int
    rule: Rule | None
    facts: Facts
    is_here: bool
    is_kept: bool  # pinned by hand, or of a model without a rule


@dataclass(frozen=True, slots=True)
class Room:
    """What a node gives content."""

    max_bytes: int = MAX_BYTES
    max_pins: int = MAX_PINS


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one piece: whether it stays, why, and its priority."""

    stays: bool
    why: str
    priority: float


def decayed(score: float, passed_s: float, half_life_s: float) -> float:
    """Return what a score is worth after a time."""
    return score * exp2(-max(0.0, passed_s) / half_life_s)


def is_protected(facts: Facts, worth: float) -> str:
    """Return why content is protected, empty if it is not."""
    if facts.accesses and facts.idle_s < HOUR_S:
        return "used within the hour"
    if facts.accesses > PROTECTED_USES:
        return f"used {facts.accesses} times"
    return f"worth {worth:.2f}, above {PROTECTED_WORTH}" if worth > PROTECTED_WORTH else ""


def outlived(rule: Rule, facts: Facts, priority: float) -> str:
    """Return why content has had its time, empty if it has not."""
    if rule.max_age is not None and facts.age_s > rule.max_age:
        return f"older than {rule.max_age:g} s"
    if facts.accesses < rule.min_accesses and facts.age_s > DAY_S:
        return f"used {facts.accesses} times, and {rule.min_accesses} are asked for"
    if facts.idle_s > IDLE_S and priority < IDLE_PRIORITY:
        return f"idle for a week, and its priority is {priority:.2f}"
    return ""


def decide(candidates: Iterable[Candidate], room: Room, *, force: bool = False) -> dict[int, Verdict]:
    """Return, by key, what becomes of each piece of content."""
    verdicts: dict[int, Verdict] = {}
    ranked: list[tuple[bool, float, Candidate, float, str]] = []
    used_bytes = used_pins = 0
    for one in candidates:
        if one.rule is None or one.is_kept:
            verdicts[one.key] = Verdict(True, "pinned by hand" if one.is_kept else "its model has no rule", 0.0)
            used_bytes += one.facts.size
            used_pins += 1
            continue
        worth, priority = one.rule.worth(one.facts), one.rule.priority(one.facts)
        earned = 0.0 if one.rule.strategy == "fixed" else worth  # what is worth the same always is not protected by it
        shield = "" if force or not one.is_here else is_protected(one.facts, earned)
        if not shield and (why := outlived(one.rule, one.facts, priority)):
            verdicts[one.key] = Verdict(False, why, priority)
            continue
        rank = priority * (HYSTERESIS if one.is_here else 1.0)
        ranked.append((bool(shield), rank, one, priority, shield))
    ranked.sort(key=lambda entry: (-entry[0], -entry[1], entry[2].key))
    of_model: dict[str, tuple[int, int]] = {}
    for is_shielded, _, one, priority, shield in ranked:
        rule, facts = one.rule, one.facts
        assert rule is not None
        pins, total = of_model.get(facts.model, (0, 0))
        why = ""
        if pins + 1 > rule.max_pins:
            why = f"more than {rule.max_pins} pins of {facts.model}"
        elif rule.max_bytes is not None and total + facts.size > rule.max_bytes:
            why = f"more than {rule.max_bytes} bytes of {facts.model}"
        elif used_pins + 1 > room.max_pins:
            why = f"more than {room.max_pins} pins"
        elif used_bytes + facts.size > room.max_bytes:
            why = f"more than {room.max_bytes} bytes"
        if why and not is_shielded:
            verdicts[one.key] = Verdict(False, f"{why}, and others have a higher priority", priority)
            continue
        of_model[facts.model] = pins + 1, total + facts.size
        used_pins += 1
        used_bytes += facts.size
        verdicts[one.key] = Verdict(True, shield or f"priority {priority:.2f}", priority)
    return verdicts
