"""A CAR file with logs that are none of this node's: of another group of the same name, or of shards it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from debros import Field, Identity, Model, field, hash_shards, model
from debros.errors import ContentError
from debros.opening import open as open_node


@model(scope="global")
class Plain(Model):
    """In the log that all share."""

    n: Field[int] = field(default=0)


@model(scope="global", sharding=hash_shards("id", 2))
class Spread(Model):
    """In logs of its own."""

    n: Field[int] = field(default=0)


MODELS = [Plain, Spread]
ANA, MALLORY = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2))


async def test_a_log_of_the_same_application_that_others_may_write_is_refused(tmp_path: Path) -> None:
    async with open_node(tmp_path / "theirs", models=MODELS, identity=MALLORY, admins=[MALLORY.did], open=False) as db:
        await Plain.create(n=666)
        await Spread.create(n=666)
        await db.export_car(tmp_path / "theirs.car")
    async with open_node(tmp_path / "mine", models=MODELS, identity=ANA, admins=[ANA.did], open=False) as db:
        await Plain.create(n=1)
        with pytest.raises(ContentError, match="others may write"):
            await db.import_car(tmp_path / "theirs.car")
        assert [one.n for one in await Plain.all()] == [1]
    async with open_node(tmp_path / "mine", models=MODELS, identity=ANA, admins=[ANA.did], open=False):
        assert (await Plain.count(), await Spread.count()) == (1, 0)


@pytest.mark.parametrize("whole", [False, True])
async def test_shards_come_in_once_their_layout_is_known(tmp_path: Path, whole: bool) -> None:
    async with open_node(tmp_path / "theirs", models=MODELS, open=True) as db:
        await Spread.create(n=0)
        await db.shards[Spread].resize(3)
        for n in range(1, 6):
            await Spread.create(n=n)
        await db.export_car(tmp_path / "some.car", Spread)
        await db.export_car(tmp_path / "all.car")
    async with open_node(tmp_path / "mine", models=MODELS, open=True) as db:
        taken = await db.import_car(tmp_path / ("all.car" if whole else "some.car"))
        assert (taken.entries, taken.held) == ((7, 0) if whole else (1, 5))
        assert whole or "no shard here" in taken.reasons[0]
    async with open_node(tmp_path / "mine", models=MODELS, open=True) as db:  # it can be opened
        assert await Spread.count() == (6 if whole else 1)
        if not whole:
            await db.import_car(tmp_path / "all.car")
            taken = await db.import_car(tmp_path / "some.car")
            assert (taken.entries, taken.known, taken.held) == (0, 6, 0)
            assert await Spread.count() == 6
