"""A cursor of changes that was taken while rows were still as they were before a peer's migration is of before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from debros import CursorError
from tests.migrations.test_following_peers import NEW, OLD, Gate, Item2, pair, sizes, small  # noqa: F401 - a fixture
from tests.support.versions import send


async def test_a_cursor_from_between_a_migration_and_its_rows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path) as (here, there):
        await here.migrations.apply()
        gate = Gate(monkeypatch)
        await send(here, there)
        there.store.flush()
        await gate.is_reached.wait()
        async with Item2.query().live() as view:
            assert {row.id: row.size for row in view.rows} == OLD, "old rows, though the log has the migration"
            await Item2.create(id="z", text="written meanwhile")
            change = await anext(view)
        gate.open()
        await there.migrations.caught_up()
        assert {id: size for id, size in (await sizes()).items() if id != "z"} == NEW
        with pytest.raises(CursorError, match="before a migration"):
            async with Item2.query().changes(since=change.cursor):
                pass
        async with Item2.query().live() as view:
            await Item2.create(id="y", text="written behind it")
            change = await anext(view)
        await Item2.create(id="x", text="and this")
        async with Item2.query().changes(since=change.cursor) as changes:
            assert (await anext(changes)).row.id == "x"
