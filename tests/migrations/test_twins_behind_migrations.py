"""Of two records with one id, in two shards, the older one shows, also once a migration made the rows anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from debros import Field, Migration, Model, field, hash_shards, migration, model
from debros.opening import open as open_node
from tests.support.copying import carry


@model(name="Spoken", version="1.0.0", sharding=hash_shards("author", 4))
class Before(Model):
    author: Field[str]
    text: Field[str] = field(default="")


@model(name="Spoken", version="1.1.0", sharding=hash_shards("author", 4))
class Same(Model):
    author: Field[str]
    text: Field[str] = field(default="")


@model(name="Spoken", version="1.1.0", sharding=hash_shards("author", 4))
class Required(Model):
    author: Field[str]
    lang: Field[str]
    text: Field[str] = field(default="")


SHOUT = migration("shout", "1.1.0").transform("Spoken", lambda row: {**row, "text": row["text"].upper()})
LANG = migration("lang", "1.1.0").add_field("Spoken", "lang", default="en")


@pytest.mark.parametrize(("after", "step"), [(Same, SHOUT), (Required, LANG)], ids=["shown before", "left out before"])
@pytest.mark.parametrize("short", [500, 0], ids=["in the flush", "beside the program"])
async def test_the_older_one_shows_behind_a_migration(
    after: Any, step: Migration, short: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("debros.replica.lifting.SHORT", short)
    monkeypatch.setattr("debros.migrations.turning.SHORT", short)
    async with (
        open_node(tmp_path / "one", models=[Before]) as one,
        open_node(tmp_path / "other", models=[Before]) as other,
    ):
        for node, author in ((one, "ana"), (other, "eve")):
            with node.current():
                for n in range(3):
                    await Before.create(id=f"twin{n}", author=author, text="said")
        await carry(other, one)
        with one.current():
            assert [each.author for each in await Before.all()] == ["ana"] * 3
    async with open_node(tmp_path / "one", models=[after], migrations=[step]) as one:
        await one.migrations.apply()
        for _ in ("as it grew", "as the flush left it"):
            assert [each.author for each in await after.all()] == ["ana"] * 3
            assert await after.where(after.author == "eve").count() == 0
            one.store.flush()
    for path in (tmp_path / "one").glob("view.sqlite*"):
        path.unlink()
    async with open_node(tmp_path / "one", models=[after], migrations=[step]):
        assert [each.author for each in await after.all()] == ["ana"] * 3
