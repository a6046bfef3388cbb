"""Ids of new records."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import pytest

import debros
from debros import Field, Model, current, model
from debros.env import SystemEnv
from debros.models.ids import IdSource, flaw_of, new_id, new_ids
from tests.support.nodes import a_node


class SteppingEnv(SystemEnv):
    """A clock that is set by hand, and randomness that is none."""

    def __init__(self, ms: int = 1_000, byte: int = 0) -> None:
        self.ms = ms
        self.byte = byte

    def now_us(self) -> int:
        return self.ms * 1000

    def random_bytes(self, n: int) -> bytes:
        return bytes([self.byte]) * n

    def environ(self) -> Mapping[str, str]:
        return {}


@model(scope="global")
class Thing(Model):
    name: Field[str]


def test_an_id_is_a_uuid_of_version_7_in_its_usual_text() -> None:
    made = [new_id() for _ in range(1_000)]
    assert all(str(uuid.UUID(id)) == id for id in made)
    assert {uuid.UUID(id).version for id in made} == {7}
    assert {uuid.UUID(id).variant for id in made} == {uuid.RFC_4122}


def test_ids_rise_strictly_within_a_process() -> None:
    made = [new_id() for _ in range(10_000)]
    assert made == sorted(set(made))


def test_an_id_begins_with_the_milliseconds_of_the_clock() -> None:
    made = IdSource().next(SteppingEnv(ms=0x0123456789AB))
    assert made.startswith("01234567-89ab-7")


def test_ids_rise_when_the_clock_goes_back() -> None:
    env, source = SteppingEnv(ms=5_000), IdSource()
    first = source.next(env)
    env.ms = 4_000
    assert first < source.next(env) < source.next(env)


def test_a_millisecond_that_runs_out_of_ids_borrows_from_the_next() -> None:
    env, source = SteppingEnv(ms=0x10, byte=0xFF), IdSource()
    source.next(env)
    source._low = 0xBFFFFFFFFFFFFFFF  # the last id of its millisecond
    assert source.next(env).startswith("00000000-0011-7")


def test_ids_drawn_together_rise_between_those_drawn_alone() -> None:
    made = [new_id(), *new_ids(1_500), new_id(), *new_ids(2)]  # more than there are random steps drawn ahead
    assert len(made) == 1_504
    assert made == sorted(set(made))
    assert new_ids(0) == []


def test_ids_drawn_together_are_what_one_by_one_would_be() -> None:
    alone, together = IdSource(), IdSource()
    env = SteppingEnv(ms=0x10, byte=3)
    alone.next(env)
    together.next(env)
    alone._low = together._low = 0xBFFFFFFFF7000000  # the millisecond runs out of ids meanwhile
    made = [alone.next(env) for _ in range(5)]
    assert together.several(env, 5) == made
    assert {id[:15] for id in made} == {"00000000-0010-7", "00000000-0011-7"}


def test_a_forked_child_does_not_repeat_its_parents_ids() -> None:
    env, source = SteppingEnv(), IdSource()
    source.next(env)
    source.next(env)
    parent = [source.next(env)]
    source._low -= 1
    source.forget_randomness()
    env.byte = 7
    assert source.next(env) not in parent


async def test_a_record_has_its_id_when_it_is_constructed_and_sorts_by_it() -> None:
    async with a_node(Thing):
        things = [Thing(name=str(n)) for n in range(20)]
        await Thing.create_many(reversed(things))
        assert [thing.name for thing in await Thing.all()] == [str(n) for n in range(20)]


async def test_time_and_ids_are_the_current_nodes() -> None:
    class Node:
        env = SteppingEnv(ms=1_767_225_600_000)

    with current.choosing(node=Node()):
        assert debros.now().isoformat() == "2026-01-01T00:00:00+00:00"
        assert new_id().startswith("019b76da-a800-7")


@pytest.mark.parametrize("id", ["a", "x" * 128, "é" * 64, "0 1", "SKU-1"])
def test_a_given_id_may_be_any_text_of_1_to_128_bytes(id: str) -> None:
    assert flaw_of(id, "") is None
    assert Thing(id=id, name="x").id == id


@pytest.mark.parametrize(
    "id", ["x" * 129, "é" * 65, "a/b", "a\n", "a\x7f", "a\x85b", "a~b", "~", "\ud800", 7, None, b"a"]
)
def test_other_ids_are_refused(id: object) -> None:
    assert flaw_of(id, "") is not None
    with pytest.raises(debros.ValidationError) as caught:
        Thing(id=id, name="x")  # type: ignore[arg-type]  # wrong on purpose
    assert [error.field for error in caught.value.errors] == ["id"]


def test_a_suffix_is_required_where_the_model_wants_it() -> None:
    assert flaw_of("abc~admin", "~admin") is None
    assert flaw_of("abc", "~admin") is not None
    assert flaw_of("~admin", "~admin") is not None
    assert flaw_of("a~b~admin", "~admin") is not None
