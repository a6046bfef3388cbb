"""A batch is judged like its entries one by one, though the signatures of a large one are checked in a thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from debros import Field, Model, model
from debros.errors import DebrosError
from debros.log import gate
from debros.replica.receive import CHECKED_APART, LARGE_BODY, Delivery, receive
from tests.support.nodes import a_node

COUNT = CHECKED_APART + 8


@model(scope="global", name="Batched")
class Batched(Model):
    title: Field[str]


@model(scope="global", name="Other")
class Other(Model):
    title: Field[str]


@pytest.fixture(scope="module")
def written() -> tuple[Delivery, ...]:
    """Return the entries of somebody who created documents one by one."""

    async def write() -> tuple[Delivery, ...]:
        async with a_node(Batched) as node:
            for n in range(COUNT):
                await Batched.create(title=f"{n}")
            store = node.store
            rows = [store.entries.by_number(e) for e in range(1, store.entries.next_e)]
            return tuple(Delivery(store.log.read(row.header), store.log.read(row.body)) for row in rows)

    return trio.run(write)


def spoilt(delivery: Delivery, how: str) -> Delivery:
    match how:
        case "signature":
            return delivery._replace(header=delivery.header[:-1] + bytes([delivery.header[-1] ^ 1]))
        case "body":
            return delivery._replace(body=b"\xa0")
        case "no body":
            return delivery._replace(body=None)
        case _:
            return delivery._replace(header=delivery.header[:-9])


async def outcome(batches: Sequence[Sequence[Delivery]]) -> tuple[str, int, str]:
    """Return what a new node says of these batches, up to the first that it does not take whole, and what it then shows."""
    told = ""
    async with a_node(Batched) as node:
        for batch in batches:
            try:
                await receive(node.store, node.shared, batch)
            except DebrosError as error:
                told = f"{type(error).__name__}: {error}"
                break
        return told, node.store.entries.next_e, await node.fingerprint()


@settings(max_examples=12)
@given(st.integers(0, COUNT - 1), st.sampled_from(["signature", "body", "no body", "form", "missing", "twice"]))
def test_a_large_batch_is_judged_like_its_entries_one_by_one(written: tuple[Delivery, ...], at: int, how: str) -> None:
    batch = list(written)
    match how:
        case "missing":
            del batch[at]
        case "twice":
            batch.insert(at, batch[at])
        case _:
            batch[at] = spoilt(batch[at], how)
    together = trio.run(outcome, [batch])
    assert together == trio.run(outcome, [[one] for one in batch])
    assert (together[0] == "") == (how == "twice" or (how == "missing" and at == COUNT - 1))


async def test_an_entry_that_came_from_elsewhere_while_a_thread_checked_it_is_known_though_its_body_is_wrong(
    written: tuple[Delivery, ...],
) -> None:
    batch = list(written)
    batch[3] = spoilt(batch[3], "body")
    async with a_node(Batched) as node:
        offload, env = node.store.env.offload, node.store.env

        class Slow:
            """A world whose threads take so long that another peer is quicker."""

            def __getattr__(self, name: str) -> Any:
                return getattr(env, name)

            async def offload(self, function: Callable[..., Any], *args: Any) -> Any:
                checked = await offload(function, *args)
                node.store.env = env
                assert await receive(node.store, node.shared, written[:6]) == 6
                return checked

        node.store.env = Slow()
        assert await receive(node.store, node.shared, batch) == COUNT - 6
        assert await Batched.count() == COUNT


async def test_signatures_of_a_large_batch_are_checked_in_a_thread_once_each_and_none_behind_a_bad_one(
    written: tuple[Delivery, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []
    check = gate.check_signature

    def noted(header: Any) -> None:
        checked.append(get_ident())
        check(header)

    monkeypatch.setattr(gate, "check_signature", noted)
    await outcome([written])
    assert len(checked) == COUNT
    assert get_ident() not in checked
    checked.clear()
    batch = list(written)
    batch[4] = spoilt(batch[4], "signature")
    await outcome([batch])
    assert len(checked) <= 6  # the bad one is looked at again, by whoever tells


@pytest.mark.parametrize("is_usual", [True, False])
async def test_a_large_body_is_read_where_it_comes_if_that_is_quick_and_else_in_a_thread(
    is_usual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "x" * 400
    async with a_node(Batched, Other) as writer:
        async with writer.transaction():
            await Batched.create_many([{"title": f"{text}{n}"} for n in range(100)])
            if not is_usual:  # changes of two models do not begin alike
                await Other.create(title=text)
        row = writer.store.entries.by_number(writer.store.entries.next_e - 1)
        large = Delivery(writer.store.log.read(row.header), writer.store.log.read(row.body))
    assert len(large.body or b"") > LARGE_BODY
    checked: list[bool] = []
    check = gate.check_signature

    def noted(header: Any) -> None:
        checked.append(get_ident() == here)
        check(header)

    here = get_ident()
    monkeypatch.setattr(gate, "check_signature", noted)
    async with a_node(Batched, Other) as node:
        assert await receive(node.store, node.shared, [large]) == 1
        assert await Batched.count() == 100
    assert checked == [is_usual]
    for how in ("signature", "body", "no body", "header"):
        async with a_node(Batched, Other) as node:
            with pytest.raises(DebrosError):
                await receive(node.store, node.shared, [spoilt(large, how)])
            assert await Batched.count() == 0
