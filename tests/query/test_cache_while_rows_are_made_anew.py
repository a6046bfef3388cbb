"""Rows that a peer's migration turns beside the program are no part of any entry here: what was kept counts no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from debros.replica import lifting
from tests.support.versions import Person1, Person2, at_version, send


async def test_a_query_that_is_asked_again_sees_rows_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifting, "SHORT", 10)
    async with at_version(1) as old, at_version(2) as one, at_version(2, str(tmp_path)) as two:
        with old.current():
            await Person1.create_many([{"name": f"n{n}"} for n in range(30)])
        await send(old, one)
        await send(old, two)
        with one.current():
            await one.migrations.apply()
        await send(one, two)
        with two.current():
            query = Person2.where(Person2.email == "").cache()
            assert [len(await query.all()) for _ in range(2)] == [30, 30]
            await two.migrations.caught_up()
            assert await query.all() == []
