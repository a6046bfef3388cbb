"""Power cuts at every step of a migration: what is found is old or new, never half, and applying again ends it."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest

from debros import Field, Model, field, migration, model
from debros.blocks.files import MemoryFiles
from debros.opening import open_node
from debros.testing.faults import RecordingFiles
from tests.support.stories import VIEW, QuietEnv, forget_view, quick_directory


@model(name="Page", version="1.0.0")
class Page1(Model):
    text: Field[str] = field(default="")


@model(name="Page", version="1.1.0")
class Page2(Model):
    text: Field[str] = field(default="")
    size: Field[int] = field(default=0)


@model(version="1.0.0")
class Copy(Model):
    text: Field[str] = field(default="")


SIZE = migration("size", "1.1.0").add_field("Page", "size", make=lambda row: len(row["text"]) + 1)
WRITING = SIZE.copy_to("Page", "Copy", mapping={"text": "text"}, batch=2).check(lambda db: True)
OLD, NEW = {f"p{n}": 0 for n in range(5)}, {f"p{n}": n + 1 for n in range(5)}


async def look() -> tuple[dict[str, int], set[str]]:
    return {page.id: page.size for page in await Page2.all()}, {copy.id for copy in await Copy.all()}


@pytest.mark.parametrize("step", [SIZE, WRITING], ids=["lift", "lift and copy"])
@pytest.mark.parametrize("way", ["apply", "rollback"])
async def test_a_power_cut_anywhere_leaves_old_or_new(step: Any, way: str) -> None:
    def program(files: Any, folder: Path, seed: int) -> Any:
        home = folder / "home"
        return open_node(QuietEnv(seed), files, home, models=[Page2, Copy], migrations=[step])

    with quick_directory() as folder:
        start = MemoryFiles()
        async with open_node(QuietEnv(), start, folder / "home", models=[Page1]):
            await Page1.create_many({"id": f"p{n}", "text": "x" * n} for n in range(5))
        if way == "rollback":
            async with program(start, folder, 1) as node:
                await node.migrations.apply()
        shutil.copytree(folder / "home", folder / "before")
        disk = RecordingFiles(start)
        async with program(disk, folder, 2) as node:
            await (node.migrations.apply() if way == "apply" else node.migrations.rollback())
        found: set[bool] = set()
        for done, files in disk.power_cuts(Random(8), per_boundary=2):
            forget_view(folder / "home")
            if done % 2:
                for name in VIEW:
                    if (folder / "before" / name).exists():
                        shutil.copy(folder / "before" / name, folder / "home" / name)
            async with program(files, folder, 3 + done) as node:
                sizes, _ = await look()
                assert sizes in (OLD, NEW)
                found.add(sizes == NEW)
                [state] = [each.state for each in await node.migrations.states()]
                assert (sizes == NEW) == (state in ("applied", "running"))
                await node.migrations.apply()
                sizes, copies = await look()
                assert sizes == NEW
                assert copies == (set(NEW) if step is WRITING else set())
                fingerprint = await node.fingerprint()
            forget_view(folder / "home")
            async with program(files, folder, 1000 + done) as node:
                assert await node.fingerprint() == fingerprint
        assert found == {True, False}
