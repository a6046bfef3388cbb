"""What content of a model is worth: rules, declared as `@model(pinning=popularity(factor=2, max_pins=500))`.

A rule gives content a *worth* from 0 to 1, and a priority, worth x `factor`, which decides between models. Times are in
seconds, sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp2
from typing import ClassVar, Final

from typing_extensions import TypedDict, Unpack

from debros.errors import ModelError

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S
MANY: Final = 100.0  # accesses that count as most popular
LARGE: Final = 100_000_000  # bytes at which nothing speaks for content by its size any more
OLD_S: Final = 30 * DAY_S
FLOOR: Final = 0.1  # below which size and age alone do not push content
MAX_FACTOR: Final = 1_000_000.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rule may ask about a piece of content."""

    model: str
    cid: str
    size: int  # bytes
    age_s: float  # since this node knows it
    idle_s: float  # since the last access, or since it is known
    accesses: int  # ever
    score: float  # accesses, each worth half after every half-life
    copies: int  # known to be held by others


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What all rules have. Made by the functions below."""

    factor: float = 1.0
    max_pins: int = 10_000  # pieces of content of the model
    max_bytes: int | None = None  # of content of the model
    min_accesses: int = 0  # below which content goes once it is a day old
    max_age: float | None = None  # seconds after which content goes
    copies: tuple[int, int] = (1, 3)  # that there should be in all: at least, at most

    strategy: ClassVar[str] = "fixed"

    def worth(self, facts: Facts) -> float:
        """Return what content is worth, 0 to 1."""
        return 1.0

    def priority(self, facts: Facts) -> float:
        """Return what decides between pieces of content."""
        return self.worth(facts) * self.factor

    @property
    def half_life_s(self) -> float:
        """Seconds after which an access counts half."""
        return DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Popularity(Rule):
    """0.6 x how recent the last access is, 0.4 x how many there were, both halved every `half_life` seconds."""

    half_life: float = DAY_S

    strategy: ClassVar[str] = "popularity"

    def worth(self, facts: Facts) -> float:
        return 0.6 * exp2(-facts.idle_s / self.half_life) + 0.4 * min(facts.score, MANY) / MANY

    @property
    def half_life_s(self) -> float:
        return self.half_life


@dataclass(frozen=True, slots=True, kw_only=True)
class BySize(Rule):
    """The smaller, the more it is worth, up to 100 MB."""

    strategy: ClassVar[str] = "size"

    def worth(self, facts: Facts) -> float:
        return max(FLOOR, 1 - facts.size / LARGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByAge(Rule):
    """The newer, the more it is worth, up to 30 days."""

    strategy: ClassVar[str] = "age"

    def worth(self, facts: Facts) -> float:
        return max(FLOOR, 1 - facts.age_s / OLD_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiered(Rule):
    """The first tier whose condition holds decides, with its own factor; `default` where none does."""

    tiers: tuple[tuple[Callable[[Facts], bool], Rule], ...] = ()
    default: Rule = Rule()

    strategy: ClassVar[str] = "tiered"

    def worth(self, facts: Facts) -> float:
        return self._tier(facts).worth(facts)

    def priority(self, facts: Facts) -> float:
        return self._tier(facts).priority(facts) * self.factor

    def _tier(self, facts: Facts) -> Rule:
        return next((rule for condition, rule in self.tiers if condition(facts)), self.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom(Rule):
    """What a function of the program says, cut to 0 to 1."""

    function: Callable[[Facts], float] = lambda facts: 1.0

    strategy: ClassVar[str] = "custom"

    def worth(self, facts: Facts) -> float:
        found = self.function(facts)
        return min(1.0, max(0.0, float(found))) if found == found else 0.0


class Options(TypedDict, total=False):
    """What every rule takes.

    `factor` decides between models, 1 or more. `max_pins` and `max_bytes` bound the model's content on this node.
    Content with fewer than `min_accesses` goes once it is a day old, and any after `max_age` seconds. `copies`: how many
    there should be on all nodes, at least and at most; content goes from here only when as many others promised to hold it.
    """

    factor: float
    max_pins: int
    max_bytes: int
    min_accesses: int
    max_age: float
    copies: tuple[int, int]


def fixed(**options: Unpack[Options]) -> Rule:
    """Everything is worth the same, and stays as long as there is room.

    Raises:
        ModelError: an option is out of bounds.
    """
    return _checked(Rule(**options))


def popularity(*, half_life: float = DAY_S, **options: Unpack[Options]) -> Rule:
    """What is used often and lately stays; an access counts half after each `half_life` seconds."""
    return _checked(Popularity(half_life=half_life, **options))


def by_size(**options: Unpack[Options]) -> Rule:
    """Small content stays before large content."""
    return _checked(BySize(**options))


def by_age(**options: Unpack[Options]) -> Rule:
    """New content stays before old content."""
    return _checked(ByAge(**options))


def tiered(
    *tiers: tuple[Callable[[Facts], bool], Rule], default: Rule | None = None, **options: Unpack[Options]
) -> Rule:
    """Different rules for different content: `tiered((lambda c: c.size < 10_000, fixed(factor=3)), default=popularity())`."""
    for tier in tiers:
        if len(tier) != 2 or not callable(tier[0]) or not isinstance(tier[1], Rule):
            raise ModelError(f"pinning: a tier is a condition and a rule, not {tier!r}")
    return _checked(Tiered(tiers=tiers, default=default or Rule(), **options))


def custom(function: Callable[[Facts], float], /, **options: Unpack[Options]) -> Rule:
    """What a function says that gets `Facts` and returns 0 to 1; what it raises stops the sweep, and is told there."""
    if not callable(function):
        raise ModelError(f"pinning: `custom` takes a function of the content's facts, not {function!r}")
    return _checked(Custom(function=function, **options))


def _checked(rule: Rule) -> Rule:
    _check("factor", rule.factor, 1 <= _number(rule.factor) <= MAX_FACTOR, "a number of at least 1")
    _check("max_pins", rule.max_pins, _is_count(rule.max_pins), "a count, 0 or more")
    _check("max_bytes", rule.max_bytes, rule.max_bytes is None or _is_count(rule.max_bytes), "bytes, 0 or more")
    _check("min_accesses", rule.min_accesses, _is_count(rule.min_accesses), "a count, 0 or more")
    _check("max_age", rule.max_age, rule.max_age is None or _number(rule.max_age) > 0, "seconds, above 0")
    good = isinstance(rule.copies, tuple) and len(rule.copies) == 2 and all(map(_is_count, rule.copies))
    _check("copies", rule.copies, good and rule.copies[0] <= rule.copies[1], "(at least, at most), e.g. (1, 3)")
    _check("half_life", rule.half_life_s, _number(rule.half_life_s) > 0, "seconds, above 0")
    return rule


def _check(name: str, value: object, good: bool, what: str) -> None:
    if not good:
        raise ModelError(f"pinning: {name}={value!r} is not {what}")


def _number(value: object) -> float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
    return float(value) if good else -1.0  # type: ignore[arg-type]  # a number, as was just seen


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0
