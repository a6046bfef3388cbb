"""A home that dies at any byte of a resize and of what follows it: nothing lost, nothing doubled, and it goes on."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import debros
from tests.support.sharded import START, Hashed, Ranged


async def test_at_every_byte_of_a_resize_a_home_is_whole(tmp_path: Path) -> None:
    story, log = tmp_path / "story", tmp_path / "story" / "log" / "000001.car"
    acknowledged: list[tuple[int, int, int]] = []  # bytes, records, layouts

    async with debros.open(story, models=[Hashed, Ranged]) as db:

        async def note() -> None:
            layouts = len(db.shards[Hashed].layouts) + len(db.shards[Ranged].layouts)
            acknowledged.append((db.store.log.end, await Hashed.count() + await Ranged.count(), layouts))

        for n in range(3):
            await Hashed.create(id=f"h{n}", author=f"author-{n}")
            await Ranged.create(id=f"r{n}", author="ana", at=START + timedelta(days=3 * n))
        await note()
        await db.shards[Hashed].resize(7)
        await note()
        async with db.transaction():
            for n in range(3, 6):
                await Hashed.create(id=f"h{n}", author=f"author-{n - 3}")
        await note()
        await db.shards[Ranged].split(START + timedelta(days=4))
        await note()
        await Ranged.create(id="r3", author="ana", at=START + timedelta(days=5))
        await note()
    whole = log.read_bytes()
    begin, end = acknowledged[0][0] & 0xFFFFFFFF, len(whole)
    for size in range(begin, end + 1, max(1, (end - begin) // 40)):
        home = tmp_path / f"cut-{size}"
        (home / "log").mkdir(parents=True)
        for name in ("identity", "device"):
            shutil.copy(story / name, home / name)
        (home / "log" / "000001.car").write_bytes(whole[:size])
        records, layouts = next((r, x) for at, r, x in reversed(acknowledged) if at & 0xFFFFFFFF <= size)
        async with debros.open(home, models=[Hashed, Ranged]) as db:
            found = [row.id for row in (*await Hashed.all(), *await Ranged.all())]
            assert len(found) == len(set(found)) == records, "all that was acknowledged, each once"
            assert len(db.shards[Hashed].layouts) + len(db.shards[Ranged].layouts) == layouts
            await db.shards[Hashed].resize(7)
            await Hashed.create(id="after", author="author-1")
            by_key = await Hashed.where(Hashed.author == "author-1").all()
            assert {row.id for row in by_key} == {"after", *(id for id in found if id in ("h1", "h4"))}
