"""Pages by cursor are stable under inserts; a cursor answers the question it came from, or is refused."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from debros.blocks import dagcbor
from debros.errors import CursorError, QueryError
from debros.query.paging import read_cursor, write_cursor
from debros.query.query import Query
from tests.support.blog import blog
from tests.support.tabular import Node, schema

ITEM = schema("Item", {"n": int, "price": Decimal | None}, indexes=["n"])


def items(count: int) -> Node:
    node = Node(ITEM)
    node.add("Item", *({"id": f"i{n:03}", "n": n // 2} for n in range(count)))
    return node


async def test_a_page_has_fifty_rows_unless_there_is_a_limit() -> None:
    query = items(120).query("Item")
    page = await query.page()
    assert len(page.rows) == 50
    assert page.rows.coverage.complete
    last = await query.page((await query.page(page.next)).next)
    assert len(last.rows) == 20
    assert last.next is None
    assert len((await query.limit(7).page(page.next)).rows) == 7
    assert (await query.limit(120).page()).next is None
    assert (await query.limit(0).page()).rows == []


async def test_rows_added_and_removed_between_pages_neither_repeat_nor_skip_others() -> None:
    node = items(10)
    query = node.query("Item").order_by("n", "desc").limit(4)
    first = await query.page()
    assert [row.id for row in first.rows] == ["i008", "i009", "i006", "i007"]
    node.add("Item", {"id": "new", "n": 9}, {"id": "i0065", "n": 3}, {"id": "i0045", "n": 2})
    node.connection.execute("UPDATE m_Item SET _hidden = 1 WHERE id = 'i007'")  # the row the cursor stands on
    second = await query.page(first.next)
    assert [row.id for row in second.rows] == ["i004", "i0045", "i005", "i002"]


async def test_pages_hold_tuples_and_relations_too() -> None:
    node = blog()
    query = node.query("Post").order_by("price", "desc").with_("author").limit(2)
    first = await query.page()
    assert [row.id for row in first.rows] == ["p0", "p4"]
    assert first.rows[0].loaded["author"].id == "ana"
    names: Query[Any] = node.query("Post").select("likes").distinct().limit(3)
    page = await names.page()
    assert page.rows == [(0,), (1,), (3,)]
    assert (await names.page(page.next)).rows == [(7,)]
    loud: Query[Any] = node.query("Post").select("loud", "likes").order_by("likes", "desc").limit(1)
    assert (await loud.page((await loud.page()).next)).rows == [("HELLO", 3)]


async def test_a_cursor_of_another_query_is_refused() -> None:
    node = items(9)
    query = node.query("Item").where("n", ">", 0).order_by("n").limit(2)
    cursor = (await query.page()).next
    assert cursor is not None
    for other in (
        query.where("n", "<", 3),
        query.order_by("id", "desc"),
        node.query("Item").where("n", ">", 1).order_by("n"),
        node.query("Item").where("n", ">", 0).order_by("n", "desc"),
        node.query("Item").where("n", ">", 0),
        blog().query("Post"),
    ):
        with pytest.raises(CursorError, match="first page"):
            await other.page(cursor)
    assert len((await query.limit(3).page(cursor)).rows) == 3


async def test_a_damaged_cursor_is_refused() -> None:
    query = items(9).query("Item").order_by("n").limit(2)
    cursor = (await query.page()).next
    assert cursor is not None
    mark = dagcbor.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))[0]  # type: ignore[index]
    wrong: list[Any] = ["", "x", "é", cursor[:-2], cursor + "AA", cursor + "=", " " + cursor, 3, "A" * 100_000]
    for values in ([1], [1, 2, 3], [1, {}], [1, [2]], [2**63, "a"], {"a": 1}):
        wrong.append(urlsafe_b64encode(dagcbor.encode([mark, values])).rstrip(b"=").decode())
    for one in wrong:
        with pytest.raises(CursorError):
            await query.page(one)


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_noise_is_no_cursor(noise: bytes | str) -> None:
    cursor = noise if isinstance(noise, str) else urlsafe_b64encode(noise).decode()
    with pytest.raises(CursorError):
        read_cursor(cursor, b"fingerpr", 2)


@given(
    st.lists(
        st.none()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text()
        | st.binary()
    )
)
def test_cursors_keep_values_exactly(values: list[Any]) -> None:
    read = read_cursor(write_cursor(b"fingerpr", values), b"fingerpr", len(values))
    assert [(type(v), v) for v in read] == [(type(v), v) for v in values]


async def test_cursors_and_offsets_do_not_mix() -> None:
    with pytest.raises(QueryError, match="offset"):
        await items(3).query("Item").offset(1).page()


async def test_numbered_pages() -> None:
    query = items(7).query("Item").order_by("n", "desc")
    page = await query.paginate(2, size=3)
    assert [row.id for row in page.rows] == ["i002", "i003", "i000"]
    assert (page.total, page.page, page.pages, page.has_next, page.has_previous) == (7, 2, 3, True, True)
    last = await query.paginate(3, 3)
    assert (len(last.rows), last.has_next) == (1, False)
    beyond = await query.paginate(9, 3)
    assert (beyond.rows, beyond.has_next, beyond.has_previous) == ([], False, True)
    empty = await query.where("n", -1).paginate(1, 5)
    assert (empty.pages, empty.total, empty.has_next) == (1, 0, False)
    for wrong in (
        query.paginate(0, 3),
        query.paginate(1, 0),
        query.paginate(1, True),
        query.limit(3).paginate(1, 3),
        query.offset(3).paginate(1, 3),
    ):
        with pytest.raises(QueryError):
            await wrong


async def test_a_row_that_changes_behind_the_id_in_the_order_is_not_told_twice() -> None:
    node = items(6)
    query = node.query("Item").order_by("id").order_by("n", "desc").limit(2)
    first = await query.page()
    assert [row.id for row in first.rows] == ["i000", "i001"]
    node.connection.execute("UPDATE m_Item SET f_n = -1 WHERE id = 'i001'")
    assert [row.id for row in (await query.page(first.next)).rows] == ["i002", "i003"]


@pytest.mark.parametrize("direction", ["", "-"])
async def test_pages_go_on_behind_infinity_which_an_expression_comes_to(direction: str) -> None:
    node = Node(schema("Item", {"f": float}))
    node.add("Item", *({"id": f"i{n}", "f": f} for n, f in enumerate([1e308, -1e308, 0.5, 1e308, -1e308])))
    query = node.query("Item").order_by_raw(f"{direction}{{f}} * 10").limit(1)
    ids: list[str] = []
    page = await query.page()
    while page.next is not None:
        ids += [row.id for row in page.rows]
        page = await query.page(page.next)
    ids += [row.id for row in page.rows]
    assert ids == (["i0", "i3", "i2", "i1", "i4"] if direction else ["i1", "i4", "i2", "i0", "i3"])
