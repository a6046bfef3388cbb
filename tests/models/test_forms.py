"""Records as dicts and JSON, and back; copies."""

from __future__ import annotations

import datetime as dt
import json
from base64 import urlsafe_b64decode
from decimal import Decimal
from typing import Any

import pytest

import debros
from debros import Field, Many, Model, One, belongs_to, computed, field, has_many, model
from tests.support.nodes import a_node


@model(scope="global")
class Author(Model):
    name: Field[str]
    secret: Field[str] = field(default="s", expose=False)
    books: Many[Book] = has_many("author_id")


@model(scope="global")
class Book(Model):
    author_id: Field[str]
    price: Field[Decimal] = field(default=Decimal("1.50"))
    at: Field[dt.datetime] = field(default=dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC))
    cover: Field[bytes] = field(default=b"\xff\x00")
    tags: Field[set[str]] = field(default_factory=set)
    notes: Field[list[dict[str, int]]] = field(default_factory=list)
    author: One[Author] = belongs_to("author_id")

    @computed
    def label(self) -> str:
        return f"{self.author_id} {self.price}"

    @computed(expose=False)
    def hidden(self) -> int:
        return 1


def test_a_dict_holds_id_stored_and_computed_fields_with_their_types() -> None:
    book = Book(id="b", author_id="a", tags={"x"})
    assert book.to_dict() == {
        "id": "b",
        "author_id": "a",
        "price": Decimal("1.50"),
        "at": dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
        "cover": b"\xff\x00",
        "tags": {"x"},
        "notes": [],
        "label": "a 1.50",
    }


def test_json_holds_what_json_can_hold() -> None:
    book = Book(id="b", author_id="a", tags={"y", "x"}, notes=[{"n": 1}])
    shown = book.to_dict(mode="json")
    assert json.loads(book.to_json()) == shown
    assert shown["price"] == "1.50"
    assert dt.datetime.fromisoformat(shown["at"]) == book.at
    assert urlsafe_b64decode(shown["cover"]) == b"\xff\x00"
    assert shown["tags"] == ["x", "y"]


def test_what_is_not_exposed_is_never_shown() -> None:
    author = Author(name="ana", secret="x")
    assert set(author.to_dict()) == {"id", "name"}
    assert "secret" not in author.to_json()


def test_a_dict_or_its_json_can_be_given_back() -> None:
    book = Book(author_id="a", tags={"y", "x"}, notes=[{"n": 1}])
    for data in (book.to_dict(), book.to_dict(mode="json"), json.loads(book.to_json())):
        again = Book.from_dict(data)
        assert again.to_dict() == book.to_dict()
        assert again.is_new


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"author_id": "a", "price": "x"}, ["price"]),
        ({"author_id": "a", "at": "yesterday", "cover": "%"}, ["at", "cover"]),
        ({"author_id": 3, "titel": 1, "author": {}}, ["titel", "author", "author_id"]),
        ({}, ["author_id"]),
        ([], [""]),
        ({1: 2}, ["1"]),
    ],
)
def test_from_dict_lists_everything_that_is_wrong(data: Any, fields: list[str]) -> None:
    with pytest.raises(debros.ValidationError) as caught:
        Book.from_dict(data)
    assert [error.field for error in caught.value.errors] == fields


async def test_loaded_relations_are_shown_on_request_and_cycles_are_cut() -> None:
    async with a_node(Author, Book):
        ana = await Author.create(name="ana")
        await Book.create(author_id=ana.id)
        [book] = await Book.query().include(Book.author.include(Author.books)).all()
        shown = book.to_dict(relations=True)
        assert shown["author"]["name"] == "ana"
        [inner] = shown["author"]["books"]
        assert inner["id"] == book.id
        assert "author" not in inner
        assert json.loads(book.to_json(relations=True))["author"]["books"][0]["price"] == "1.50"
        assert "author" not in (await Book.get(book.id)).to_dict(relations=True)


async def test_a_copy_is_a_new_record_with_its_own_values() -> None:
    async with a_node(Author, Book):
        book = await Book.create(author_id="a", tags={"x"}, notes=[{"n": 1}])
        twin = book.copy()
        assert twin.is_new
        assert twin.id != book.id
        twin.tags.add("y")
        twin.notes[0]["n"] = 2
        assert (book.tags, book.notes) == ({"x"}, [{"n": 1}])
        await twin.save()
        assert await Book.count() == 2


def test_a_copy_is_not_converted_again() -> None:
    @model(scope="global")
    class Escaped(Model):
        text: Field[str] = field(convert=lambda v: v + "!")

    made = Escaped(text="a")
    assert (made.text, made.copy().text) == ("a!", "a!")


async def test_a_save_does_not_convert_again() -> None:
    @model(scope="global")
    class Escaped(Model):
        text: Field[str] = field(convert=lambda v: v + "!")
        n: Field[int] = field(default=0)

    async with a_node(Escaped):
        made = await Escaped.create(text="a")
        await made.update(n=1)
        made.validate()
        assert (await Escaped.get(made.id)).text == "a!"
