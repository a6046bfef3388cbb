"""`update` and `delete` of a query: with validation and hooks, all or nothing."""

from __future__ import annotations

import pytest

from debros import Field, Model, PermissionDeniedError, QueryError, UniqueError, ValidationError, field, model
from debros.models.hooks import after_delete, after_save, before_delete, before_update
from tests.support.forum import Note, Post, User, a_forum
from tests.support.nodes import a_node

RAN: list[str] = []


@model()
class Item(Model):
    name: Field[str] = field(min_length=1)
    n: Field[int] = field(default=0, merge="counter")
    code: Field[str | None] = field(default=None, unique=True)

    @before_update
    def before(self) -> None:
        RAN.append(f"before update {self.name}")
        if self.name == "refused":
            raise RuntimeError

    @after_save
    async def after(self) -> None:
        RAN.append(f"after save {self.name}")

    @before_delete
    def going(self) -> None:
        RAN.append(f"before delete {self.name}")
        if self.name == "kept":
            raise RuntimeError

    @after_delete
    def gone(self) -> None:
        RAN.append(f"after delete {self.name}")


@model(store="events")
class Event(Model):
    text: Field[str]


async def test_an_update_changes_every_record_in_one_entry_and_counts_them() -> None:
    async with a_forum() as db:
        entries = db.status().entries
        assert await Post.where(Post.author_id == "u0").update(likes=40, title=" x ") == 4
        assert db.status().entries == entries + 1
        changed = await Post.where(Post.likes == 40).all()
        assert [(post.id, post.title) for post in changed] == [
            (f"p{n:02}", "x") for n in (0, 3, 6, 9)
        ]  # the hook tidied
        assert await Post.query().where("likes", 99).update(likes=1) == 0
        with pytest.raises(QueryError, match="without values"):
            await Post.where(Post.likes == 40).update()
        assert db.status().entries == entries + 1


async def test_hooks_run_and_counters_count() -> None:
    async with a_node(Item):
        await Item.create_many([{"name": "a"}, {"name": "b", "n": 5}])
        RAN.clear()
        assert await Item.query().update(n=3) == 2
        assert RAN == ["before update a", "before update b", "after save a", "after save b"]
        assert await Item.query().order_by("name").select(Item.n).all() == [(3,), (3,)]
        RAN.clear()
        assert await Item.where(Item.name == "a").delete() == 1
        assert RAN == ["before delete a", "after delete a"]
        assert await Item.query().select("name").all() == [("b",)]


async def test_what_one_record_refuses_changes_none() -> None:
    async with a_node(Item) as db:
        await Item.create_many([{"name": "a"}, {"name": "refused"}, {"name": "kept"}])
        entries = db.status().entries
        with pytest.raises(ValidationError):
            await Item.query().update(name="")
        with pytest.raises(ValidationError, match="nothing"):
            await Item.query().update(nothing=1)
        with pytest.raises(RuntimeError):
            await Item.query().update(n=1)
        with pytest.raises(UniqueError):
            await Item.where(Item.name != "refused").update(code="x")
        with pytest.raises(RuntimeError):
            await Item.query().delete()
        assert db.status().entries == entries
        assert await Item.query().sum("n") == 0
        assert await Item.query().count() == 3


async def test_inside_a_transaction_they_are_part_of_it() -> None:
    async with a_node(Item) as db:
        await Item.create_many([{"name": str(n)} for n in range(5)])
        entries = db.status().entries
        with pytest.raises(RuntimeError):  # noqa: PT012 - the error leaves the block
            async with db.transaction():
                await Item.query().update(n=7)
                assert await Item.where(Item.n == 7).delete() == 5
                raise RuntimeError
        assert await Item.where(Item.n == 0).count() == 5
        async with db.transaction():
            await Item.query().update(n=7)
            await Item.where(Item.name == "3").delete()
        assert db.status().entries == entries + 1
        assert await Item.where(Item.n == 7).count() == 4


async def test_thousands_of_records_take_as_many_entries_as_their_size_needs() -> None:
    async with a_node(Item, durability="process") as db:
        await Item.create_many([{"name": str(n)} for n in range(2_500)])
        entries = db.status().entries
        assert await Item.query().update(name="x" * 1_000) == 2_500
        assert 2 < db.status().entries - entries < 10
        assert await Item.where(Item.name == "x" * 1_000).count() == 2_500


async def test_effects_and_owners_hold_for_them_too() -> None:
    async with a_forum() as db:
        assert await User.where(User.handle == "ana").delete() == 1
        assert await Post.query().count() == 8
        await Note.create(text="mine")
        from debros import Identity

        async with db.acting_as(Identity.generate()):
            mine = Note.query().where_user(db.identity.did)
            with pytest.raises(PermissionDeniedError):
                await mine.update(text="taken")
            with pytest.raises(PermissionDeniedError):
                await mine.delete()
            assert await Note.query().update(text="nobody's") == 0


async def test_what_is_limited_or_append_only_or_of_the_past_is_refused() -> None:
    async with a_node(Event, Item):
        await Event.create(text="x")
        clock = (await Item.create(name="x")).meta.clock
        for query in (Item.query().limit(1), Item.query().offset(1), Item.query().select("name")):
            with pytest.raises(QueryError):
                await query.update(name="y")
            with pytest.raises(QueryError):
                await query.delete()
        with pytest.raises(Exception, match="Event"):
            await Event.query().update(text="y")
        with pytest.raises(Exception, match="Event"):
            await Event.query().delete()
        with pytest.raises(QueryError, match="past"):
            await Item.as_of(clock).update(name="y")
        with pytest.raises(QueryError, match="past"):
            await Item.as_of(clock).delete()
