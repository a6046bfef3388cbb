"""Every operation of the builder, applied to records that were written before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from debros import Field, Index, Migration, MigrationError, Model, field, migration, model
from debros.migrations.operations import derived_uuid
from debros.node import Debros
from debros.opening import open as open_node


def old_model(**options: Any) -> Any:
    @model(name="Doc", version="1.0.0", **options)
    class Doc(Model):
        title: Field[str] = field(default="")
        votes: Field[int] = field(default=0, merge="counter")

    return Doc


async def migrate(home: Path, cls: Any, *migrations: Migration, old: Any = None, then: Callable[[Debros], Any]) -> Any:
    """Write two records with the old program, then open, apply and look with the new one."""
    old = old or old_model()
    async with open_node(str(home), models=[old]):
        await old.create(id="a", title="Ana")
        await old.create(id="b", title="Bo")
        await old.increment("a", votes=3)
    async with open_node(str(home), models=cls if isinstance(cls, Sequence) else [cls], migrations=migrations) as node:
        await node.migrations.apply()
        return await then(node)


def values(cls: Any, name: str) -> Callable[[Debros], Any]:
    async def look(_: Debros) -> dict[str, Any]:
        return {record.id: getattr(record, name) for record in await cls.all()}

    return look


async def test_add_field_with_a_default_or_computed_from_the_row(tmp_path: Path) -> None:
    @model(name="Doc", version="1.1.0")
    class Doc(Model):
        title: Field[str] = field(default="")
        votes: Field[int] = field(default=0, merge="counter")
        lang: Field[str] = field()
        shout: Field[str] = field()
        kind: Field[str] = field(default="declared")

    step = (
        migration("more", "1.1.0")
        .add_field(Doc, "lang", default="en")
        .add_field(Doc, "shout", make=lambda row: row["title"].upper() + "!" * row["votes"])
        .add_field("Doc", "kind")
    )

    async def look(_: Debros) -> Any:
        return [(doc.lang, doc.shout, doc.kind, doc.votes) for doc in await Doc.query().order_by("id", "asc").all()]

    assert await migrate(tmp_path, Doc, step, then=look) == [
        ("en", "ANA!!!", "declared", 3),
        ("en", "BO", "declared", 0),
    ]


async def test_remove_field_leaves_its_values_in_the_log_for_earlier_functions(tmp_path: Path) -> None:
    @model(name="Doc", version="1.2.0")
    class Doc(Model):
        name: Field[str] = field(default="?")
        votes: Field[int] = field(default=0, merge="counter")

    steps = (
        migration("named", "1.1.0").add_field("Doc", "name", make=lambda row: row["title"].lower()),
        migration("gone", "1.2.0").remove_field("Doc", "title", type=str),
    )
    assert await migrate(tmp_path, Doc, *steps, then=values(Doc, "name")) == {"a": "ana", "b": "bo"}


async def test_change_field_converts_values_of_the_type_it_had(tmp_path: Path) -> None:
    @model(name="Doc", version="1.1.0")
    class Doc(Model):
        title: Field[list[str]] = field(default_factory=list)
        votes: Field[int] = field(default=0, merge="counter")

    step = migration("letters", "1.1.0").change_field(Doc, "title", up=list, down="".join, was=str)
    assert await migrate(tmp_path, Doc, step, then=values(Doc, "title")) == {"a": ["A", "n", "a"], "b": ["B", "o"]}


async def test_rename_field_keeps_the_stored_name_through_several_renames(tmp_path: Path) -> None:
    @model(name="Doc", version="1.2.0")
    class Doc(Model):
        headline: Field[str] = field(default="")
        votes: Field[int] = field(default=0, merge="counter")

    steps = (
        migration("first", "1.1.0").rename_field("Doc", "title", "head"),
        migration("second", "1.2.0").rename_field("Doc", "head", "headline").transform(
            "Doc", up=lambda row: {**row, "headline": row["headline"] + "."}, down=lambda row: row
        ),
    )  # fmt: skip

    async def look(_: Debros) -> Any:
        await Doc.create(id="c", headline="New")
        return [
            (doc.id, doc.headline) for doc in await Doc.where(Doc.headline != "").order_by(Doc.headline.asc()).all()
        ]

    assert await migrate(tmp_path, Doc, *steps, then=look) == [("a", "Ana."), ("b", "Bo."), ("c", "New")]
    assert Doc.__schema__.by_name["headline"].wire == "title"


async def test_rename_model_keeps_the_stored_name(tmp_path: Path) -> None:
    @model(version="1.1.0")
    class Article(Model):
        title: Field[str] = field(default="")
        votes: Field[int] = field(default=0, merge="counter")

    step = migration("renamed", "1.1.0").rename_model("Doc", "Article")
    assert await migrate(tmp_path, Article, step, then=values(Article, "title")) == {"a": "Ana", "b": "Bo"}
    assert Article.__schema__.name == "Doc"


async def test_indexes_are_notes_for_the_reader_and_the_view_follows_the_class(tmp_path: Path) -> None:
    @model(name="Doc", version="1.1.0", indexes=[Index("title")])
    class Doc(Model):
        title: Field[str] = field(default="")
        votes: Field[int] = field(default=0, merge="counter")

    step = migration("indexed", "1.1.0").add_index(Doc, "title").remove_index(Doc, "-votes")
    assert [operation.text for operation in step.operations] == ["add index Doc(title)", "remove index Doc(-votes)"]

    async def look(_: Debros) -> Any:
        return (await Doc.where(Doc.title == "Ana").explain()).index

    assert await migrate(tmp_path, Doc, step, then=look)


async def test_timestamps_soft_deletes_and_uuids_are_added(tmp_path: Path) -> None:
    @model(name="Doc", version="1.1.0")
    class Doc(Model):
        title: Field[str] = field(default="")
        votes: Field[int] = field(default=0, merge="counter")
        created_at: Field[datetime] = field()
        updated_at: Field[datetime] = field()
        deleted_at: Field[datetime | None] = field(default=None)
        uuid: Field[UUID] = field()

    step = migration("kit", "1.1.0").add_timestamps(Doc).add_soft_delete(Doc).add_uuid(Doc)

    async def look(_: Debros) -> Any:
        return {doc.id: (doc, doc.meta.created_at) for doc in await Doc.all()}

    found = await migrate(tmp_path, Doc, step, then=look)
    a, born = found["a"]
    assert a.created_at <= a.updated_at <= datetime.now(UTC)
    assert abs((a.created_at - born).total_seconds()) < 1
    assert a.deleted_at is None
    assert (a.uuid, found["b"][0].uuid) == (derived_uuid({"id": "a"}), derived_uuid({"id": "b"}))


async def test_checks_of_fields_and_of_readable_records(tmp_path: Path) -> None:
    @model(name="Doc", version="1.1.0")
    class Doc(Model):
        title: Field[str] = field(default="")
        votes: Field[int] = field(default=0, merge="counter")
        must: Field[str] = field()

    missing = migration("must", "1.1.0").add_field(Doc, "must").check_readable(Doc)
    with pytest.raises(MigrationError, match="2 records of Doc cannot be shown"):
        await migrate(tmp_path / "a", Doc, missing, then=values(Doc, "must"))
    absent = migration("must", "1.1.0").add_field(Doc, "must", default="x").check_field_exists(Doc, "nothing")
    with pytest.raises(MigrationError, match="Doc has no field 'nothing'"):
        await migrate(tmp_path / "b", Doc, absent, then=values(Doc, "must"))
    good = (
        migration("must", "1.1.0")
        .add_field(Doc, "must", default="x")
        .check_field_exists(Doc, "must")
        .check_readable(Doc)
    )
    assert await migrate(tmp_path / "c", Doc, good, then=values(Doc, "must")) == {"a": "x", "b": "x"}


async def test_user_scoped_records_are_migrated_in_their_owners_log(tmp_path: Path) -> None:
    @model(name="Doc", version="1.1.0", scope="user")
    class Doc(Model):
        title: Field[str] = field(default="")
        votes: Field[int] = field(default=0, merge="counter")
        lang: Field[str] = field(default="??")

    async def look(node: Debros) -> Any:
        [event] = await node.migrations.history()
        return event.address == (await Doc.get("a")).meta.address, {doc.lang for doc in await Doc.all()}

    step = migration("lang", "1.1.0").add_field(Doc, "lang", default="en")
    assert await migrate(tmp_path, Doc, step, old=old_model(scope="user"), then=look) == (True, {"en"})


def test_a_migration_is_a_value_that_tells_what_it_is() -> None:
    one = migration("a", "1.2.3").describe("why").by("ana").tag("x", "y").on("2026-01-02").depends_on("z", "z")
    assert (one.name, one.version, one.description, one.author) == ("a", "1.2.3", "why", "ana")
    assert (one.tags, one.created, one.depends, one.models) == (("x", "y"), "2026-01-02", ("z",), ())
    two = one.add_field("Post", "x", default=1)
    assert (one.operations, two.models, two.is_reversible) == ((), ("Post",), True)
    assert one.digest() != two.digest()
    assert two.digest() == one.add_field("Post", "x", default=1).digest()
    assert not two.transform("Post", up=dict).is_reversible
