"""What a draft becomes in the log: only what the holder of the writer's lock can decide."""

from __future__ import annotations

from typing import Any

import pytest

from debros.errors import ConflictError, NotFoundError, TooLargeError, UniqueError
from debros.log.body import parse_body
from debros.replica.commit import MAX_BYTES
from debros.replica.draft import Draft
from tests.support.homes import Home, change, new
from tests.support.stores import deliver
from tests.support.worlds import LOGS


def last_change(home: Home) -> Any:
    entry = home.store.entries.by_number(home.store.entries.next_e - 1)
    [op] = parse_body(home.store.log.read(entry.body)).ops
    return op[3]


def digest_of_last(home: Home) -> bytes:
    return home.store.entries.digest_of(home.store.entries.next_e - 1)


def conflicts(home: Home, id: str) -> int:
    """How many values of `note` are kept."""
    row = home.row(id)
    assert row is not None
    return len(home.model().states.load(row).kept["note"].living)


async def test_a_deleted_id_created_again_starts_from_its_new_values() -> None:
    home = Home()
    await home.save(new("d", likes=5, tags=["x", "y"], note="old", body="old"))
    await home.save(Draft("update", "d", add={"tags": ["z"]}, inc={"likes": 2}))
    await home.save(Draft("delete", "d"))
    assert home.values("d") is None
    await home.save(new("d", likes=1, tags=["y"], note="new"))
    values = home.values("d")
    assert values is not None
    assert (values["likes"], values["tags"], values["note"], values["text"]) == (1, b"\x81ay", "new", None)
    assert conflicts(home, "d") == 1
    again = home.reopened()
    assert again.values("d") == values


async def test_a_living_id_is_not_created_again() -> None:
    home = Home()
    await home.save(new("d"))
    with pytest.raises(UniqueError) as caught:
        await home.save(new("d", fresh=True))
    assert (caught.value.fields, caught.value.id) == (("id",), "d")


async def test_a_delete_and_a_restore_write_only_whether_it_lives() -> None:
    home = Home()
    await home.save(new("d"))
    await home.save(Draft("delete", "d"))
    assert last_change(home) == {"live": False}
    before = home.state()
    await home.save(Draft("delete", "d"))
    assert home.state() == before, "twice is harmless"
    await home.save(Draft("restore", "d"))
    assert last_change(home) == {"live": True}
    before = home.state()
    await home.save(Draft("restore", "d"))
    assert home.state() == before
    with pytest.raises(NotFoundError):
        await home.save(Draft("restore", "nowhere"))


@pytest.mark.parametrize("draft", [change("d", title="x"), Draft("increment", "d", inc={"likes": 1})])
async def test_a_deleted_record_is_not_found(draft: Draft) -> None:
    home = Home()
    await home.save(new("d"))
    await home.save(Draft("delete", "d"))
    with pytest.raises(NotFoundError):
        await home.save(draft)


async def test_an_increment_makes_the_record_it_does_not_find() -> None:
    home = Home()
    await home.save(Draft("increment", "d", inc={"likes": 2}))
    assert last_change(home) == {"inc": {"likes": 2}, "live": True}
    await home.save(Draft("increment", "d", inc={"likes": 3}))
    assert last_change(home) == {"inc": {"likes": 3}}


async def test_a_removal_ends_what_the_writer_saw_and_not_what_came_since() -> None:
    home = Home()
    await home.save(new("d", tags=["x"]))
    base, first = home.row("d"), digest_of_last(home)
    await home.save(Draft("update", "d", add={"tags": ["x"]}))
    await home.save(Draft("update", "d", rem={"tags": ["x", "unseen"]}, base=base))
    assert last_change(home) == {"rem": {"tags": [["x", [first]]]}}
    values = home.values("d")
    assert values is not None
    assert values["tags"] == b"\x81ax"


async def test_a_kept_value_replaces_what_the_writer_saw_and_not_what_came_since() -> None:
    home = Home()
    await home.save(new("d", note="a"))
    base, first = home.row("d"), digest_of_last(home)
    await home.save(Draft("update", "d", keep={"note": "b"}, base=base))
    assert conflicts(home, "d") == 1
    await home.save(Draft("update", "d", keep={"note": "c"}, base=base))
    assert last_change(home) == {"keep": {"note": ["c", [first]]}}
    assert conflicts(home, "d") == 2
    await home.save(Draft("update", "d", keep={"note": "d"}, base=home.row("d")))
    assert conflicts(home, "d") == 1


async def test_if_unchanged_names_what_changed() -> None:
    home = Home()
    await home.save(new("d"))
    base = home.row("d")
    await home.save(change("d", title="x", likes=1))
    with pytest.raises(ConflictError) as caught:
        await home.save(Draft("update", "d", put={"body": "b"}, base=base, if_unchanged=True))
    assert caught.value.changed_fields == ("title", "likes")
    await home.save(Draft("update", "d", put={"body": "b"}, base=home.row("d"), if_unchanged=True))


async def test_more_than_256_dots_of_a_value_go_into_several_ends() -> None:
    home = Home()
    await home.save(new("d"))
    world = LOGS[0]()
    for n in range(300):
        world.write(1, [["Post", 1, "d", {"add": {"tags": ["x"]}}]], ahead=n + 1, prev=world.entries[0] if n else None)
    await deliver(home.store, home.replica, world.entries)
    await home.save(Draft("update", "d", rem={"tags": ["x"]}, base=home.row("d")))
    assert [len(dots) for _, dots in last_change(home)["rem"]["tags"]] == [256, 44]
    values = home.values("d")
    assert values is not None
    assert values["tags"] == b"\x80"
    assert home.reopened().values("d") == values


async def test_many_records_go_into_several_entries_where_the_caller_allows_it() -> None:
    home = Home()
    large = [new(f"d{n}", body="x" * 400_000) for n in range(4)]
    before = home.state()
    with pytest.raises(TooLargeError):
        await home.save(*large)
    with pytest.raises(TooLargeError):
        await home.save(new("a"), new("huge", body="x" * MAX_BYTES), parts=True)
    assert home.state() == before
    await home.save(*large, parts=True)
    assert home.replica.tip(home.device.public).seq == 2
    assert len(home.reopened().ids()) == 4
