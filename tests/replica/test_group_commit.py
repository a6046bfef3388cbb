"""Many savers, one sync: who joins, who is put off, who is refused, who is cancelled, and what a failed disk leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from debros.blocks.files import MemoryFiles
from debros.errors import DebrosError, NotFoundError, StorageError, UniqueError
from debros.log.entry import parse_header
from debros.replica.draft import Draft
from debros.schema import Schema
from debros.testing.faults import FailingFiles
from tests.support.homes import Home, change, home_models, new


async def together(*savers: Callable[[], Awaitable[object]]) -> list[object]:
    """Run them at once; return what each returned or raised."""
    outcomes: list[object] = [None] * len(savers)

    async def run(n: int) -> None:
        try:
            outcomes[n] = await savers[n]()
        except DebrosError as error:
            outcomes[n] = error

    async with trio.open_nursery() as nursery:
        for n in range(len(savers)):
            nursery.start_soon(run, n)
    return outcomes


async def test_savers_that_come_at_once_share_one_sync() -> None:
    home = Home()
    await together(*(lambda n=n: home.save(new(f"d{n}")) for n in range(20)))
    assert home.env.begun == 1
    assert len(home.ids()) == 20
    assert home.replica.tip(home.device.public).seq == 20
    assert home.reopened().ids() == home.ids()


async def test_savers_that_come_during_a_sync_share_the_next_one() -> None:
    home = Home()
    home.env.shut()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(home.save, new("first"))
        await wait_all_tasks_blocked()
        for n in range(10):
            nursery.start_soon(home.save, new(f"d{n}"))
        await wait_all_tasks_blocked()
        assert home.row("first") is None, "what is not synced does not show"
        home.env.open()
    assert home.env.begun == 2
    assert len(home.ids()) == 11


async def test_a_group_has_at_most_a_thousand_changes_but_always_one_saver() -> None:
    home = Home()
    many = [new(f"a{n:04}") for n in range(600)]
    more = [new(f"b{n:04}") for n in range(600)]
    most = [new(f"c{n:04}") for n in range(1500)]
    await together(lambda: home.save(*many), lambda: home.save(*more), lambda: home.save(*most, parts=True))
    assert home.env.begun == 3
    assert len(home.ids()) == 2700


async def test_a_saver_that_names_a_document_twice_is_refused_whole() -> None:
    home = Home()
    for fresh in (False, True):
        with pytest.raises(UniqueError):
            await home.save(*(replace(new(id), fresh=fresh) for id in ("d", "e", "d")))
    assert home.ids() == []
    await home.save(new("d"))
    with pytest.raises(UniqueError):
        await home.save(change("d", likes=1), change("d", likes=1))
    assert home.env.begun == 1


async def test_two_savers_of_one_document_in_a_group_come_one_after_another() -> None:
    home = Home()
    await home.save(new("d", likes=1))
    home.env.begun = 0
    await together(*(lambda n=n: home.save(change("d", likes=1, title=f"t{n}")) for n in range(5)))
    values = home.values("d")
    assert values is not None
    assert values["likes"] == 6
    assert home.env.begun == 5, "each needs to see the one before"
    assert home.reopened().values("d") == values


async def test_of_two_creates_of_one_id_at_once_one_is_refused() -> None:
    home = Home()
    outcomes = await together(lambda: home.save(new("d", title="a")), lambda: home.save(new("d", title="b")))
    refused = [outcome for outcome in outcomes if isinstance(outcome, UniqueError)]
    assert [(error.fields, error.id) for error in refused] == [(("id",), "d")]
    assert home.ids() == ["d"]


async def test_of_two_claims_of_a_unique_value_at_once_one_is_refused() -> None:
    home = Home()
    outcomes = await together(*(lambda n=n: home.save(new(f"d{n}", slug="s")) for n in range(4)))
    [winner] = home.ids()
    refused = [outcome for outcome in outcomes if isinstance(outcome, UniqueError)]
    assert [(error.fields, error.id) for error in refused] == [(("slug",), winner)] * 3
    assert home.reopened().ids() == [winner]


async def test_a_refused_request_does_not_disturb_the_others_of_its_group() -> None:
    home = Home()
    await home.save(new("here", slug="taken"))
    home.env.begun = 0
    outcomes = await together(
        lambda: home.save(new("a")),
        lambda: home.save(change("nowhere", title="x")),
        lambda: home.save(new("b", slug="taken")),
        lambda: home.save(new("c"), new("here")),
        lambda: home.save(new("d")),
        lambda: home.save(Draft("delete", "nowhere")),
    )
    assert [type(outcome) for outcome in outcomes] == [list, NotFoundError, UniqueError, UniqueError, list, list]
    assert home.env.begun == 1
    assert home.ids() == ["a", "d", "here"]
    assert home.replica.tip(home.device.public).seq == 3


async def test_a_request_with_nothing_to_do_writes_no_entry() -> None:
    home = Home()
    before = home.state()
    assert await home.save(Draft("delete", "nowhere")) == [None]
    assert home.state() == before
    assert home.env.begun == 0


async def test_entries_of_two_keys_in_one_group_link_each_other() -> None:
    home = Home()
    await home.save(new("a"))
    await together(lambda: home.save(new("b")), lambda: home.save(new("c"), device=home.other))
    heads = list(home.replica.heads)
    assert len(heads) == 1, "the second of the group builds on the first"
    seen, open_ends = set[bytes](), heads
    while open_ends:
        entry = home.store.entries.find(open_ends.pop())
        assert entry is not None
        seen.add(entry.digest)
        open_ends += parse_header(home.store.log.read(entry.header)).parents()
    assert len(seen) == 3


# -- cancellation -------------------------------------------------------------------------------------------------


async def test_a_saver_that_still_waits_withdraws_when_cancelled() -> None:
    home = Home()
    home.env.shut()
    scope = trio.CancelScope()

    async def waiting() -> None:
        with scope:
            await home.save(new("waiting"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(home.save, new("first"))
        await wait_all_tasks_blocked()
        nursery.start_soon(waiting)
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert scope.cancelled_caught
        home.env.open()
    assert home.ids() == ["first"]
    await home.save(new("next"))
    assert home.ids() == ["first", "next"]


async def test_a_saver_that_was_taken_returns_although_it_is_cancelled() -> None:
    home = Home()
    home.env.shut()
    scopes = [trio.CancelScope(), trio.CancelScope()]
    returned: list[int] = []

    async def saver(n: int) -> None:
        with scopes[n]:
            await home.save(new(f"d{n}"))
            returned.append(n)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(saver, 0)
        nursery.start_soon(saver, 1)
        await wait_all_tasks_blocked()
        for scope in scopes:
            scope.cancel()
        await wait_all_tasks_blocked()
        assert not returned
        home.env.open()
    assert home.env.begun == 1, "both were in one group: one led, one was taken"
    assert sorted(returned) == [0, 1]
    assert home.ids() == ["d0", "d1"]


async def test_a_leader_that_is_cancelled_before_it_begins_passes_the_lead_on() -> None:
    home = Home()
    scope = trio.CancelScope()
    scope.cancel()
    outcomes: list[str] = []

    async def leader() -> None:
        with scope:
            await home.save(new("leader"))
            outcomes.append("leader")

    async def follower() -> None:
        await home.save(new("follower"))
        outcomes.append("follower")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leader)
        nursery.start_soon(follower)
    assert scope.cancelled_caught
    assert outcomes == ["follower"]
    assert home.ids() == ["follower"]


async def test_one_named_leader_while_it_is_cancelled_passes_the_lead_on() -> None:
    home = Home()
    home.env.shut()
    scope = trio.CancelScope()
    outcomes: list[str] = []

    async def saver(id: str, scope: trio.CancelScope) -> None:
        with scope:
            await home.save(new(id))
            outcomes.append(id)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(saver, "first", trio.CancelScope())
        await wait_all_tasks_blocked()
        nursery.start_soon(saver, "second", scope)
        await wait_all_tasks_blocked()
        nursery.start_soon(saver, "third", trio.CancelScope())
        await wait_all_tasks_blocked()
        home.env.open()
        while "first" not in outcomes:  # by then the second was named
            await trio.lowlevel.checkpoint()
        scope.cancel()
    assert "third" in outcomes
    assert home.ids() == sorted(outcomes)
    assert scope.cancelled_caught == ("second" not in outcomes)


Step = st.tuples(st.sampled_from(["save", "save", "cancel", "shut", "open", "exclude", "run"]), st.integers(0, 7))


@settings(max_examples=100)
@given(st.lists(Step, max_size=25), st.booleans())
def test_cancelled_is_raised_when_and_only_when_nothing_was_written(
    steps: list[tuple[str, int]], durable: bool
) -> None:
    async def main() -> None:
        home = Home(durable=durable)
        scopes: dict[int, trio.CancelScope] = {}
        returned: set[int] = set()
        inside: list[int] = []

        async def save(n: int, scope: trio.CancelScope) -> None:
            with scope:
                await home.save(new(f"d{n:03}"))
                returned.add(n)

        async def exclude(n: int, scope: trio.CancelScope) -> None:
            with scope:
                async with home.transaction() as transaction:
                    inside.append(n)
                    await trio.lowlevel.checkpoint()
                    await home.write(transaction, new(f"d{n:03}"))
                    await trio.lowlevel.checkpoint()
                    assert inside == [n], "one at a time"
                    inside.remove(n)
                returned.add(n)
            if n in inside:
                inside.remove(n)

        async with trio.open_nursery() as nursery:
            for at, (kind, n) in enumerate(steps):
                if kind in ("save", "exclude"):
                    scopes[at] = trio.CancelScope()
                    nursery.start_soon(save if kind == "save" else exclude, at, scopes[at])
                elif kind == "cancel" and scopes:
                    scopes[sorted(scopes)[n % len(scopes)]].cancel()
                elif kind == "shut" and home.env.gate is None:
                    home.env.shut()
                elif kind == "open" and home.env.gate is not None:
                    home.env.open()
                for _ in range(n if kind == "run" else 0):
                    await trio.lowlevel.checkpoint()
            if home.env.gate is not None:
                home.env.open()
        assert {f"d{n:03}" for n in returned} == set(home.ids())
        assert {n for n, scope in scopes.items() if scope.cancelled_caught} == scopes.keys() - returned
        assert home.reopened().ids() == home.ids()
        before = home.ids()
        await home.save(new("last"))
        assert home.ids() == [*before, "last"]

    trio.run(main)


# -- exclusion ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [True, False])
async def test_savers_wait_while_somebody_holds_the_log_alone(durable: bool) -> None:
    home = Home(durable=durable)
    done: list[str] = []

    async def saver() -> None:
        await home.save(new("saved"))
        done.append("saved")

    async with trio.open_nursery() as nursery, home.store.writer.exclusive():
        nursery.start_soon(saver)
        await wait_all_tasks_blocked()
        assert not done
        assert home.row("saved") is None
        done.append("exclusive ended")
    assert done == ["exclusive ended", "saved"]


async def test_those_who_want_the_log_alone_get_it_one_after_another() -> None:
    home = Home()
    running: list[int] = []
    most: list[int] = []

    async def hold(n: int) -> None:
        async with home.store.writer.exclusive():
            running.append(n)
            most.append(len(running))
            await trio.lowlevel.checkpoint()
            running.remove(n)

    async with trio.open_nursery() as nursery:
        for n in range(5):
            nursery.start_soon(hold, n)
            nursery.start_soon(home.save, new(f"d{n}"))
    assert most == [1] * 5
    assert len(home.ids()) == 5


async def test_one_who_gives_up_waiting_for_the_log_leaves_the_queue() -> None:
    home = Home()
    scope = trio.CancelScope()

    async def impatient() -> None:
        with scope:
            async with home.store.writer.exclusive():
                raise AssertionError("it never got the log")

    async with trio.open_nursery() as nursery:
        async with home.store.writer.exclusive():
            nursery.start_soon(impatient)
            await wait_all_tasks_blocked()
            scope.cancel()
            await wait_all_tasks_blocked()
        await home.save(new("d"))
    assert home.ids() == ["d"]


# -- a disk that fails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [True, False])
async def test_a_failed_write_fails_the_savers_of_its_group_and_leaves_everything_as_it_was(durable: bool) -> None:
    disk = FailingFiles(MemoryFiles())
    home = Home(files=disk, durable=durable)
    await home.save(new("here", likes=2, slug="s"))
    await home.save(new("mine"), name="Mine")
    before = home.state()
    disk.arm(1, on={"pwrite"}, forever=not durable)
    outcomes = await together(
        lambda: home.save(change("here", likes=1, slug="other")),
        lambda: home.save(new("a", slug="t")),
        lambda: home.save(new("b"), device=home.other),
        lambda: home.save(change("nowhere", title="x")),
    )
    expected = [StorageError, StorageError, StorageError, NotFoundError]
    assert [type(outcome) for outcome in outcomes] == expected
    assert home.state() == before
    disk.arm(())
    await home.save(new("a", slug="t"), new("c"))
    await home.save(change("here", likes=1))
    values = home.values("here")
    assert values is not None
    assert (values["likes"], values["slug"]) == (3, "s")
    again = home.reopened()
    assert again.state()["logs"] == home.state()["logs"]


async def test_a_failed_write_leaves_those_of_the_next_group_alone() -> None:
    disk = FailingFiles(MemoryFiles())
    home = Home(files=disk)
    home.env.shut()
    outcomes: dict[str, object] = {}

    async def saver(id: str) -> None:
        try:
            outcomes[id] = await home.save(new(id))
        except StorageError as error:
            outcomes[id] = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(saver, "first")
        nursery.start_soon(saver, "second")
        await wait_all_tasks_blocked()
        nursery.start_soon(saver, "third")
        await wait_all_tasks_blocked()
        disk.arm(1, on={"pwrite"})
        home.env.open()
    assert [type(outcomes[id]) for id in ("first", "second", "third")] == [StorageError, StorageError, list]
    assert home.ids() == ["third"]


async def test_a_failure_of_a_deferred_saver_does_not_take_back_what_was_written_before_it() -> None:
    disk = FailingFiles(MemoryFiles())
    home = Home(files=disk)
    await home.save(new("d"))
    disk.arm(2, on={"pwrite"})
    outcomes = await together(*(lambda: home.save(change("d", likes=1)) for _ in range(2)))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["StorageError", "list"]
    values = home.values("d")
    assert values is not None
    assert values["likes"] == 1


async def test_an_entry_that_stands_in_two_segments_counts_once(tmp_path: Path) -> None:
    disk, view = FailingFiles(MemoryFiles()), str(tmp_path / "view.sqlite")
    home = Home(files=disk, view=view)
    await home.save(new("here", likes=2))
    disk.arm({1, 2}, on={"sync", "truncate"})  # a failed sync, and the group cannot be taken back
    await home.save(change("here", likes=1))
    disk.arm(())
    narrow = [Schema(s.name, s.version, s.scope, s.store, s.write, s.fields[-4:]) for s in home_models()]
    for models in (home_models(), narrow, home_models()):  # as it is, and projected again, twice
        home.store.close()
        home = home.reopened(view=view, models=models)
        headers = [section.digest for section in home.store.log.scan() if section.block[1:5] == b"aaX "]
        assert (len(headers), len(set(headers))) == (3, 2)
        row = home.row("here")
        assert row is not None
        assert row[home.model().table.names.index("likes")] == 3
    home.store.close()
    rebuilt = home.reopened()
    assert rebuilt.store.entries.next_e == 3
    values = rebuilt.values("here")
    assert values is not None
    assert values["likes"] == 3
