"""What a new user gets wrong: the error is debros's own, says what to write instead, and nothing has happened."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import debros
from debros import ArgumentError, Field, File, Model, field, model
from debros.node import Debros
from debros.opening import open as open_node
from tests.support.nodes import a_node


@model(name="WrongNote")
class Note(Model):
    title: Field[str] = field(default="")
    n: Field[int] = field(default=0)


@model(name="WrongHits", store="counter")
class Hits(Model):
    hits: Field[int] = field()


@model(name="WrongStamp")
class Stamp(Model):
    at: Field[datetime] = field()


Call = Callable[[Debros], Any]

WRONG: dict[str, tuple[Call, type[debros.DebrosError], str]] = {
    # ids
    "an empty id": (lambda db: Note.create(id=""), debros.ValidationError, "an id is 1 to 128 bytes"),
    "an empty id among many": (lambda db: Note.create_many([{"id": ""}]), debros.ValidationError, "0.id: an id is 1"),
    "an empty id to upsert": (lambda db: Note.upsert("", title="a"), debros.ValidationError, "an id is 1 to 128"),
    "an empty id in a dict": (lambda db: Note.from_dict({"id": ""}), debros.ValidationError, "an id is 1 to 128"),
    "a number to get": (lambda db: Note.get(5), debros.ValidationError, "an id is text, not int"),
    "a list to get": (lambda db: Note.get([]), debros.ValidationError, "an id is text, not list"),
    "a number to get_or_none": (lambda db: Note.get_or_none(5), debros.ValidationError, "an id is text, not int"),
    "a list to get_or_none": (lambda db: Note.get_or_none([]), debros.ValidationError, "an id is text, not list"),
    "a number to get_many": (lambda db: Note.get_many(5), ArgumentError, "takes a list of ids"),
    "one id to get_many": (lambda db: Note.get_many("abc"), ArgumentError, "`get(id)` gives one record"),
    "numbers to get_many": (lambda db: Note.get_many([5]), debros.ValidationError, "an id is text, not int"),
    "lists to get_many": (lambda db: Note.get_many([[]]), debros.ValidationError, "an id is text, not list"),
    "a number to upsert": (lambda db: Note.upsert(5, title="a"), debros.ValidationError, "an id is text, not int"),
    "a number to increment": (lambda db: Hits.increment(5, hits=1), debros.ValidationError, "an id is text, not int"),
    "a list to increment": (lambda db: Hits.increment([], hits=1), debros.ValidationError, "an id is text, not list"),
    # records
    "no amounts": (
        lambda db: Hits.increment("a"),
        debros.ValidationError,
        "Hits: say by how much: increment(id, hits=1)",
    ),
    "text that is no time": (
        lambda db: Stamp.from_dict({"at": "soon"}),
        debros.ValidationError,
        "text in its JSON form",
    ),
    "a number to create_many": (lambda db: Note.create_many(5), ArgumentError, "takes a list of records or dicts"),
    "one dict to create_many": (lambda db: Note.create_many({"title": "a"}), ArgumentError, "`create` makes one"),
    "numbers to create_many": (lambda db: Note.create_many([5]), ArgumentError, "got a int; give records, or dicts"),
    "one record twice": (
        lambda db: Note.create_many([note := Note(), note]),
        debros.ValidationError,
        "stands at 0 too",
    ),
    "an update without values": (lambda db: Note.where(Note.n == 0).update(), debros.QueryError, "update(title="),
    "pickling": (lambda db: pickle.dumps(Note()), ArgumentError, "`to_dict()` and `from_dict()` go anywhere"),
    "deepcopy": (lambda db: copy.deepcopy(Note()), ArgumentError, "`record.copy()` is a new one"),
    # queries
    "with_ of a number": (lambda db: Note.query().with_(5), debros.QueryError, "with_ takes names of relations"),
    "aggregate of a query": (lambda db: Note.query().aggregate, debros.QueryError, "group_by(...).aggregate(...)"),
    "filter of a query": (lambda db: Note.query().filter, debros.QueryError, "where(...)"),
    "a typo": (lambda db: Note.query().wher, debros.QueryError, "did you mean 'where'"),
    "all of groups": (
        lambda db: Note.query().group_by(Note.n).all,
        debros.QueryError,
        "await aggregate(debros.count())",
    ),
    "sum of groups": (lambda db: Note.query().group_by(Note.n).sum, debros.QueryError, "aggregate(debros.sum(...))"),
    # the node
    "a class as a name": (lambda db: db.model(Note), ArgumentError, "takes the name of a model"),
    "a wait for peers of words": (lambda db: db.synced(timeout_s="1"), ArgumentError, "how many seconds to wait"),
    "revoke of nothing": (lambda db: db.revoke(None), debros.IdentityError, "is not the DID of a key"),
    "grant of a number": (lambda db: db.grant(5), debros.IdentityError, "is not the DID of a key"),
    "export of a number": (
        lambda db: db.export_car("x.car", 5),
        ArgumentError,
        "takes a record, a File, a model class",
    ),
    "export to a number": (lambda db: db.export_car(5), ArgumentError, "takes the path of a CAR file"),
    "import of a number": (lambda db: db.import_car(5), ArgumentError, "takes the path of a CAR file"),
    "a number as content": (lambda db: File.add(5), ArgumentError, "takes bytes, a path"),
    "nothing as content": (lambda db: File.add(None), ArgumentError, "takes bytes, a path"),
    "a number to pin": (lambda db: db.pins.pin(5), debros.ContentError, "named by its CID"),
    "a wait of words": (
        lambda db: _entered(db.transaction(timeout_s="x")),
        debros.TransactionError,
        "how many seconds",
    ),
    "a migration of a number": (lambda db: db.migrations.apply(5), debros.MigrationError, "the name of a migration"),
    # events
    "a handler that is none": (lambda db: db.events.on(Note, 5), debros.TopicError, "a handler is a function"),
    "retries that are none": (lambda db: db.events.on(Note, print, retries="x"), debros.TopicError, "a whole number"),
    "off of a number": (lambda db: db.events.off(5), debros.TopicError, "off takes what on(...) returned"),
    "recipients that are none": (lambda db: db.events.publish("t", 1, to=5), debros.TopicError, "DIDs of users"),
    "a history of words": (lambda db: db.events.history("t", "x"), debros.TopicError, "0 or more"),
    "subscribing a record": (lambda db: _entered(db.events.subscribe(Note())), debros.QueryError, "a model class"),
    "kinds that are none": (lambda db: _entered(db.events.subscribe(Note, on=5)), debros.QueryError, "takes kinds"),
    "fields that are none": (
        lambda db: _entered(db.events.subscribe(Note, fields=5)),
        debros.QueryError,
        "takes names",
    ),
    "owners that are none": (lambda db: _entered(db.events.subscribe(Note, owner=5)), debros.QueryError, "takes DIDs"),
    "a topic's where": (lambda db: _entered(db.events.subscribe("t", where=5)), debros.TopicError, "of the message"),
    "a topic's history": (lambda db: _entered(db.events.subscribe("t", history=-1)), debros.TopicError, "0 or more"),
}


async def _entered(block: Any) -> None:
    async with block:
        pass


async def _answer(asked: Any) -> None:
    if isinstance(asked, Awaitable):
        await asked


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_argument_is_told_with_its_cure_and_nothing_happens(wrong: str) -> None:
    call, error, cure = WRONG[wrong]
    async with a_node(Note, Hits) as node:
        with pytest.raises(error) as caught:
            await _answer(call(node))
        assert cure in str(caught.value)
        assert await Note.count() == await Hits.count() == 0
        assert node.status().entries == 0


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"listen": 5}, "listen= takes addresses"), ({"listen": [5]}, "listen= takes addresses"),
        ({"peers": 5}, "peers= takes addresses"), ({"models": 5}, "models= takes a list"),
        ({"admins": 5}, "admins= takes a list"), ({"admins": [5]}, "admins"),
        ({"migrations": 5}, "migrations= takes a list"), ({"config": 5}, "the name of a preset"),
        ({"models": "app.Note"}, "a list of model classes, not 'app.Note'"), ({"models": copy}, "a list of model classes"),
        ({"admins": "did:key:z6Mk"}, "a list of DIDs"), ({"admins": [debros.Identity.generate()]}, "identity.did"),
        ({"open": "no"}, "open= is True or False"), ({"home": "a\0b"}, "holds a null character"),
        ({"home": 5}, "the directory of the node"), ({"home": None}, "the directory of the node"),
    ],
)  # fmt: skip
async def test_open_says_which_argument_is_wrong(options: dict[str, Any], cure: str) -> None:
    home = options.pop("home", ":memory:")
    with pytest.raises(ArgumentError if "directory" in cure else debros.ConfigError, match=cure):
        async with open_node(home, **{"models": [Note], **options}):
            pass


async def test_admins_that_come_one_by_one_are_read_once(tmp_path: Path) -> None:
    identity = debros.Identity.generate()
    for _ in range(2):  # the second time the home's own name makes it look at them again
        options: dict[str, Any] = {"admins": (did for did in [identity.did]), "open": False, "identity": identity}
        async with open_node(tmp_path, models=[Note], **options):
            await Note.create()


async def test_a_node_is_opened_once_by_a_block() -> None:
    block = open_node(":memory:", models=[Note])
    await _entered(block)
    with pytest.raises(ArgumentError, match=r"call `debros.open\(...\)` for each block"):
        await _entered(block)


async def test_a_transaction_is_entered_once() -> None:
    async with a_node(Note) as node:
        block = node.transaction()
        async with block:
            await Note.create()
        with pytest.raises(debros.TransactionError, match=r"call `db.transaction\(\)` for each block"):
            async with block:
                await Note.create()
        assert await Note.count() == 1


async def test_a_transaction_inside_itself_is_refused_and_the_outer_one_stands() -> None:
    async with a_node(Note) as node:
        block = node.transaction()
        async with block:
            await Note.create()
            with pytest.raises(debros.TransactionError, match="entered before"):
                await _entered(block)
        assert await Note.count() == 1


async def test_names_that_python_asks_for_are_missing_as_ever() -> None:
    async with a_node(Note):
        for asked in (Note.query(), Note.query().group_by(Note.n)):
            assert not hasattr(asked, "nope")
            assert not hasattr(asked, "__array__")
        assert copy.copy(Note.where(Note.n == 1)).condition is not None


def test_open_outside_trio_names_the_facades() -> None:
    import asyncio

    with pytest.raises(debros.NoNodeError, match=r"debros.asyncio.open"):
        asyncio.run(_entered(open_node(":memory:", models=[Note])))
