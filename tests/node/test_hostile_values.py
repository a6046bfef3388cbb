"""Text with NUL in it, names that are words of SQL, numbers at the edge: what goes in comes out, or is refused."""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import debros
from debros import Field, Model, model
from debros import field as declared

LONG = "a" + "b" * 62

TEXTS = [
    "a", "a\0", "a\0b", "\0", "\0\0", "", "'; DROP TABLE m_select; --", '"', '"; --', "%", "_", "\\", "é", "e\u0301",
    "\u202e", "\ufeff", "\uffff", "\U0001f600", "\U0010ffff", "\ue000", "ﬀ", "ß", "İ", "\r\n", " ",
]  # fmt: skip


@model(scope="global", name="select")
class Select(Model):
    order: Field[str] = declared(index=True)
    group: Field[str | None] = declared(default=None, name="drop_table", unique=True)
    where_: Field[dict[str, str]] = declared(default_factory=dict, name="where")
    table: Field[set[str]] = declared(default_factory=set)
    by: Field[int] = declared(default=0, index=True)
    having: Field[float | None] = declared(default=None)


@model(scope="user", name=LONG)
class Long(Model):
    text: Field[str] = declared(name="c" * 63)


async def fill() -> None:
    for text in TEXTS:
        await Select.create(order=text, group=text, table={text}, where_={text: text})


async def test_any_text_comes_back_as_it_was_and_is_found(tmp_path: Path) -> None:
    async with debros.open(tmp_path, models=[Select, Long]):
        await fill()
    for name in ("", "view.sqlite"):
        if name:
            (tmp_path / name).unlink()
        async with debros.open(tmp_path, models=[Select, Long]):
            assert sorted(one.order for one in await Select.all()) == sorted(TEXTS)
            for text in TEXTS:
                one = await Select.query().where("order", text).one()
                assert (one.order, one.group, one.table, one.where_) == (text, text, {text}, {text: text})
                assert (await Select.where(Select.table.contains(text)).one()).id == one.id
                assert (await Select.where(Select.group.in_([text])).one()).id == one.id
                with pytest.raises(debros.UniqueError):
                    await Select.create(order="another", group=text)


async def test_any_text_is_ordered_and_compared_by_code_point() -> None:
    async with debros.open(":memory:", models=[Select]):
        await fill()
        assert [one.order for one in await Select.query().order_by("order").all()] == sorted(TEXTS)
        assert await Select.query().min("order") == min(TEXTS)
        assert await Select.query().max(Select.order) == max(TEXTS)
        assert sorted(await Select.query().group_by(Select.order).aggregate(debros.count())) == [
            (text, 1) for text in sorted(TEXTS)
        ]
        for text in TEXTS:
            for compare in (operator.lt, operator.le, operator.gt, operator.ge):
                found = await Select.where(compare(Select.order, text)).order_by("order").all()
                assert [one.order for one in found] == sorted(other for other in TEXTS if compare(other, text))
            assert {one.order for one in await Select.where(Select.order.startswith(text)).all()} == {
                other for other in TEXTS if other.startswith(text)
            }
            assert {one.order for one in await Select.where(Select.order.contains(text)).all()} == {
                other for other in TEXTS if text in other
            }


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\udc80b"])
async def test_half_a_character_is_no_text(text: str) -> None:
    async with debros.open(":memory:", models=[Select]) as db:
        refused: list[Callable[[], Awaitable[object]]] = [
            lambda: Select.create(order=text),
            lambda: Select.create(id=text, order="a"),
            lambda: Select.create(order="a", where_={text: "a"}),
            lambda: Select.create(order="a", where_={"a": text}),
            lambda: Select.create(order="a", table={text}),
            lambda: Select.upsert(text, order="a"),
        ]
        for work in refused:
            with pytest.raises(debros.ValidationError):
                await work()
        with pytest.raises(debros.QueryError):
            Select.query().where("order", text)
        with pytest.raises(debros.NotFoundError):
            await Select.get(text)
        assert await Select.get_or_none(text) is None
        assert db.status().entries == 0


async def test_numbers_end_at_64_bits_and_are_finite() -> None:
    async with debros.open(":memory:", models=[Select]) as db:
        for n in (2**63 - 1, -(2**63), 0):
            one = await Select.create(order="n", by=n)
            assert (await Select.query().where("by", n).one()).id == one.id
            assert (await Select.get(one.id)).by == n
        for f, kept in (
            (-0.0, 0.0),
            (5e-324, 5e-324),
            (1.7976931348623157e308, 1.7976931348623157e308),
            (2**70, 2.0**70),
        ):
            one = await Select.create(order="f", having=f)
            assert repr((await Select.get(one.id)).having) == repr(kept)
        before = db.status().entries
        for huge in (2**63, -(2**63) - 1, 10**400):
            with pytest.raises(debros.ValidationError):
                await Select.create(order="n", by=huge)
            with pytest.raises(debros.QueryError):
                Select.query().where("by", huge)
        for strange in (float("nan"), float("inf"), -float("inf"), 10**400):
            with pytest.raises(debros.ValidationError):
                await Select.create(order="f", having=strange)
            with pytest.raises(debros.QueryError):
                Select.query().where("having", strange)
        assert db.status().entries == before


@pytest.mark.parametrize(
    "id",
    ["é", "e\u0301", "\u202eabc", "\U0001f600" * 32, "a b", " ", "'; drop", "%", "\u2028", "ﬀ", "x" * 128, "\uffff"],
)
async def test_an_id_is_any_text_of_128_bytes(id: str, tmp_path: Path) -> None:
    async with debros.open(tmp_path, models=[Select]):
        one = await Select.create(id=id, order="a")
        await one.update(by=1)
    (tmp_path / "view.sqlite").unlink()
    async with debros.open(tmp_path, models=[Select]):
        assert ((await Select.get(id)).id, (await Select.query().where("id", id).one()).by) == (id, 1)
        with pytest.raises(debros.UniqueError):
            await Select.create(id=id, order="again")


@pytest.mark.parametrize("id", ["a/b", "a~b", "a\0", "\x7f", "\x85", "x" * 129, "\U0001f600" * 33, 5, None, b"x"])
async def test_what_is_no_id_is_refused(id: object) -> None:
    async with debros.open(":memory:", models=[Select]) as db:
        with pytest.raises(debros.ValidationError, match="id"):
            await Select.create(id=id, order="a")  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(debros.NotFoundError if isinstance(id, str) else debros.ValidationError):
            await Select.get(id)  # type: ignore[arg-type]  # as above
        assert db.status().entries == 0


async def test_the_longest_names_and_words_of_sql_are_names(tmp_path: Path) -> None:
    async with debros.open(tmp_path, models=[Select, Long]):
        await Long.create(text="long")
        await Select.create(order="o")
        assert (await Long.query().where("text", "long").one()).text == "long"
    (tmp_path / "view.sqlite").unlink()
    async with debros.open(tmp_path, models=[Select, Long]):
        assert (await Long.count(), await Select.count()) == (1, 1)


@pytest.mark.parametrize("name", ["", "a b", 'x"; drop table logs; --', "d" * 64, "é", "1a", "_layouts", "a\0"])
def test_what_is_no_name_is_refused_when_the_class_is_made(name: str) -> None:
    with pytest.raises(debros.ModelError):

        @model(scope="global", name=name)
        class Bad(Model):
            text: Field[str]

    if name != "_layouts":
        with pytest.raises(debros.ModelError):

            @model(scope="global")
            class Worse(Model):
                text: Field[str] = declared(name=name)
