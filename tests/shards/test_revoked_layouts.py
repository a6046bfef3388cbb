"""Whoever announced a layout is revoked: what others wrote under it stays where it is, and is found."""

from __future__ import annotations

from pathlib import Path

from debros import Field, Identity, Model, field, hash_shards, model
from debros.node import Debros
from debros.opening import open as open_node
from tests.support.copying import carry


@model(scope="global", sharding=hash_shards("id", 2))
class Spread(Model):
    """In logs of its own."""

    n: Field[int] = field(default=0)


ANA = Identity.from_seed(bytes([1]) * 32)
PHONE = ANA.new_device()


async def written(db: Debros) -> None:
    """Records under a layout whose announcement counts no more."""
    async with db.acting_as(PHONE):
        await db.shards[Spread].resize(3)
    for n in range(6):
        await Spread.create(n=n)
    await db.revoke(PHONE.key_did, keep=False)


async def numbers(db: Debros) -> list[int]:
    with db.current():
        found = sorted(one.n for one in await Spread.all())
        assert [one.n for one in await Spread.get_many([one.id for one in await Spread.all()])]
        return found


async def test_a_home_shows_them_whenever_it_is_opened_and_whatever_becomes_of_the_view(tmp_path: Path) -> None:
    async with open_node(tmp_path, models=[Spread], identity=ANA, open=True) as db:
        await written(db)
        assert await numbers(db) == list(range(6))
        assert db.shards[Spread].newest.n == 2, "new records follow what counts"
        shown = await db.fingerprint()
    for goes in (False, True, False):
        for path in tmp_path.glob("view.sqlite*") if goes else ():
            path.unlink()
        async with open_node(tmp_path, models=[Spread], identity=ANA, open=True) as db:
            assert await numbers(db) == list(range(6))
            assert await db.fingerprint() == shown
    async with open_node(tmp_path, models=[Spread], identity=ANA, open=True) as db:
        await db.shards[Spread].resize(3)  # by somebody who counts
        assert (db.shards[Spread].newest.n, db.shards[Spread].count) == (3, 5)
        assert await numbers(db) == list(range(6))


async def test_peers_show_them_whatever_came_first() -> None:
    async with (
        open_node(":memory:", models=[Spread], identity=ANA, open=True) as here,
        open_node(":memory:", models=[Spread], identity=ANA, open=True) as far,
        open_node(":memory:", models=[Spread], open=True) as one,
        open_node(":memory:", models=[Spread], open=True) as two,
    ):
        with far.current():
            async with far.acting_as(PHONE):
                await far.shards[Spread].resize(4)
            await far.revoke(PHONE.key_did, keep=False)
        with here.current():
            async with here.acting_as(PHONE):
                await here.shards[Spread].resize(3)
            for n in range(6):
                await Spread.create(n=n)
        for taker, givers in ((one, (far, here)), (two, (here, far))):
            for giver in givers:
                await carry(giver, taker)
            assert await numbers(taker) == list(range(6))
            assert taker.shards[Spread].newest.n == 2
        assert await one.fingerprint() == await two.fingerprint()
        assert one.shards[Spread].layouts == two.shards[Spread].layouts
