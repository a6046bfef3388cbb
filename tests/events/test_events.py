"""Events of records: what each entry did, local and foreign alike."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import debros
from debros import Field, Model, One, belongs_to, field, model
from tests.support.delivering import deliver
from tests.support.events import all_events, told
from tests.support.nodes import a_node


@model(name="EventUser")
class User(Model):
    handle: Field[str] = field(unique=True)
    bio: Field[str | None] = field(default=None)


@model(name="EventNote")
class Note(Model):
    title: Field[str]
    likes: Field[int] = field(default=0, merge="counter")
    tags: Field[set[str]] = field(default_factory=set)
    user_id: Field[str | None] = field(default=None)
    user: One[User | None] = belongs_to("user_id", on_delete="cascade")


@model(scope="user", name="EventDiary")
class Diary(Model):
    text: Field[str]


@model(name="EventOwned", write="owner")
class Owned(Model):
    text: Field[str]


async def test_create_update_delete_and_restore_are_told_with_what_changed() -> None:
    async with a_node(User, Note) as node, node.events.subscribe(Note) as events:
        note = await Note.create(title="a", tags={"x"})
        await note.update(title="b", likes=2)
        await note.delete()
        await note.restore()
        found = [await anext(events) for _ in range(4)]
        assert [event.kind for event in found] == ["create", "update", "delete", "restore"]
        assert {event.id for event in found} == {note.id}
        create, update, delete, restore = found
        assert create.changes["tags"] == (None, {"x"})
        assert update.changes == {"title": ("a", "b"), "likes": (0, 2)}
        assert update.row is not None
        assert (update.row.title, update.row.likes) == ("b", 2)
        assert delete.row is None
        assert delete.changes["title"] == ("b", None)
        assert restore.row is not None
        assert restore.row.tags == {"x"}
        assert create.author == node.identity.did == create.owner
        assert create.at == create.row.meta.created_at  # type: ignore[union-attr]  # it shows
        assert create.cid == (await note.history())[0].cid


async def test_the_row_is_as_the_entry_left_it_not_as_it_is_now() -> None:
    async with a_node(User, Note) as node:
        note = await Note.create(title="a")
        await note.update(title="b")
        await note.update(likes=5)
        rows = [event.row for event in await all_events(node, Note)]
        assert [(row.title, row.likes) for row in rows if row] == [("a", 0), ("b", 0), ("b", 5)]


async def test_foreign_writes_are_told_like_local_ones_and_say_so() -> None:
    async with a_node(User, Note) as here, a_node(User, Note) as there:
        with there.current():
            note = await Note.create(title="from afar")
        async with here.events.subscribe(Note) as events:
            await deliver(there, here)
            event = await anext(events)
        assert (event.kind, event.origin, event.author) == ("create", "remote", there.identity.did)
        with here.current():
            await (await Note.get(note.id)).update(title="here")
        assert [event.origin for event in await all_events(here, Note)] == ["remote", "local"]


async def test_a_late_entry_comes_late_and_that_it_lost_is_a_conflict() -> None:
    async with a_node(User, Note) as here, a_node(User, Note) as there:
        with here.current():
            note = await Note.create(title="a")
        await deliver(here, there)
        with there.current():
            await (await Note.get(note.id)).update(title="earlier", likes=1)
        with here.current():
            await User.create(handle="so that what follows is later")
            await note.update(title="later")
            async with here.events.subscribe(Note) as events:
                await deliver(there, here)
                update, conflict = await anext(events), await anext(events)
        assert (update.kind, update.changes) == ("update", {"likes": (0, 1)})
        assert (conflict.kind, conflict.changes) == ("conflict", {"title": ("earlier", "later")})
        await deliver(here, there)
        seen = [(event.kind, event.changes) for event in await all_events(there, Note)]
        assert seen[-2:] == [("update", {"title": ("earlier", "later")}), ("conflict", {"title": ("earlier", "later")})]


async def test_who_had_seen_the_other_value_is_in_no_conflict() -> None:
    async with a_node(User, Note) as here, a_node(User, Note) as there:
        with here.current():
            note = await Note.create(title="a")
        for turn in range(4):
            writer, reader = (there, here) if turn % 2 == 0 else (here, there)
            await deliver(reader, writer)
            with writer.current():
                await (await Note.get(note.id)).update(title=f"turn {turn}")
        await deliver(here, there)
        await deliver(there, here)
        for node in (here, there):
            assert [event.kind for event in await all_events(node, Note)] == ["create"] + ["update"] * 4


async def test_a_unique_value_claimed_twice_is_a_conflict_about_the_record_that_loses() -> None:
    async with a_node(User, Note) as here, a_node(User, Note) as there:
        with there.current():
            first = await User.create(handle="ana")
        with here.current():
            await Note.create(title="so that what follows is later, whatever the millisecond")
            second = await User.create(handle="ana")
            async with here.events.subscribe(User, on="conflict") as events:
                await deliver(there, here)
                conflict = await anext(events)
        assert conflict.id == second.id != first.id
        assert conflict.changes == {"handle": ("ana", "ana")}
        assert conflict.row is not None
        assert conflict.row.meta.flagged


async def test_a_refused_or_empty_save_is_no_event() -> None:
    async with a_node(User, Note) as node:
        user = await User.create(handle="ana")
        with pytest.raises(debros.UniqueError):
            await User.create(handle="ana")
        await user.save()
        assert [event.kind for event in await all_events(node, User)] == ["create"]


async def test_what_a_cascade_hides_is_no_event() -> None:
    async with a_node(User, Note) as node:
        user = await User.create(handle="ana")
        await Note.create(title="a", user_id=user.id)
        await user.delete()
        assert await Note.count() == 0
        [event] = await all_events(node, Note)
        assert event.kind == "create"
        assert event.row is not None


async def test_void_entries_are_no_events() -> None:
    team, who = debros.Identity.generate(), debros.Identity.generate()
    async with a_node(User, Note, identity=team, admins=[team.did]) as node:
        async with node.acting_as(who):
            note = await Note.create(title="void soon")
        await note.update(title="by the team")
        await node.revoke(who.did, keep=False)
        assert await all_events(node, Note) == []


async def test_a_transaction_is_told_when_it_is_over_each_record_once() -> None:
    async with a_node(User, Note) as node, node.events.subscribe(Note) as events:
        async with node.transaction():
            a = await Note.create(title="a")
            b = await Note.create(title="b")
            await a.update(title="A")
            await wait_all_tasks_blocked()
            assert events.lag == 0
        assert [(await anext(events)).id for _ in range(2)] == [a.id, b.id]
        async with node.transaction():
            with pytest.raises(debros.TransactionError, match="before or after"):
                async with node.events.subscribe(Note):
                    pass


async def test_a_users_events_are_the_acting_identitys_unless_others_are_named() -> None:
    ana, bo = debros.Identity.generate(), debros.Identity.generate()
    async with a_node(Diary) as node:
        async with node.acting_as(ana):
            await Diary.create(text="hers")
        async with node.acting_as(bo):
            await Diary.create(text="his")
            assert [e.row.text for e in await all_events(node, Diary)] == ["his"]
        assert [e.row.text for e in await all_events(node, Diary, owner=ana.did)] == ["hers"]
        assert [e.row.text for e in await all_events(node, Diary, owner="all")] == ["hers", "his"]
        assert [e.owner for e in await all_events(node, Diary, owner=[bo.did])] == [bo.did]


async def test_events_are_chosen_by_kind_field_condition_function_and_owner() -> None:
    ana = debros.Identity.generate()
    async with a_node(Note, User) as node:
        note = await Note.create(title="a", likes=1)
        async with node.acting_as(ana):
            other = await Note.create(title="b")
        await note.update(title="c")
        await note.update(likes=9)
        await note.delete()

        async def chosen(**how: Any) -> list[tuple[str, str]]:
            return [(event.kind, event.id) for event in await all_events(node, Note, **how)]

        assert await chosen(on={"create"}) == [("create", note.id), ("create", other.id)]
        assert await chosen(on="update", fields="likes") == [("update", note.id)]
        assert await chosen(where=Note.likes > 5) == [("update", note.id), ("delete", note.id)]
        assert await chosen(where=Note.meta.created_by == ana.did) == [("create", other.id)]
        assert await chosen(where=lambda event: event.kind == "delete") == [("delete", note.id)]
        assert await chosen(owner=ana.did) == [("create", other.id)]


async def test_wrong_wishes_are_refused_where_they_are_said() -> None:
    async with a_node(User, Note) as node:
        for wrong, error in (
            ({"on": {"created"}}, debros.QueryError), ({"fields": "titel"}, debros.UnknownFieldError),
            ({"owner": "ana"}, debros.QueryError), ({"where": 3}, debros.QueryError),
            ({"where": Note.user.any(User.handle == "a")}, debros.QueryError), ({"where": User.handle == "a"}, debros.QueryError),
        ):  # fmt: skip
            with pytest.raises(error):
                await all_events(node, Note, **wrong)
        with pytest.raises(debros.QueryError, match="create"):
            await all_events(node, Note, on={"creat"})
        with pytest.raises(debros.ModelError):
            await all_events(node, Diary)


async def test_a_condition_that_raises_is_the_subscribers_and_the_next_event_comes_all_the_same() -> None:
    async with a_node(User, Note) as node:
        await Note.create(title="bad")
        await Note.create(title="good")

        def fails(event: Any) -> bool:
            if event.row.title == "bad":
                raise ZeroDivisionError
            return True

        async with node.events.subscribe(Note, since="start", where=fails) as events:
            with pytest.raises(ZeroDivisionError):
                await anext(events)
            assert (await anext(events)).row.title == "good"


async def test_a_change_by_somebody_without_the_right_is_counted_and_no_event() -> None:
    async with a_node(Owned) as here, a_node(Owned) as there:
        with there.current():
            mine = await Owned.create(text="mine")
        await deliver(there, here)
        assert [e.kind for e in await all_events(here, Owned)] == ["create"]
        assert here.status().skipped == 0
        await write_without_right(here, mine.id)
        assert here.status().skipped == 1
        assert [e.kind for e in await all_events(here, Owned)] == ["create"]


async def write_without_right(node: debros.Debros, id: str) -> None:
    """Let the log say what this library would refuse to write."""
    from debros.replica import transaction as transactions

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "may_write", lambda *_: True)
        async with node.transaction():
            with node.current():
                await (await Owned.get(id)).update(text="theirs")


async def test_a_subscription_ends_with_its_block_and_with_its_node() -> None:
    failures: list[str] = []

    async def follow(node: debros.Debros) -> None:
        async with node.events.subscribe(Note) as events:
            try:
                await anext(events)
            except debros.ClosedError as error:
                failures.append(str(error))

    async with trio.open_nursery() as nursery, a_node(User, Note) as node:
        async with node.events.subscribe(Note) as events:
            pass
        with pytest.raises(debros.ClosedError, match="block"):
            await anext(events)
        nursery.start_soon(follow, node)
        await wait_all_tasks_blocked()
    assert len(failures) == 1


async def test_a_writer_of_one_model_wakes_no_subscriber_of_another() -> None:
    async with a_node(User, Note) as node, node.events.subscribe(User) as events:
        await told(events)
        for n in range(3):
            await Note.create(title=str(n))
        assert events.lag == 0
