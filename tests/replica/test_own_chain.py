"""A key's own chain: what it links to, how it goes on after a fork, a cut, a restart and a failure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from debros.blocks.files import MemoryFiles
from debros.errors import PermissionDeniedError, StorageError, UniqueError
from debros.identity.keys import Identity
from debros.log.acts import cut_act
from debros.log.entry import MAX_LINKS, Header, parse_header
from debros.replica.acting import Act, Signed
from debros.replica.receive import Delivery, receive
from debros.replica.tables import NOT_UNIQUE
from debros.schema import Schema
from tests.support.entries import NOW, A, B
from tests.support.homes import Home, change, home_models, new
from tests.support.stores import deliver, post
from tests.support.worlds import LOGS, Author, World


def last_header(home: Home) -> Header:
    entry = home.store.entries.by_number(home.store.entries.next_e - 1)
    return parse_header(home.store.log.read(entry.header))


def same_key(home: Home) -> World:
    """A log where the home's own device writes too: a restored backup, a copied key."""
    world = LOGS[0]()
    device = home.device
    assert device.certificate is not None
    own = Author(device, device.user, (device.certificate,))  # type: ignore[arg-type]  # it signs, as a key does
    return replace(world, authors=(*world.authors, own))


async def test_an_entry_links_to_the_heads_that_are_known_and_to_its_own_last() -> None:
    home = Home()
    world = LOGS[0]()
    for author in range(3):
        world.write(author, [])
    await deliver(home.store, home.replica, world.entries)
    await home.save(new("a"))
    header = last_header(home)
    assert (header.prev, set(header.next)) == (None, {made.digest for made in world.entries})
    await home.save(new("b"))
    header = last_header(home)
    assert header.next == ()
    assert home.replica.heads == {header.digest}


async def test_of_many_heads_the_newest_are_linked_and_the_rest_later() -> None:
    home = Home()
    world = LOGS[0]()
    for n in range(MAX_LINKS + 8):
        world.write(1, [], prev=world.entries[0] if n else None, ahead=n + 1)
    await deliver(home.store, home.replica, world.entries)
    heads = world.entries[1:]
    await home.save(new("a"))
    assert set(last_header(home).next) == {made.digest for made in heads[-MAX_LINKS:]}
    await home.save(new("b"))
    assert set(last_header(home).next) == {made.digest for made in heads[:-MAX_LINKS]}
    assert home.replica.heads == {last_header(home).digest}


async def test_void_entries_are_not_linked_and_stay_heads() -> None:
    home = Home()
    world = LOGS[0]()
    bad = world.write(2, [])
    cut = world.write(0, acts=[cut_act(world.authors[2].user, [])])
    await deliver(home.store, home.replica, world.entries)
    await home.save(new("a"))
    assert last_header(home).next == (cut.digest,)
    assert home.replica.heads == {last_header(home).digest, bad.digest}


async def test_a_fork_of_the_own_key_that_comes_late_does_not_take_its_chain_back() -> None:
    home = Home()
    world = same_key(home)
    await home.save(new("a"))
    await home.save(new("b"))
    await home.save(new("c"))
    tip = last_header(home)
    fork = world.write(len(world.authors) - 1, [])
    await deliver(home.store, home.replica, [fork])
    await home.save(new("d"))
    header = last_header(home)
    assert (header.prev, header.seq, header.next) == (tip.digest, 3, (fork.digest,))


@pytest.mark.parametrize("flushed", [False, True])
async def test_a_chain_whose_entries_came_from_a_peer_goes_on_behind_them(flushed: bool) -> None:
    home = Home()
    world = same_key(home)
    last = [world.write(len(world.authors) - 1, []) for _ in range(3)][-1]
    world.write(len(world.authors) - 1, [], prev=world.entries[0])  # and a shorter branch, which came later
    await deliver(home.store, home.replica, world.entries)
    if flushed:
        home.store.flush()
    await home.save(new("a"))
    header = last_header(home)
    assert (header.prev, header.seq) == (last.digest, 3)


async def test_the_clock_goes_on_where_it_was_although_the_wall_clock_went_back(tmp_path: Any) -> None:
    files, view, seen = MemoryFiles(), str(tmp_path / "view.sqlite"), list[int]()
    for n in range(4):
        home = Home(files=files, view=view)
        home.env.now_ms = NOW - n * 10**6
        await home.save(new(f"a{n}"), new(f"b{n}"))
        await home.save(new(f"c{n}"))
        seen += [home.store.entries.by_number(e).clock for e in range(len(seen) + 1, home.store.entries.next_e)]
        home.store.close()
    assert seen == list(range(seen[0], seen[0] + 8))
    home = Home(files=files, view=view)
    home.env.now_ms = NOW + 1
    await home.save(new("z"))
    assert last_header(home).clock == (NOW + 1) << 16
    home.store.close()


# -- cuts of keys that write here -------------------------------------------------------------------------------------


def admins_home() -> Home:
    """A home whose first user is the admin of the open log."""
    home = Home()
    home.device = Identity.from_seed(A.seed()).device(bytes(16))
    return home


def cutting(home: Home, ends: list[bytes] | None) -> Act:
    return Act(home.store, home.replica, lambda: Signed(home.device, [cut_act(home.other.user, ends)]))


async def test_what_a_key_wrote_behind_its_cut_in_one_group_does_not_show_and_its_saver_is_told() -> None:
    home = admins_home()
    await home.save(new("before"), device=home.other)
    outcomes: list[str] = []

    async def cut() -> None:
        await home.store.commit(cutting(home, []))
        outcomes.append("cut")

    async def save() -> None:
        try:
            await home.save(new("behind"), device=home.other)
            outcomes.append("saved")
        except PermissionDeniedError:
            outcomes.append("refused")

    home.env.shut()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(home.save, new("first"))
        await wait_all_tasks_blocked()
        nursery.start_soon(cut)
        await wait_all_tasks_blocked()
        nursery.start_soon(save)
        await wait_all_tasks_blocked()
        home.env.open()
    assert sorted(outcomes) == ["cut", "refused"]
    assert home.ids() == ["first"]
    assert home.reopened().ids() == ["first"]


async def test_a_cut_shows_at_once_in_rows_read_by_id() -> None:
    home = admins_home()
    await home.save(new("theirs"), device=home.other)
    await home.save(change("theirs", title="edited"))
    await home.store.commit(cutting(home, []))
    assert home.values("theirs") is None
    await home.store.commit(cutting(home, None))
    values = home.values("theirs")
    assert values is not None
    assert values["title"] == "edited"


async def test_a_home_closed_right_behind_a_cut_opens_again_as_it_was(tmp_path: Any) -> None:
    view = str(tmp_path / "view.sqlite")
    home = Home(view=view)
    world = LOGS[0]()
    world.write(2, [])
    world.write(0, acts=[cut_act(B.public, [])])
    await deliver(home.store, home.replica, world.entries)
    home.store.close()
    again = home.reopened(view=view)
    assert not again.opened.rebuilt
    assert not again.opened.fresh_key_needed
    again.store.close()


# -- unique values that peers claimed ---------------------------------------------------------------------------------


async def test_a_value_that_one_of_two_claimants_gave_up_is_still_taken() -> None:
    home = Home()
    world = LOGS[0]()

    def post_of(id: str, slug: str) -> list[Any]:
        return ["Post", 1, id, {"live": True, "put": (new(id, slug=slug).put or {}), "keep": {"note": [None, []]}}]

    world.write(1, [post_of("a", "s")])
    world.write(2, [post_of("b", "s")])
    world.write(2, [["Post", 1, "b", {"put": {"slug": "t"}}]])
    await deliver(home.store, home.replica, world.entries)  # nothing is flushed yet
    with pytest.raises(UniqueError) as caught:
        await home.save(new("c", slug="s"))
    assert caught.value.id == "a"
    with pytest.raises(UniqueError):
        await home.save(new("c", slug="t"))
    home.ids()
    assert not any((home.row(id) or ())[home.model().table.flags_at] & NOT_UNIQUE for id in "ab")


# -- an entry on disk that cannot be shown ------------------------------------------------------------------------------


def brittle() -> list[Schema]:
    """Models one of whose types fails on the value "bang"."""

    def accepts(value: object) -> bool:
        if value == "bang":
            raise RuntimeError("bang")
        return type(value) is str

    fields = post().fields
    title = replace(fields[0], codec=replace(fields[0].codec, accepts=accepts))
    schema = Schema("Post", 1, "global", "documents", "anyone", (title, *fields[1:]))
    return [schema, *home_models()[1:]]


async def bang_from_a_peer(home: Home) -> None:
    world = LOGS[0]()
    world.write(1, [["Post", 1, "x", {"live": True, "put": {"title": "bang"}}]])
    await receive(home.store, home.replica, [Delivery(made.header, made.body) for made in world.entries])


async def test_after_an_entry_that_could_not_be_shown_nothing_is_written_until_the_node_is_opened_again(
    tmp_path: Any,
) -> None:
    view = str(tmp_path / "view.sqlite")
    home = Home(models=brittle(), view=view)
    await home.save(new("a"))
    home.ids()
    with pytest.raises(StorageError):
        await bang_from_a_peer(home)
    for _ in range(2):
        with pytest.raises(StorageError):
            await home.save(new("b"))
        with pytest.raises(StorageError):
            home.store.flush()
    home.store.close()
    again = home.reopened(view=view)
    assert not again.opened.fresh_key_needed
    assert again.ids() == ["a", "x"]
    await again.save(new("b"))
    assert again.replica.tip(again.device.public).seq == 2
    again.store.close()
