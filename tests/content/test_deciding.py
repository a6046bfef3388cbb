"""Rules and decisions, as pure functions of facts and time: every row of the Pinning table that is arithmetic."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros import by_age, by_size, custom, fixed, popularity, tiered
from debros.errors import ModelError
from debros.pinning.deciding import HYSTERESIS, Candidate, Room, decayed, decide, is_protected, outlived
from debros.pinning.rules import DAY_S, HOUR_S, Facts, Rule

MB = 1_000_000
NEW = Facts(model="Photo", cid="bafy", size=MB, age_s=0, idle_s=0, accesses=0, score=0, copies=1)


def facts(**changes: object) -> Facts:
    return replace(NEW, **changes)  # type: ignore[arg-type]


def one(key: int, rule: Rule | None, about: Facts, *, here: bool = True, kept: bool = False) -> Candidate:
    return Candidate(key, rule, about, here, kept)


def stays(*candidates: Candidate, room: Room | None = None, force: bool = False) -> set[int]:
    verdicts = decide(candidates, room or Room(), force=force)
    assert set(verdicts) == {candidate.key for candidate in candidates}
    return {key for key, verdict in verdicts.items() if verdict.stays}


# -- table: strategies -----------------------------------------------------------------------------------------


def test_fixed_gives_its_factor() -> None:
    assert fixed().priority(NEW) == 1
    assert fixed(factor=3).priority(facts(age_s=1e9, size=10**12)) == 3


@pytest.mark.parametrize(
    ("idle_s", "score", "expected"),
    [
        (0, 0, 0.6),
        (0, 100, 1.0),
        (0, 1000, 1.0),
        (DAY_S, 0, 0.3),
        (DAY_S, 50, 0.5),
        (2 * DAY_S, 10, 0.19),
        (1e9, 0, 0.0),
    ],
)
def test_popularity_is_recency_and_accesses_up_to_100_times_factor(
    idle_s: float, score: float, expected: float
) -> None:
    rule = popularity(factor=2)
    assert rule.priority(facts(idle_s=idle_s, score=score)) == pytest.approx(2 * expected)


def test_popularity_halves_after_each_half_life() -> None:
    rule = popularity(half_life=HOUR_S)
    assert rule.worth(facts(idle_s=HOUR_S)) == pytest.approx(0.3)
    assert decayed(8, 3 * HOUR_S, rule.half_life_s) == pytest.approx(1)
    assert decayed(8, -5, rule.half_life_s) == 8  # a clock that went back


def test_size_is_smaller_first_relative_to_100_mb_with_a_floor_of_a_tenth() -> None:
    rule = by_size(factor=2)
    assert [rule.worth(facts(size=size)) for size in (0, 50 * MB, 90 * MB, 95 * MB, 10**12)] == [
        1,
        0.5,
        pytest.approx(0.1),
        0.1,
        0.1,
    ]
    assert rule.priority(facts(size=50 * MB)) == 1


def test_age_is_newer_first_over_30_days_with_a_floor_of_a_tenth() -> None:
    rule = by_age()
    assert [rule.worth(facts(age_s=days * DAY_S)) for days in (0, 15, 27, 300)] == [1, 0.5, pytest.approx(0.1), 0.1]


def test_tiered_has_different_rules_for_different_tiers_of_data() -> None:
    rule = tiered(
        (lambda c: c.size < MB, fixed(factor=5)), (lambda c: c.age_s > DAY_S, by_age()), default=popularity(), factor=2
    )
    assert rule.priority(facts(size=10)) == 10
    assert rule.priority(facts(age_s=15 * DAY_S)) == 1
    assert rule.priority(facts(idle_s=DAY_S)) == pytest.approx(0.6)


def test_custom_asks_a_function_and_is_cut_to_0_to_1_times_factor() -> None:
    rule = custom(lambda c: c.size / MB, factor=3)
    assert [rule.priority(facts(size=size)) for size in (MB // 2, 5 * MB, -MB)] == [1.5, 3, 0]
    assert custom(lambda c: float("nan")).worth(NEW) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"factor": 0}, {"factor": 0.5}, {"factor": "2"}, {"factor": True}, {"max_pins": -1}, {"max_pins": 1.5},
        {"min_accesses": -1}, {"max_age": 0}, {"max_bytes": -1}, {"copies": (2, 1)}, {"copies": 1}, {"copies": (-1, 1)},
    ],
    ids=repr,
)  # fmt: skip
def test_an_option_out_of_bounds_is_an_error_that_names_it(wrong: dict[str, object]) -> None:
    for make in (fixed, popularity, by_size, by_age, tiered):
        with pytest.raises(ModelError, match=f"pinning: {next(iter(wrong))}="):
            make(**wrong)  # type: ignore[operator]
    with pytest.raises(ModelError, match="half_life"):
        popularity(half_life=0)
    with pytest.raises(ModelError, match="custom"):
        custom(3)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="tier"):
        tiered((1, 2))  # type: ignore[arg-type]


# -- table: limits ---------------------------------------------------------------------------------------------


def test_limits_are_per_model_and_overall_and_the_best_stay() -> None:
    rule = popularity(max_pins=2)
    idle = [one(n, rule, facts(idle_s=n * DAY_S)) for n in range(1, 6)]
    assert stays(*idle) == {1, 2}
    other = [one(10 + n, popularity(), facts(model="Song", idle_s=n * DAY_S)) for n in range(1, 4)]
    assert stays(*idle, *other) == {1, 2, 11, 12, 13}
    assert stays(*idle, *other, room=Room(max_pins=3)) == {1, 2, 11}
    assert stays(*other, room=Room(max_bytes=2 * MB)) == {11, 12}
    bounded = popularity(max_bytes=3 * MB)
    assert stays(*(one(n, bounded, facts(idle_s=n * DAY_S)) for n in range(1, 6))) == {1, 2, 3}


def test_the_defaults_are_10_000_pins_and_10_gib() -> None:
    assert (Room().max_pins, Room().max_bytes, fixed().max_pins) == (10_000, 10 * 1024**3, 10_000)


def test_a_better_item_replaces_the_worst() -> None:
    rule = popularity(max_pins=2)
    here = [one(1, rule, facts(idle_s=DAY_S)), one(2, rule, facts(idle_s=3 * DAY_S))]
    better = one(3, rule, facts(idle_s=DAY_S / 2), here=False)
    assert stays(*here, better) == {1, 3}


def test_what_is_pinned_by_hand_or_has_no_rule_stays_and_counts() -> None:
    kept = [one(1, None, facts()), one(2, popularity(), facts(idle_s=1e9), kept=True)]
    rest = [one(n, popularity(), facts(idle_s=n * DAY_S)) for n in range(3, 6)]
    assert stays(*kept, *rest, room=Room(max_bytes=3 * MB)) == {1, 2, 3}
    assert stays(*kept, *rest, room=Room(max_bytes=0), force=True) == {1, 2}


# -- table: protection -----------------------------------------------------------------------------------------


def test_protection_is_an_hour_a_worth_above_08_or_more_than_50_accesses() -> None:
    assert is_protected(facts(accesses=1, idle_s=HOUR_S - 1), 0.0) == "used within the hour"
    assert not is_protected(facts(accesses=1, idle_s=HOUR_S), 0.0)
    assert not is_protected(facts(accesses=0, idle_s=0), 0.0)  # never used at all
    assert is_protected(facts(accesses=51, idle_s=1e9), 0.0)
    assert not is_protected(facts(accesses=50, idle_s=1e9), 0.0)
    assert is_protected(facts(idle_s=1e9), 0.81)
    assert not is_protected(facts(idle_s=1e9), 0.8)


def test_what_is_protected_stays_beyond_the_limits_and_force_overrides() -> None:
    rule = popularity(max_pins=1)
    used = [one(n, rule, facts(accesses=1, idle_s=10 * n)) for n in range(1, 4)]
    assert stays(*used) == {1, 2, 3}
    assert stays(*used, force=True) == {1}


# -- table: cleanup --------------------------------------------------------------------------------------------


def test_cleanup_lets_go_of_the_old_the_unused_and_the_idle() -> None:
    old, unused, idle = popularity(max_age=DAY_S), popularity(min_accesses=3), popularity()
    assert "older" in outlived(old, facts(age_s=DAY_S + 1), 1.0)
    assert not outlived(old, facts(age_s=DAY_S), 1.0)
    assert "3 are asked for" in outlived(unused, facts(accesses=2, age_s=DAY_S + 1), 1.0)
    assert not outlived(unused, facts(accesses=2, age_s=DAY_S), 1.0)  # it has a day to be used
    assert not outlived(unused, facts(accesses=3, age_s=1e9), 1.0)
    assert "idle" in outlived(idle, facts(idle_s=7 * DAY_S + 1), 0.29)
    assert not outlived(idle, facts(idle_s=7 * DAY_S + 1), 0.3)
    assert not outlived(idle, facts(idle_s=7 * DAY_S), 0.0)
    assert stays(
        one(1, old, facts(age_s=2 * DAY_S, idle_s=DAY_S)),
        one(2, unused, facts(age_s=2 * DAY_S, idle_s=DAY_S)),
        one(3, idle, facts(age_s=9 * DAY_S, idle_s=8 * DAY_S)),
        one(4, idle, facts(age_s=9 * DAY_S, idle_s=DAY_S)),
        one(5, old, facts(age_s=2 * DAY_S, accesses=60, idle_s=DAY_S)),  # protected
    ) == {4, 5}


# -- hysteresis ------------------------------------------------------------------------------------------------


def test_two_that_are_used_in_turn_do_not_push_each_other_out() -> None:
    rule = popularity(max_pins=1, half_life=DAY_S)
    here = 1
    moves = 0
    last = {1: 0.0, 2: 0.0}
    for step in range(1, 200):
        now = step * 2 * HOUR_S
        last[1 + step % 2] = now
        found = stays(*(one(k, rule, facts(idle_s=now - last[k] + HOUR_S, score=5), here=k == here) for k in (1, 2)))
        moves += found != {here}
        [here] = found
    assert moves == 0


def test_what_is_clearly_better_does_take_the_place() -> None:
    rule = popularity(max_pins=1)
    for ratio, expected in ((HYSTERESIS - 0.01, {1}), (HYSTERESIS + 0.01, {2})):
        weights = {"1": 0.4, "2": 0.4 * ratio}
        rule = custom(lambda c, weights=weights: weights[c.cid], max_pins=1)  # type: ignore[misc]
        assert stays(one(1, rule, facts(cid="1")), one(2, rule, facts(cid="2"), here=False)) == expected


ANY = st.builds(
    lambda size, age, idle, accesses, score: facts(size=size, age_s=max(age, idle), idle_s=idle, accesses=accesses, score=score),
    st.integers(0, 5 * MB), st.floats(0, 1e7), st.floats(0, 1e7), st.integers(0, 200), st.floats(0, 200),
)  # fmt: skip
RULES = st.sampled_from(
    [fixed(), popularity(), by_size(factor=2), by_age(max_pins=3), popularity(max_age=1e5), fixed(max_bytes=4 * MB)]
)


@given(st.lists(st.tuples(RULES, ANY, st.booleans()), max_size=30), st.integers(0, 20 * MB), st.integers(0, 20))
@settings(max_examples=150)
def test_force_holds_every_limit_and_no_decision_depends_on_the_order(
    given_: list[tuple[Rule, Facts, bool]], max_bytes: int, max_pins: int
) -> None:
    made = [one(n, rule, about, here=here) for n, (rule, about, here) in enumerate(given_)]
    room = Room(max_bytes, max_pins)
    verdicts = decide(made, room, force=True)
    assert verdicts == decide(list(reversed(made)), room, force=True)
    kept = [candidate for candidate in made if verdicts[candidate.key].stays]
    assert sum(candidate.facts.size for candidate in kept) <= max_bytes
    assert len(kept) <= max_pins
    gentle = decide(made, room)
    for candidate in made:  # what is protected never goes without force
        assert candidate.rule is not None
        earned = 0.0 if candidate.rule.strategy == "fixed" else candidate.rule.worth(candidate.facts)
        if candidate.is_here and is_protected(candidate.facts, earned):
            assert gentle[candidate.key].stays
