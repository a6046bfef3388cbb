"""What needs pending rows in the view waits, on the loop, for a thread that builds an index there; nothing else has to wait with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import debros
from debros import Field, Identity, Model, field, model
from debros.node import Debros

GUEST = Identity.from_seed(bytes([5]) * 32)


@model(name="Leaf")
class Leaf(Model):
    text: Field[str] = field(default="")


async def _past(db: Debros, leaf: Leaf, path: Path) -> Any:
    return await Leaf.as_of(leaf.meta.clock).all()


ASKED: dict[str, Callable[[Debros, Leaf, Path], Awaitable[Any]]] = {
    "history": lambda db, leaf, path: leaf.history(),
    "blame": lambda db, leaf, path: leaf.blame(),
    "conflicts": lambda db, leaf, path: leaf.conflicts(),
    "audit": lambda db, leaf, path: db.audit(),
    "revoke": lambda db, leaf, path: db.revoke(GUEST.did),
    "the past": _past,
    "export": lambda db, leaf, path: db.export_car(path / "all.car"),
}


@pytest.mark.parametrize("name", ASKED)
async def test_it_is_answered_once_the_index_is_there(name: str, tmp_path: Path) -> None:
    me = Identity.from_seed(bytes([4]) * 32)
    async with debros.open(tmp_path / "home", models=[Leaf], identity=me, admins=[me.did]) as db:
        leaf = await Leaf.create(text="first")
        other = db.store.view.another(writing=True)
        is_answered = False

        async def ask() -> None:
            nonlocal is_answered
            await ASKED[name](db, leaf, tmp_path)
            is_answered = True

        async with trio.open_nursery() as nursery:
            with closing(other), db.store.taking():
                other.execute("BEGIN IMMEDIATE")
                await Leaf.create(text="pending")
                nursery.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked()
                assert not is_answered
                other.execute("ROLLBACK")
        assert is_answered
