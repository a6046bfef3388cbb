"""Live queries, one behaviour at a time. That they equal fresh queries is a law, tested beside."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import debros
from debros import Field, Many, Model, One, belongs_to, field, has_many, model
from tests.support.delivering import deliver
from tests.support.live import Follower
from tests.support.nodes import a_node


@model(name="LiveUser")
class User(Model):
    name: Field[str]
    notes: Many[Note] = has_many("user_id", order_by="title")


@model(name="LiveNote")
class Note(Model):
    title: Field[str]
    user_id: Field[str | None] = field(default=None)
    stars: Field[int] = field(default=0)
    user: One[User | None] = belongs_to("user_id", on_delete="cascade")


@model(scope="user", name="LiveDiary")
class Diary(Model):
    text: Field[str]


async def test_the_rows_of_now_come_first_and_then_changes() -> None:
    async with a_node(User, Note):
        await Note.create(id="a", title="old")
        async with Note.query().live() as view:
            assert [note.title for note in view.rows] == ["old"]
            await Note.create(id="b", title="new")
            change = await anext(view)
            assert (change.kind, change.row.title, change.index) == ("added", "new", None)
            assert [note.id for note in view.rows] == ["a", "b"]


async def test_view_rows_are_as_of_the_last_change_taken() -> None:
    async with a_node(User, Note), Note.query().live() as view:
        await Note.create(id="a", title="a")
        await Note.create(id="b", title="b")
        assert view.rows == []
        await anext(view)
        assert [note.id for note in view.rows] == ["a"]
        await Note.create(id="c", title="c")
        assert [note.id for note in view.rows] == ["a"]


async def test_changes_of_one_record_that_wait_are_one_change() -> None:
    async with a_node(User, Note), Note.where(Note.stars < 100).live() as view:
        note = await Note.create(title="a")
        for stars in range(1, 50):
            await note.update(stars=stars)
        follower = Follower(view)
        assert await follower.catch_up() == ["added"]
        assert follower.copy[0].stars == 49


async def test_what_came_and_went_unseen_is_no_change() -> None:
    async with a_node(User, Note), Note.query().live() as view:
        note = await Note.create(title="a")
        await note.delete()
        assert await Follower(view).catch_up() == []


async def test_a_write_that_changes_nothing_shown_is_no_change() -> None:
    async with a_node(User, Note):
        note = await Note.create(title="a")
        async with Note.query().live() as view:
            await note.update(title="b")
            await note.update(title="a")
            assert await Follower(view).catch_up() == ["changed"]  # the record's newest entry is another one


async def test_an_ordered_query_says_where_a_row_stands_now() -> None:
    async with a_node(User, Note):
        for n, title in enumerate("bdf"):
            await Note.create(title=title, stars=n)
        async with Note.query().order_by(Note.title.asc()).live() as view:
            await Note.create(title="c")
            assert (await anext(view)).index == 1
            await view.rows[3].update(title="a")
            change = await anext(view)
            assert (change.kind, change.index) == ("changed", 0)
            await view.rows[0].delete()
            assert ((change := await anext(view)).kind, change.index) == ("removed", None)


async def test_a_limited_query_is_filled_up_from_behind_when_a_row_leaves() -> None:
    async with a_node(User, Note), Note.query().order_by(Note.stars.desc()).limit(2).live() as view:
        for stars in (5, 3, 9, 7):  # it grows beyond its limit, and shrinks below
            await Note.create(id=f"n{stars}", title="x", stars=stars)
        follower = Follower(view)
        await follower.catch_up()
        assert [note.stars for note in follower.copy] == [9, 7]
        for gone, left in (("n9", [7, 5]), ("n5", [7, 3]), ("n7", [3]), ("n3", [])):
            await (await Note.get(gone)).delete()
            await follower.catch_up()
            assert [note.stars for note in follower.copy] == left


async def test_writes_of_other_nodes_are_changes_like_our_own() -> None:
    async with a_node(User, Note) as here, a_node(User, Note) as there:
        with here.current():
            view_of_here = Note.where(Note.stars == 3).live()
        with there.current():
            await Note.create(title="from afar", stars=3)
        with here.current():
            async with view_of_here as view:
                await deliver(there, here)
                assert (await anext(view)).row.title == "from afar"


async def test_what_a_cascade_hides_is_removed_and_comes_back_with_its_target() -> None:
    async with a_node(User, Note):
        user = await User.create(name="ana")
        await Note.create(title="a", user_id=user.id)
        async with Note.where(Note.title == "a").live() as view, trio.open_nursery() as nursery:
            kinds: list[str] = []

            async def follow() -> None:
                async for change in view:
                    kinds.append(change.kind)

            nursery.start_soon(follow)
            await wait_all_tasks_blocked()
            await user.delete()  # nothing else is written, nobody reads: the sleeping reader is told all the same
            await wait_all_tasks_blocked()
            assert kinds == ["removed"]
            await user.restore()
            await wait_all_tasks_blocked()
            assert kinds == ["removed", "added"]
            nursery.cancel_scope.cancel()


async def test_what_a_revocation_takes_away_is_removed() -> None:
    who = debros.Identity.generate()
    team = debros.Identity.generate()
    async with a_node(User, Note, identity=team, admins=[team.did]) as node:
        async with node.acting_as(who):
            await Note.create(title="b")
        async with Note.where(Note.title == "b").live() as view:
            await node.revoke(who.did, keep=False)
            assert await Follower(view).catch_up() == ["removed"]


async def test_conditions_on_related_records_follow_those() -> None:
    async with a_node(User, Note):
        user = await User.create(name="ana")
        await Note.create(title="a", user_id=user.id)
        listed = User.where(User.name == "ana").select(User.id)
        async with (
            Note.where(Note.user.any(User.name == "ana")).live() as by_relation,
            Note.where(Note.user_id.in_(listed)).live() as by_list,
            User.where(User.notes.any(Note.title == "b")).live() as by_children,
        ):
            await user.update(name="bo")
            assert (await anext(by_relation)).kind == "removed"
            assert (await anext(by_list)).kind == "removed"
            assert by_children.rows == []
            await Note.create(title="b", user_id=user.id)
            assert (await anext(by_children)).row.name == "bo"


async def test_included_records_come_along_and_their_changes_count() -> None:
    async with a_node(User, Note):
        user = await User.create(name="ana")
        await Note.create(title="a", user_id=user.id)
        async with (
            Note.query().include(Note.user).live() as notes,
            User.query().include(User.notes.limit(1)).live() as users,
        ):
            assert (author := notes.rows[0].user.value) is not None
            assert author.name == "ana"
            await user.update(name="bo")
            change = await anext(notes)
            assert change.kind == "changed"
            assert (author := change.row.user.value) is not None
            assert author.name == "bo"
            await anext(users)
            await Note.create(title="b", user_id=user.id)  # beyond the limit of what is included
            assert await Follower(users).catch_up() == []
            await Note.create(title="A", user_id=user.id)
            assert [note.title for note in (await anext(users)).row.notes.value] == ["A"]


async def test_a_users_records_are_those_of_who_opened_the_view() -> None:
    ana, bo = debros.Identity.generate(), debros.Identity.generate()
    async with (
        a_node(Diary) as node,
        node.acting_as(ana),
        Diary.query().live() as hers,
        Diary.query().all_users().live() as everybodys,
    ):
        async with node.acting_as(bo):
            await Diary.create(text="his")
            assert (await anext(everybodys)).row.text == "his"
            assert await Follower(hers).catch_up() == []  # whoever takes the changes
        await Diary.create(text="hers")
        assert (await anext(hers)).row.text == "hers"


async def test_a_transaction_is_seen_once_it_is_over() -> None:
    async with a_node(User, Note) as node, Note.where(Note.stars > 0).live() as view:
        follower = Follower(view)
        async with node.transaction():
            note = await Note.create(title="a", stars=1)
            await note.update(stars=2)
            assert await Note.query().count() == 1
            assert await follower.catch_up() == []
        assert await follower.catch_up() == ["added"]
        assert follower.copy[0].stars == 2


async def test_a_write_wakes_only_views_that_it_may_concern() -> None:
    async with a_node(User, Note) as node:
        async with Note.where(Note.user_id == "u1").live() as view, Note.where(Note.user_id == "u2").live() as other:
            note = await Note.create(title="a", user_id="u1")
            assert (await anext(view)).kind == "added"
            assert not other._watch.changed
            await note.update(user_id="u2")  # the view that holds it hears of it too
            assert (await anext(view)).kind == "removed"
            assert (await anext(other)).kind == "added"
        assert node.watchers.is_idle


async def test_a_view_that_fails_to_look_looks_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_node(User, Note) as node, Note.where(Note.stars > 0).live() as view:
        await Note.create(title="a", stars=1)

        def refuse(*_: object) -> None:
            raise debros.StorageError("no")

        with monkeypatch.context() as patch:
            patch.setattr(node.store.view, "read", refuse)
            with pytest.raises(debros.StorageError):
                await anext(view)
        assert (await anext(view)).row.title == "a"


async def test_tuples_groups_and_transactions_have_no_live_view() -> None:
    async with a_node(User, Note) as node:
        with pytest.raises(debros.QueryError, match="records"):
            async with Note.query().select(Note.title).live():
                pass
        with pytest.raises(debros.QueryError, match="aggregate"):
            Note.query().group_by(Note.title).live()
        async with node.transaction():
            with pytest.raises(debros.TransactionError, match="before or after"):
                async with Note.query().live():
                    pass


async def test_a_view_ends_with_its_block_and_with_its_node() -> None:
    async with a_node(User, Note):
        async with Note.query().live() as view:
            pass
        with pytest.raises(debros.ClosedError, match="block"):
            await anext(view)
    async with trio.open_nursery() as nursery:
        failures: list[str] = []

        async def follow(task_status: trio.TaskStatus[None]) -> None:
            async with Note.query().live() as view:
                task_status.started()
                try:
                    await anext(view)
                except debros.ClosedError as error:
                    failures.append(str(error))

        async with a_node(User, Note):
            await nursery.start(follow)
            await wait_all_tasks_blocked()
    assert [message.split(";")[0] for message in failures] == ["the node is closed"]
