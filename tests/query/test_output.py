"""Rows as dicts, JSON, Arrow, pandas, and as a table in a notebook."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import debros
from debros import Field, Model, Rows, computed, field, model
from tests.support.forum import Post, a_forum
from tests.support.nodes import a_node


@model()
class Sample(Model):
    text: Field[str]
    number: Field[int | None] = field(default=None)
    ratio: Field[float] = field(default=0.5)
    flag: Field[bool] = field(default=True)
    at: Field[dt.datetime] = field(default=dt.datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC))
    day: Field[dt.date] = field(default=dt.date(2025, 1, 2))
    clock: Field[dt.time] = field(default=dt.time(1, 2, 3))
    span: Field[dt.timedelta] = field(default=dt.timedelta(seconds=1.5))
    price: Field[Decimal] = field(default=Decimal("1.50"))
    key: Field[UUID] = field(default=UUID(int=7))
    raw: Field[bytes] = field(default=b"\0x")
    tags: Field[set[str]] = field(default_factory=set)
    numbers: Field[list[int]] = field(default_factory=list)
    data: Field[dict[str, Any]] = field(default_factory=dict)
    secret: Field[str] = field(default="s3cret", expose=False)

    @computed
    def loud(self) -> str:
        return self.text.upper()


async def rows() -> Rows[Sample]:
    await Sample.create(id="a", text="<b>é</b>", tags={"y", "x"}, numbers=[1, 2], data={"n": [1, {"m": None}]})
    await Sample.create(id="b", text="x" * 500, number=3)
    return await Sample.query().all()


async def test_rows_become_dicts_and_json() -> None:
    async with a_node(Sample):
        found = await rows()
        assert found.to_dicts() == [row.to_dict() for row in found]
        assert json.loads(found.to_json()) == [row.to_dict(mode="json") for row in found]
        picked = await Sample.query().select("text", "at", "price", "tags").limit(1).all()
        assert picked.to_dicts() == [
            {"text": "<b>é</b>", "at": found[0].at, "price": Decimal("1.50"), "tags": {"x", "y"}}
        ]
        assert json.loads(picked.to_json()) == [
            {"text": "<b>é</b>", "at": "2025-01-02T03:04:05.678901Z", "price": "1.50", "tags": ["x", "y"]}
        ]
        grouped = await Sample.query().group_by("flag").aggregate(debros.count())
        assert grouped.to_dicts() == [{"0": True, "1": 2}]
        assert (await Sample.where(Sample.text == "none").all()).to_json() == "[]"


async def test_a_notebook_shows_a_table_that_no_value_escapes_from() -> None:
    async with a_forum():
        html = (await Post.query().select("title", "body").limit(2).all())._repr_html_()
        assert html.startswith("<table><thead><tr><th>title</th><th>body</th></tr></thead>")
        assert "<td>Hello</td><td></td>" in html
        assert "2 rows" in html
        assert "<th>size</th>" in (await Post.all())._repr_html_()
    async with a_node(Sample):
        html = (await rows())._repr_html_()
        assert "&lt;b&gt;é&lt;/b&gt;" in html
        assert "<b>" not in html
        assert "x" * 200 not in html
        assert "secret" not in html
        await Sample.create_many([{"text": str(n)} for n in range(100)])
        long = (await Sample.all())._repr_html_()
        assert long.count("<tr>") == 61
        assert "102 rows, the first 60 shown" in long


async def test_arrow_has_the_types_of_the_columns_even_where_there_are_no_rows() -> None:
    import pyarrow as pa

    async with a_node(Sample):
        empty = await Sample.query().to_arrow()
        await rows()
        table = await Sample.query().to_arrow()
        assert empty.schema == table.schema
        assert empty.num_rows == 0
        types = {one.name: one.type for one in table.schema}
        assert types["number"] == pa.int64()
        assert types["at"] == pa.timestamp("us", tz="UTC")
        assert types["tags"] == pa.list_(pa.string())
        assert types["numbers"] == pa.list_(pa.int64())
        assert "secret" not in types
        first = table.to_pylist()[0]
        assert first["text"] == "<b>é</b>"
        assert first["number"] is None
        assert first["tags"] == ["x", "y"]
        assert (first["price"], first["key"]) == ("1.50", str(UUID(int=7)))
        assert (first["day"], first["clock"], first["span"]) == (
            dt.date(2025, 1, 2), dt.time(1, 2, 3), dt.timedelta(seconds=1.5),
        )  # fmt: skip
        assert json.loads(first["data"]) == {"n": [1, {"m": None}]}
        assert first["loud"] == "<B>É</B>"
        picked = await Sample.query().select("number", "text").order_by("id").to_arrow()
        assert picked.column_names == ["number", "text"]
        assert picked.column("number").to_pylist() == [None, 3]


async def test_pandas_has_typed_columns_with_nulls() -> None:
    async with a_node(Sample):
        empty = await Sample.query().select("number", "at").to_pandas()
        assert [str(kind) for kind in empty.dtypes] == ["Int64", "datetime64[us, UTC]"]
        await rows()
        frame = await Sample.query().to_pandas()
        assert list(frame["text"]) == ["<b>é</b>", "x" * 500]
        assert frame["number"].isna().tolist() == [True, False]
        assert frame["number"].sum() == 3
        assert str(frame["flag"].dtype) == "boolean"
        assert frame["at"][0] == dt.datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
        assert frame["tags"][0] == {"x", "y"}
        assert "secret" not in frame.columns
