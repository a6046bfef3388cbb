"""One write over several stores is whole or not at all, wherever the power goes, and whichever disk refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import debros
from debros.blocks.logfile import LogFile
from debros.errors import StorageError, UniqueError
from tests.support.sharded import Hashed, Plain, some_notes

MODELS = (Hashed, Plain)
STORES = ("home", "shard-0", "shard-1", "shard-2", "shard-3")


def placement(tmp_path: Path) -> dict[str, dict[int, Path]]:
    return {"Hashed": {n: tmp_path / f"shard-{n}" for n in (0, 1, 2, 3)}}


async def ids() -> set[str]:
    return {row.id for row in (*await Hashed.all(), *await Plain.all())}


def segment(tmp_path: Path, store: str) -> Path:
    return tmp_path / store / "log" / "000001.car"


@pytest.mark.parametrize("kind", ["transaction", "create_many"])
@pytest.mark.parametrize("view", ["as before the write", "gone"])
async def test_a_power_cut_leaves_all_of_it_or_nothing(tmp_path: Path, kind: str, view: str) -> None:
    authors = ["ana", "bo", "cyra", "dee", "eve"]
    async with debros.open(tmp_path / "home", models=MODELS, placement=placement(tmp_path)):
        await Hashed.create_many(some_notes(10))
        await Plain.create(id="plain", author="ana")
        before = await ids()
    saved, sizes = tmp_path / "saved", {store: segment(tmp_path, store).stat().st_size for store in STORES}
    for store in STORES:
        shutil.copytree(tmp_path / store, saved / store)
    async with debros.open(tmp_path / "home", models=MODELS) as db:
        if kind == "transaction":
            async with db.transaction():
                for n, author in enumerate(authors):
                    await Hashed.create(id=f"t{n}", author=author)
                await Plain.create(id="t-plain", author="ana")
        else:
            await Hashed.create_many([{"id": f"t{n}", "author": author} for n, author in enumerate(authors)])
        after = await ids()
    written = {store: segment(tmp_path, store).read_bytes() for store in STORES}
    touched = [store for store in STORES if len(written[store]) > sizes[store]]
    assert len(touched) >= 3
    for torn in touched:
        for cut in (0, 1, len(written[torn]) - sizes[torn] - 1, None):
            for store in STORES:
                shutil.rmtree(tmp_path / store)
                shutil.copytree(saved / store, tmp_path / store)
                segment(tmp_path, store).write_bytes(written[store])
                if view == "gone":
                    (tmp_path / store / "view.sqlite").unlink()
            if cut is not None:
                segment(tmp_path, torn).write_bytes(written[torn][: sizes[torn] + cut])
            for _ in range(2):  # what is taken back stays so
                async with debros.open(tmp_path / "home", models=MODELS):
                    assert await ids() - {"next"} == (after if cut is None else before), f"{torn} cut at {cut}"
                    if "next" not in await ids():
                        await Hashed.create(id="next", author="ana")


async def test_where_one_disk_refuses_nothing_of_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with debros.open(tmp_path / "home", models=MODELS, placement=placement(tmp_path)) as db:
        await Hashed.create_many(some_notes(10))
        before = await ids()
        append, calls = LogFile.append, 0

        def refuse(log: LogFile, blocks: Any, *, durable: bool) -> list[int]:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise StorageError("the disk refused")
            return append(log, blocks, durable=durable)

        monkeypatch.setattr(LogFile, "append", refuse)

        async def write() -> None:
            async with db.transaction():
                for n in range(8):
                    await Hashed.create(id=f"t{n}", author=f"author-{n}")

        with pytest.raises(StorageError, match="open the node again"):
            await write()
        monkeypatch.undo()
        with pytest.raises(StorageError, match="open the node again"):
            await Plain.create(author="ana")
    async with debros.open(tmp_path / "home", models=MODELS):
        assert await ids() == before
        await Hashed.create_many([{"id": f"t{n}", "author": f"author-{n}"} for n in range(8)])
    async with debros.open(tmp_path / "home", models=MODELS):
        assert len(await ids()) == len(before) + 8


async def test_a_refused_volume_keeps_nobody_elsewhere_from_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with debros.open(tmp_path / "home", models=MODELS, placement={"Hashed": {0: tmp_path / "shard-0"}}) as db:
        here = next(f"author-{n}" for n in range(20) if db.shards[Hashed].for_key(f"author-{n}") != 0)
        there = next(f"author-{n}" for n in range(20) if db.shards[Hashed].for_key(f"author-{n}") == 0)
        broken = db.store.log.file(1)

        def refuse(*_: Any, **__: Any) -> list[int]:
            raise StorageError("the disk refused")

        monkeypatch.setattr(broken, "append", refuse)
        with pytest.raises(StorageError, match="the disk refused"):
            await Hashed.create(author=there)
        await Hashed.create(author=here)
        assert await Hashed.count() == 1


async def test_ids_and_unique_values_are_unique_over_all_stores(tmp_path: Path) -> None:
    async with debros.open(tmp_path / "home", models=MODELS, placement=placement(tmp_path)):
        await Hashed.create(id="one", author="ana")
        for author in ("ana", "bo", "cyra", "dee", "eve"):
            with pytest.raises(UniqueError):
                await Hashed.create(id="one", author=author)
        assert await Hashed.count() == 1
