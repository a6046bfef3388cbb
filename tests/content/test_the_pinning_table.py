"""Every row of the Pinning table, done: what the table says, asked of a node or of the rule itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from debros import ClosedError, Field, File, Model, by_age, by_size, custom, fixed, model, popularity, tiered
from debros.config import Config
from debros.pinning.deciding import Candidate, Room, decide
from debros.pinning.rules import DAY_S, HOUR_S, Facts, Rule
from tests.content.test_pins import SIZE, Photo, a_node, held, picture

MB = 1_000_000


def facts(**known: object) -> Facts:
    told = {
        "model": "Photo",
        "cid": "x",
        "size": MB,
        "age_s": DAY_S,
        "idle_s": DAY_S,
        "accesses": 5,
        "score": 5.0,
        "copies": 2,
    }
    return Facts(**{**told, **known})  # type: ignore[arg-type]


def priority(rule: Rule, **known: object) -> float:
    return rule.priority(facts(**known))


def test_fixed_is_the_factor() -> None:
    assert [priority(fixed(factor=n), accesses=n, idle_s=n * DAY_S) for n in (1, 2, 5)] == [1, 2, 5]


def test_popularity_is_06_recency_and_04_accesses_times_factor() -> None:
    fresh = priority(popularity(), idle_s=0, accesses=100, score=100.0)
    assert fresh == pytest.approx(1.0)
    assert priority(popularity(), idle_s=0, accesses=200, score=200.0) == fresh  # accesses count up to 100
    assert priority(popularity(), idle_s=0, accesses=0, score=0.0) == pytest.approx(0.6)
    assert priority(popularity(factor=3), idle_s=0, accesses=100, score=100.0) == pytest.approx(3.0)


def test_size_is_smaller_first_relative_to_100_mb_and_at_least_a_tenth() -> None:
    sizes = [0, 10 * MB, 50 * MB, 100 * MB, 10_000 * MB]
    assert [priority(by_size(factor=2), size=size) for size in sizes] == pytest.approx([2, 1.8, 1, 0.2, 0.2])


def test_age_is_newer_first_over_30_days_and_at_least_a_tenth() -> None:
    ages = [0, 15 * DAY_S, 30 * DAY_S, 300 * DAY_S]
    assert [priority(by_age(), age_s=age) for age in ages] == pytest.approx([1, 0.5, 0.1, 0.1])


def test_tiered_has_a_rule_for_each_tier() -> None:
    rule = tiered((lambda f: f.size < MB, fixed()), (lambda f: f.size < 10 * MB, by_size()), default=by_age())
    assert priority(rule, size=10) == 1
    assert priority(rule, size=5 * MB) == pytest.approx(0.95)
    assert priority(rule, size=50 * MB, age_s=15 * DAY_S) == pytest.approx(0.5)


def test_custom_is_a_function_of_facts_times_factor() -> None:
    assert priority(custom(lambda f: f.accesses / 10, factor=4), accesses=5) == pytest.approx(2.0)


def test_limits_are_per_model_and_overall_and_a_better_item_replaces_the_worst() -> None:
    rule = popularity(max_pins=2)
    candidates = [
        Candidate(n, rule, facts(cid=str(n), score=float(n), idle_s=2 * HOUR_S), n < 3, False) for n in range(1, 4)
    ]
    verdicts = decide(candidates, Room(10 * 1024**3, 10_000), force=False)
    assert sorted(n for n, verdict in verdicts.items() if verdict.stays) in ([1, 2], [2, 3])
    candidates[2] = Candidate(3, rule, facts(cid="3", score=90.0, accesses=90, idle_s=0), False, False)
    verdicts = decide(candidates, Room(10 * 1024**3, 10_000), force=False)
    assert sorted(n for n, verdict in verdicts.items() if verdict.stays) == [2, 3]
    one = decide(candidates, Room(10 * 1024**3, 1), force=True)
    assert sorted(n for n, verdict in one.items() if verdict.stays) == [3]
    assert (Config().content_pins, Config().content_bytes) == (10_000, 10 * 1024**3)


def test_protection_is_an_hour_08_or_50_accesses_and_force_overrides() -> None:
    quiet = {"idle_s": 2 * HOUR_S, "accesses": 1, "score": 0.1}
    for known in ({**quiet, "idle_s": HOUR_S - 1}, {**quiet, "accesses": 51}):
        candidate = [Candidate(1, popularity(max_age=1), facts(**known), True, False)]
        assert decide(candidate, Room(0, 0), force=False)[1].stays, known
        assert not decide(candidate, Room(0, 0), force=True)[1].stays, known
    worth = [Candidate(1, custom(lambda f: 0.81), facts(**quiet), True, False)]
    assert decide(worth, Room(0, 0), force=False)[1].stays
    plain = [Candidate(1, custom(lambda f: 0.79), facts(**quiet), True, False)]
    assert not decide(plain, Room(0, 0), force=False)[1].stays


def test_cleanup_is_older_than_max_age_rarer_than_min_accesses_or_idle_a_week_below_03() -> None:
    room = Room(10 * 1024**3, 10_000)
    old = facts(age_s=11 * DAY_S, idle_s=2 * HOUR_S)
    for rule, known in (
        (fixed(max_age=10 * DAY_S), old), (fixed(min_accesses=6), facts(age_s=2 * DAY_S, idle_s=2 * HOUR_S)),
        (custom(lambda f: 0.29), facts(idle_s=7 * DAY_S + 1)),
    ):  # fmt: skip
        assert not decide([Candidate(1, rule, known, True, False)], room, force=False)[1].stays
    for rule, known in (
        (fixed(max_age=12 * DAY_S), old), (fixed(min_accesses=5), facts(age_s=2 * DAY_S, idle_s=2 * HOUR_S)),
        (custom(lambda f: 0.31), facts(idle_s=7 * DAY_S + 1)), (custom(lambda f: 0.29), facts(idle_s=7 * DAY_S - 1)),
    ):  # fmt: skip
        assert decide([Candidate(1, rule, known, True, False)], room, force=False)[1].stays


async def test_methods_pin_unpin_count_uses_and_tell_and_a_closed_node_does_no_more(tmp_path: Path) -> None:
    @model(name="Photo", pinning=fixed(factor=7))  # to set a rule
    class Ruled(Model):
        title: Field[str]

    assert Ruled.__schema__.pinning == fixed(factor=7)
    async with a_node(tmp_path) as (db, _clock):
        photos = [await Photo.create(title=str(n), picture=await picture(n)) for n in range(2)]
        first, second = (photo.picture for photo in photos)
        assert isinstance(first, File)
        assert isinstance(second, File)
        await db.pins.pin(first.cid)
        assert await db.pins.is_pinned(first.cid)
        db.pins.touch(first.link, 4)  # to record accesses
        assert (await db.pins.status(first.cid)).accesses == 4
        assert (await db.pins.stats()).models == {"Photo": 2}  # pins of a model
        assert (await db.pins.metrics()).most_accessed is not None
        await held(db, second, 1, 2)
        assert (await db.pins.unpin(second.cid, force=True)).state == "unpinned"  # to clear
        assert not await db.pins.is_pinned(second.cid)
        assert (await db.pins.stats()).models == {"Photo": 1}
    with pytest.raises(ClosedError):
        await db.pins.stats()


async def test_metrics_are_counts_sizes_ages_uses_rates_and_shares() -> None:
    async with a_node(content_bytes=10 * SIZE) as (db, clock):
        old = await Photo.create(title="old", picture=await picture(1))
        clock.pass_(600)
        new = await Photo.create(title="new", picture=await picture(2))
        assert old.picture is not None
        assert new.picture is not None
        await old.picture.read()
        told = await db.pins.metrics()
        assert (told.count, told.total_bytes, told.average_bytes) == (2, 2 * SIZE, SIZE)
        assert (told.oldest_s, told.newest_s) == (600, 0)
        assert told.most_accessed is not None
        assert told.least_accessed is not None
        assert (told.most_accessed.cid, told.least_accessed.cid) == (old.picture.cid, new.picture.cid)
        assert told.by_strategy == {"popularity": 2}
        assert (told.hits, told.misses, told.hit_rate) == (1, 0, 1.0)
        assert told.utilisation == pytest.approx(0.2)
        assert 0.9 < told.storage_efficiency <= 1
        assert told.access_distribution == {"0": 1, "1-9": 1, "10-99": 0, "100+": 0}
        assert told.recent_activity == 1
