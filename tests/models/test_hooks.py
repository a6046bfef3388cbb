"""Hooks around local writes."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import debros
from debros import (
    Field,
    Model,
    after_create,
    after_delete,
    after_save,
    after_update,
    before_create,
    before_delete,
    before_save,
    before_update,
    field,
    hooks_of,
    model,
)
from tests.support.nodes import a_node

calls: list[str] = []


@pytest.fixture(autouse=True)
def forget_calls() -> None:
    calls.clear()


class Logged(Model):
    """All eight hooks, some sync and some async, with and without parentheses."""

    @before_create
    def on_before_create(self) -> None:
        calls.append("before_create")

    @after_create()
    async def on_after_create(self) -> None:
        await trio.lowlevel.checkpoint()
        calls.append("after_create")

    @before_save()
    async def on_before_save(self) -> None:
        calls.append("before_save")

    @after_save
    def on_after_save(self) -> None:
        calls.append("after_save")

    @before_update
    def on_before_update(self) -> None:
        calls.append("before_update")

    @after_update
    async def on_after_update(self) -> None:
        calls.append("after_update")

    @before_delete
    def on_before_delete(self) -> None:
        calls.append("before_delete")

    @after_delete
    def on_after_delete(self) -> None:
        calls.append("after_delete")


@model(scope="global")
class Note(Logged):
    text: Field[str] = field(default="")
    tags: Field[list[str]] = field(default_factory=list)
    likes: Field[int] = field(default=0, merge="counter")


CREATE = ["before_save", "before_create", "after_create", "after_save"]
UPDATE = ["before_save", "before_update", "after_update", "after_save"]


def test_hooks_are_listed_by_event() -> None:
    assert {event: [hook.__name__ for hook in hooks] for event, hooks in hooks_of(Note).items()} == {
        event: [f"on_{event}"]
        for event in (
            "before_create", "after_create", "before_save", "after_save",
            "before_update", "after_update", "before_delete", "after_delete",
        )
    }  # fmt: skip
    with pytest.raises(debros.ModelError):
        hooks_of(int)


async def test_hooks_run_around_each_write_in_their_order() -> None:
    async with a_node(Note):
        note = await Note.create()
        assert calls == CREATE
        calls.clear()
        await note.update(text="x")
        assert calls == UPDATE
        calls.clear()
        await note.delete()
        assert calls == ["before_delete", "after_delete"]
        calls.clear()
        await Note.create_many([{}, {}])
        assert sorted(calls) == sorted(CREATE * 2)


async def test_nothing_to_write_runs_no_hook() -> None:
    async with a_node(Note):
        note = await Note.create(likes=1)
        other = await Note.get(note.id)
        await other.delete()
        calls.clear()
        await other.save()
        await other.delete()
        await note.delete()
        assert calls == []


async def test_skip_hooks_runs_none() -> None:
    async with a_node(Note):
        note = await Note().save(skip_hooks=True)
        note.text = "x"
        await note.save(skip_hooks=True)
        await note.delete(skip_hooks=True)
        assert calls == []


async def test_parents_hooks_come_first_then_those_of_the_class_in_order() -> None:
    class Base(Model):
        name: Field[str] = field(default="")

        @before_save
        def first(self) -> None:
            calls.append("base first")

        @before_save
        def second(self) -> None:
            calls.append("base second")

    class Mixin:
        @before_save
        def mixed(self) -> None:
            calls.append("mixed")

    @model(scope="global")
    class Child(Mixin, Base):
        @before_save
        def zero(self) -> None:
            calls.append("child")

        def first(self) -> None:  # overridden: runs once, in the parent's place
            calls.append("child's first")

        second = None  # type: ignore[assignment]  # taken out

    async with a_node(Child):
        await Child.create()
    assert calls == ["child's first", "mixed", "child"]


async def test_a_before_hook_may_change_the_record_and_what_it_leaves_is_validated() -> None:
    @model(scope="global")
    class Title(Model):
        text: Field[str] = field(max_length=5)
        tags: Field[list[str]] = field(default_factory=list)

        @before_save
        async def tidy(self) -> None:
            self.text = self.text.strip()
            self.tags.append(3 if self.text == "bad" else self.text)  # type: ignore[arg-type]  # wrong where asked

    async with a_node(Title):
        title = await Title.create(text=" a ")
        assert (title.text, title.tags) == ("a", ["a"])
        assert (await Title.get(title.id)).text == "a"
        await title.update(text="b")
        assert title.tags == ["a", "b"]
        with pytest.raises(debros.ValidationError):
            await title.update(text="bad")
        assert (title.text, title.tags) == ("bad", ["a", "b"])  # as it was before the save


async def test_an_error_in_a_before_hook_stops_the_write_and_leaves_the_record_as_it_was() -> None:
    @model(scope="global")
    class Guarded(Model):
        n: Field[int] = field(default=0)

        @before_save
        def refuse(self) -> None:
            self.n += 100
            if self.n > 200:
                raise RuntimeError("no")

        @before_delete
        def keep(self) -> None:
            raise RuntimeError("never")

    async with a_node(Guarded):
        guarded = await Guarded.create()
        with pytest.raises(RuntimeError, match="no"):
            await guarded.update(n=150)
        assert guarded.changes == {"n": (100, 150)}
        with pytest.raises(RuntimeError, match="never"):
            await guarded.delete()
        assert (await Guarded.get(guarded.id)).n == 100


async def test_an_error_in_an_after_hook_reaches_the_caller_and_the_write_stands() -> None:
    @model(scope="global")
    class Loud(Model):
        n: Field[int]

        @after_save
        def cry(self) -> None:
            calls.append(f"after {self.n}")
            raise RuntimeError(f"after {self.n}")

    async with a_node(Loud):
        with pytest.raises(RuntimeError, match="after 1"):
            await Loud.create(n=1)
        with pytest.raises(RuntimeError, match="after 2"):
            await Loud.create_many([{"n": 2}, {"n": 3}])
        assert calls == ["after 1", "after 2", "after 3"]
        assert await Loud.count() == 3


async def test_changes_say_what_is_written_before_and_what_was_written_after() -> None:
    seen: list[dict[str, Any]] = []

    @model(scope="global")
    class Watched(Model):
        a: Field[int] = field(default=0)
        b: Field[int] = field(default=0)

        @before_save
        @after_save
        def look(self) -> None:
            seen.append(self.changes)

        @after_delete
        def gone(self) -> None:
            seen.append(self.changes)

    async with a_node(Watched):
        record = await Watched.create(a=1)
        await record.update(b=2)
        await record.delete()
    assert seen == [{"a": (None, 1), "b": (None, 0)}] * 2 + [{"b": (0, 2)}] * 2 + [{}]
    assert record.changes == {}


async def test_an_after_hook_may_save_the_record_again() -> None:
    @model(scope="global")
    class Counted(Model):
        n: Field[int] = field(default=0)

        @after_save
        async def count_up(self) -> None:
            if self.n < 3:
                self.n += 1
                await self.save()

    async with a_node(Counted):
        counted = await Counted.create()
        assert (counted.n, counted.changes) == (3, {})
        assert (await Counted.get(counted.id)).n == 3


async def test_hooks_that_take_a_change_back_write_nothing() -> None:
    @model(scope="global")
    class Fixed(Model):
        n: Field[int] = field(default=0)

        @before_update
        def undo(self) -> None:
            self.n = 0

        @after_update
        def told(self) -> None:
            calls.append("after")

    async with a_node(Fixed) as node:
        fixed = await Fixed.create()
        entries = node.status().entries
        await fixed.update(n=5)
        assert (fixed.n, node.status().entries, calls) == (0, entries, [])


def test_a_hook_takes_only_self() -> None:
    with pytest.raises(debros.ModelError, match="takes only `self`"):

        @before_save  # type: ignore[type-var]  # wrong on purpose
        def hook(self: Any, changes: Any) -> None: ...

    with pytest.raises(debros.ModelError, match="marks a method"):
        before_save(staticmethod(lambda: None))  # type: ignore[type-var]  # wrong on purpose


async def test_in_a_transaction_after_hooks_come_once_and_after_the_commit() -> None:
    async with a_node(Note) as node:
        async with node.transaction():
            note = await Note.create(text="a")
            await note.update(text="b")
            assert calls == ["before_save", "before_create", "before_save", "before_update"]
            calls.clear()
            assert note.changes == {}
        assert calls == ["after_create", "after_save"]
        calls.clear()
        async with node.transaction():
            await note.update(text="c")
            await note.update(likes=3)
            await note.delete()
        assert calls[-1:] == ["after_delete"]
        assert "after_update" not in calls
        calls.clear()
        async with node.transaction():
            await (await Note.create()).delete()
        assert [call for call in calls if call.startswith("after")] == []


async def test_after_a_transaction_changes_are_those_of_all_its_saves() -> None:
    seen: list[dict[str, Any]] = []

    @model(scope="global")
    class Told(Model):
        a: Field[int] = field(default=0)
        b: Field[int] = field(default=0)

        @after_update
        def tell(self) -> None:
            seen.append(self.changes)

    async with a_node(Told) as node:
        told = await Told.create()
        async with node.transaction():
            await told.update(a=1)
            await told.update(a=2, b=3)
            with pytest.raises(RuntimeError):  # noqa: PT012 - the error leaves the block
                async with node.transaction():
                    await told.update(b=9)
                    raise RuntimeError
    assert seen == [{"a": (0, 2), "b": (0, 3)}]


async def test_a_transaction_that_is_undone_runs_no_after_hook() -> None:
    async with a_node(Note) as node:
        with pytest.raises(RuntimeError):  # noqa: PT012 - the error leaves the block
            async with node.transaction():
                await Note.create()
                raise RuntimeError
        assert calls == ["before_save", "before_create"]
