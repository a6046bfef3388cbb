"""Records that are read as they lie come in the order of their ids all the same, and an order by id is asked for once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import debros
from debros import Field, Model, field, model
from debros.query import compile as sql
from debros.replica import reading


@model(name="ordered_word")
class Word(Model):
    text: Field[str]
    size: Field[int] = field(default=0, index=True)


IDS = st.lists(
    st.text(min_size=1, max_size=3).filter(lambda id: not {"~", "/"} & {*id} and id.isprintable()), unique=True
)


@settings(max_examples=30)
@given(IDS)
def test_the_order_is_that_of_sqlite_whatever_ids_are(ids: list[str]) -> None:
    async def check() -> None:
        async with debros.open(":memory:", app="orders", models=[Word]):
            await Word.create_many([{"id": id, "text": "x"} for id in ids])
            lying = [word.id for word in await Word.where(Word.text == "x").all()]
            assert lying == [word.id for word in await Word.where(Word.text == "x").order_by(Word.id.asc()).all()]
            assert lying == [word.id for word in await Word.query().all()] == sorted(ids)

    trio.run(check)


def scan_of(query: Any) -> Any:
    return sql.rows_as_they_lie(query, query.subject.source())


async def test_rows_are_read_as_they_lie_where_every_one_is_looked_at_anyway() -> None:
    async with debros.open(":memory:", app="orders", models=[Word]):
        unhelped = Word.where(Word.text == "x")
        assert "NOT INDEXED" in scan_of(unhelped)[0]
        assert "NOT INDEXED" in scan_of(Word.query())[0]
        for query in (
            Word.where(Word.size == 1), Word.where(Word.id > "a"), unhelped.limit(3), unhelped.offset(1),
            unhelped.order_by(Word.text.asc()), unhelped.select(Word.text), unhelped.use_index("size"),
        ):  # fmt: skip
            assert scan_of(query) is None


async def test_an_order_that_has_the_id_in_it_says_it_once() -> None:
    async with debros.open(":memory:", app="orders", models=[Word]) as db:
        first = Word.query().order_by(Word.id.desc())
        assert first.to_sql().partition("ORDER BY")[2].count('"id"') == 1
        both = Word.query().order_by(Word.size.desc(), Word.id.desc())
        assert both.to_sql().partition("ORDER BY")[2].count('"id"') == 1
        await Word.create_many([{"id": id, "text": id, "size": 1} for id in "bca"])
        assert [word.id for word in await both.all()] == ["c", "b", "a"]
        steps = (await Word.where(Word.id > "a").order_by(Word.id.asc()).explain()).operations
        assert not any("TEMP B-TREE" in one for one in steps)
        assert db.store.reader.long_ones == 0


async def test_a_query_known_to_take_long_goes_beside_the_loop_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with debros.open(tmp_path / "home", app="orders", models=[Word]) as db:
        await Word.create_many([{"id": f"w{n:05}", "text": str(n % 7)} for n in range(20_000)])
        reader = db.store.reader
        query = Word.where(Word.text != "3")
        expected = [f"w{n:05}" for n in range(20_000) if n % 7 != 3]
        assert [word.id for word in await query.all()] == expected
        monkeypatch.setattr(reading, "QUICK_S", 0.0)
        monkeypatch.setattr("debros.shards.source.QUICK_S", 0.0)
        before = reader.long_ones
        assert [word.id for word in await query.all()] == expected
        assert reader.long_ones == before + 1, "it was broken off, and run by a thread, which sorts"
        monkeypatch.setattr("debros.shards.source.QUICK_S", 1000.0)
        assert [word.id for word in await query.all()] == expected
        assert reader.long_ones == before + 2, "it is known to take long"
        monkeypatch.setattr(reading, "QUICK_S", 1000.0)
        assert len(await query.all()) == len(expected)
        assert reader.long_ones == before + 3, "and turned out to be quick"
        assert len(await query.all()) == len(expected)
        assert reader.long_ones == before + 3, "so it is tried on the loop again"


async def test_a_statement_keeps_its_plan_whatever_is_bound(tmp_path: Path) -> None:
    async with debros.open(tmp_path / "home", app="orders", models=[Word]) as db:
        view = db.store.view
        other = view.another()
        try:
            for connection in (view.db, other):
                assert connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, -1) == 1, (
                    "else each binding compiles it anew"
                )
        finally:
            other.close()
