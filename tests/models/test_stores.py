"""The five stores, and who may write."""

from __future__ import annotations

import pytest

import debros
from debros import Field, Model, field, model
from debros.identity.keys import Identity
from tests.support.nodes import a_node


@model(scope="global", store="keyvalue")
class Setting(Model):
    value: Field[str]
    note: Field[str] = field(default="")
    tags: Field[set[str]] = field(default_factory=set)


@model(scope="global", store="events")
class Event(Model):
    what: Field[str]


@model(scope="global", store="feed")
class Message(Model):
    text: Field[str]


@model(scope="global", store="counter")
class Hits(Model):
    total: Field[int]
    unique_: Field[int] = field(default=0)


@model(scope="global", write="owner")
class Diary(Model):
    text: Field[str] = field(default="")


@model(scope="global", write="admins")
class Notice(Model):
    text: Field[str]


@model(scope="global")
class Handle(Model):
    name: Field[str] = field(unique="derived")
    note: Field[str] = field(default="")


@model(scope="user")
class Note(Model):
    slug: Field[str] = field(unique=True)


async def test_in_keyvalue_the_last_save_wins_whole() -> None:
    async with a_node(Setting):
        one = await Setting.upsert("theme", value="dark", tags={"a"})
        other = await Setting.get("theme")
        await other.update(note="mine", tags={"b"})
        await one.update(value="light")
        assert (one.value, one.note, one.tags) == ("light", "", {"a"})
        assert (await Setting.get("theme")).to_dict() == one.to_dict()
        await one.delete()
        assert await Setting.get_or_none("theme") is None


async def test_events_are_neither_changed_nor_deleted() -> None:
    async with a_node(Event) as node:
        event = await Event.create(what="login")
        assert event.id.endswith("~" + node.identity.tag)
        event.what = "logout"
        with pytest.raises(debros.ImmutableError, match="Event is a 'events' store"):
            await event.save()
        with pytest.raises(debros.ImmutableError):
            await event.delete()
        assert (await Event.get(event.id)).what == "login"


async def test_a_feed_is_not_changed_but_deleted() -> None:
    async with a_node(Message):
        message = await Message.create(text="hi")
        with pytest.raises(debros.ImmutableError):
            await message.update(text="ho")
        await message.delete()
        assert await Message.count() == 0


async def test_a_counter_store_counts_from_nothing_and_is_never_deleted() -> None:
    async with a_node(Hits):
        await Hits.increment("home", total=2)
        await Hits.increment("home", total=3, unique_=1)
        hits = await Hits.get("home")
        assert (hits.total, hits.unique_) == (5, 1)
        with pytest.raises(debros.ImmutableError):
            await hits.delete()
        assert (await Hits.create(id="about", total=0)).total == 0


async def test_ids_of_owned_records_end_in_the_owners_tag() -> None:
    async with a_node(Diary) as node:
        diary = await Diary.create(text="x")
        tag = "~" + node.identity.tag
        assert diary.id.endswith(tag)
        assert diary.meta.owner == node.identity.did
        assert (await Diary.create(id="mine" + tag)).id == "mine" + tag
        with pytest.raises(debros.ValidationError, match="ends in"):
            Diary(id="mine")


async def test_only_the_owner_writes_an_owned_record() -> None:
    async with a_node(Diary) as node:
        diary = await Diary.create(text="x")
        other = Identity.generate()
        async with node.acting_as(other):
            found = await Diary.get(diary.id)
            with pytest.raises(debros.PermissionDeniedError):
                await found.update(text="y")
            with pytest.raises(debros.PermissionDeniedError):
                await found.delete()
            assert (await Diary.create()).id.endswith("~" + other.tag)
        assert (await Diary.get(diary.id)).text == "x"


async def test_the_id_of_an_owned_record_needs_a_node() -> None:
    with pytest.raises(debros.NoNodeError):
        Diary()


async def test_only_admins_write_what_is_theirs() -> None:
    admin = Identity.generate()
    async with a_node(Notice, admins=[admin.did]) as node:
        with pytest.raises(debros.PermissionDeniedError):
            await Notice.create(text="x")
        async with node.acting_as(admin):
            notice = await Notice.create(text="x")
        assert notice.id.endswith("~admin")
        assert (await Notice.get(notice.id)).text == "x"


async def test_a_derived_value_is_the_id() -> None:
    async with a_node(Handle):
        handle = await Handle.create(name="ana")
        assert handle.id == "ana"
        with pytest.raises(debros.UniqueError):
            await Handle.create(name="ana")
        with pytest.raises(debros.ValidationError, match="never changes"):
            handle.name = "bo"
        handle.name = "ana"
        await handle.update(note="x")
        assert (await Handle.upsert("bo", name="bo")).id == "bo"
        with pytest.raises(debros.ValidationError):
            Handle(id="x", name="y")
        with pytest.raises(debros.ValidationError):
            Handle(name="a/b")
        with pytest.raises(debros.ValidationError) as caught:
            Handle()  # type: ignore[call-arg]  # wrong on purpose
        assert [error.field for error in caught.value.errors] == ["name"]
        with pytest.raises(debros.UniqueError):
            await handle.copy().save()


async def test_user_scope_means_the_acting_identitys_records() -> None:
    async with a_node(Note) as node:
        bo = Identity.generate()
        mine = await Note.create(id="1", slug="a")
        async with node.acting_as(bo):
            assert await Note.get_or_none("1") is None
            theirs = await Note.create(id="1", slug="a")
            assert await Note.all() == [theirs]
        assert mine != theirs
        assert mine.meta.owner == node.identity.did
        assert theirs.meta.owner == bo.did
        assert await Note.count() == 1
        assert await Note.query().all_users().count() == 2
        [found] = await Note.query().where_user(bo.did).all()
        assert found == theirs
        assert found != mine
        assert (await found.refresh()) == theirs


async def test_a_record_of_another_user_is_not_written() -> None:
    async with a_node(Note) as node:
        bo = Identity.generate()
        async with node.acting_as(bo):
            theirs = await Note.create(id="1", slug="a")
        mine = await Note.create(id="1", slug="b")
        for write in (lambda: theirs.update(slug="c"), theirs.delete, theirs.restore):
            with pytest.raises(debros.PermissionDeniedError):
                await write()
        assert (await Note.get("1")).slug == "b"
        assert (await mine.refresh()).slug == "b"
        [found] = await Note.query().where_user(bo.did).all()
        assert found.slug == "a"
