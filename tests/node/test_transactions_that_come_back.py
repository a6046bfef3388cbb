"""Part of a transaction of this home's own that came back from elsewhere: it is kept whatever happens to the view."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from debros import Field, Model, field, hash_shards, model
from debros.opening import open as open_node


@model(scope="global")
class Ours(Model):
    """What all see."""

    n: Field[int] = field(default=0)


@model(scope="user")
class Mine(Model):
    """What one has."""

    n: Field[int] = field(default=0)


@model(scope="global", sharding=hash_shards("id", 2))
class Spread(Model):
    """What may lie elsewhere."""

    n: Field[int] = field(default=0)


def drop_view(home: Path) -> None:
    for path in home.rglob("view.sqlite*"):
        path.unlink()


@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("later", [False, True])  # whether more is written behind it, in a segment of its own
async def test_it_does_not_go_with_the_view(tmp_path: Path, placed: bool, later: bool) -> None:
    home, car = tmp_path / "home", tmp_path / "log.car"
    models = [Ours, Mine, Spread]
    async with open_node(home, models=models, open=True) as db:
        await Ours.create(n=1)
        async with db.transaction():
            await Ours.create(n=2)
            await Mine.create(n=2)
        await db.export_car(car, db.shared.manifest.address)
    shutil.rmtree(home / "log")
    async with open_node(home, models=models, open=True) as db:
        if placed:
            await db.shards[Spread].move(0, to=tmp_path / "elsewhere")
        assert (await db.import_car(car)).entries == 2
        if later:
            db.store.log.home.begin_segment()
            await Mine.create(n=3)
    for _ in range(2):
        drop_view(tmp_path)
        async with open_node(home, models=models, open=True):
            assert sorted(one.n for one in await Ours.all()) == [1, 2]
            assert [one.n for one in await Mine.all()] == ([3] if later else [])
    assert not list((home / "log").glob("*torn*"))
