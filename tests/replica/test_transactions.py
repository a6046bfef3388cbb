"""Transactions at the level of the replica: what the block sees, what others see, and what is written at its end."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks.files import MemoryFiles
from debros.errors import (
    ConflictError,
    DebrosError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
    TransactionError,
    UniqueError,
)
from debros.identity.did import tag
from debros.log.body import parse_body
from debros.replica import replay
from debros.replica.draft import Draft
from debros.replica.tables import Row
from debros.replica.transaction import Transaction
from debros.testing.faults import FailingFiles
from tests.support.entries import B
from tests.support.homes import Home, change, new


class Stop(Exception):
    """What a block raises to end itself."""


async def test_a_block_sees_its_own_writes_and_nobody_else_does_until_its_end() -> None:
    home = Home()
    await home.save(new("here", title="old"))
    async with home.transaction() as transaction:
        await home.write(transaction, new("new"), change("here", title="new"))
        assert home.ids_inside(transaction) == ["here", "new"]
        assert home.values_of(transaction.row(home.model(), home.replica.n, "here"))["title"] == "new"  # type: ignore[index]
        assert home.ids() == ["here"]
        assert home.row("new") is None
        assert home.values("here")["title"] == "old"  # type: ignore[index]
        assert home.ids_inside(transaction) == ["here", "new"], "and the block sees them again"
        await home.write(transaction, Draft("delete", "here"))
        assert home.ids_inside(transaction) == ["new"]
        assert home.ids() == ["here"]
    assert home.ids() == ["new"]
    assert home.replica.tip(home.device.public).seq == 2
    assert home.reopened().ids() == ["new"]


async def test_a_row_read_outside_while_a_query_inside_shows_rows_is_not_kept() -> None:
    home = Home(row_cache=1)
    await home.save(new("here", title="old"), new("other"))

    async def block() -> None:
        async with home.transaction() as transaction:
            await home.write(transaction, change("here", title="never"))
            assert home.ids_inside(transaction) == ["here", "other"]
            rows = home.model().rows
            home.store.view.row(rows, home.replica.n, "other")  # and `here` is not in memory any more
            outside = home.store.view.row(rows, home.replica.n, "here")
            assert home.values_of(outside)["title"] == "old"  # type: ignore[index]
            assert home.ids_inside(transaction) == ["here", "other"]
            raise Stop

    with pytest.raises(Stop):
        await block()
    assert home.values("here")["title"] == "old"  # type: ignore[index]


@pytest.mark.parametrize("durable", [True, False])
async def test_a_block_that_raises_leaves_everything_as_it_was(durable: bool) -> None:
    home = Home(durable=durable)
    await home.save(new("here", likes=1, slug="s", tags=["x"]))
    before = home.state()
    undone: list[str] = []

    async def block() -> None:
        async with home.transaction() as transaction:
            transaction.on_rollback += [lambda: undone.append("first"), lambda: undone.append("second")]
            await home.write(transaction, new("a", slug="t"), Draft("delete", "here"))
            await home.write(transaction, new("b", slug="s"))
            await home.write(transaction, new("m"), name="Mine")
            home.ids_inside(transaction)
            raise Stop

    with pytest.raises(Stop):
        await block()
    assert undone == ["second", "first"]
    assert home.state() == before
    await home.save(new("a", slug="t"))
    with pytest.raises(UniqueError):
        await home.save(new("c", slug="s"))


async def test_a_block_that_writes_nothing_makes_no_entry() -> None:
    home = Home()
    await home.save(new("here"))
    before = home.state()
    async with home.transaction() as transaction:
        assert home.ids_inside(transaction) == ["here"]
        await home.write(transaction, Draft("delete", "nowhere"))
    assert home.state() == before


async def test_a_block_is_one_entry_with_one_change_for_each_document() -> None:
    home = Home()
    await home.save(new("here", likes=5, tags=["x"]))
    async with home.transaction() as transaction:
        for n in range(3):
            await home.write(transaction, change("here", likes=1, title=f"t{n}"))
        await home.write(transaction, new("a"))
        await home.write(transaction, change("a", title="later"))
    [head] = home.replica.heads
    entry = home.store.entries.find(head)
    assert entry is not None
    body = parse_body(home.store.log.read(entry.body))
    assert body.tx is None, "it is over one log"
    assert [op[2] for op in body.ops] == ["here", "a"]
    assert body.ops[0][3] == {"inc": {"likes": 3}, "put": {"title": "t2"}}
    assert entry.seq == 1


async def test_a_refused_draft_takes_none_of_its_call_in_and_the_block_goes_on() -> None:
    home = Home()
    await home.save(new("here", slug="s"))
    async with home.transaction() as transaction:
        await home.write(transaction, new("a"))
        for refused, error in [
            ([new("b"), new("c", slug="s")], UniqueError),
            ([change("a", title="x"), change("nowhere", title="x")], NotFoundError),
            ([new("d"), new("d")], UniqueError),
            ([new(f"x~{tag(B.public)}")], PermissionDeniedError),
        ]:
            with pytest.raises(error):
                await home.write(transaction, *refused)
            assert home.ids_inside(transaction) == ["a", "here"]
            assert home.values_of(transaction.row(home.model(), home.replica.n, "a"))["title"] == "t"  # type: ignore[index]
    assert home.ids() == ["a", "here"]


async def test_a_savepoint_takes_back_what_came_behind_it() -> None:
    home = Home()
    await home.save(new("here", slug="s", likes=1, tags=["x"]))
    async with home.transaction() as transaction:
        await home.write(transaction, change("here", likes=1), new("a", slug="a"))
        settled, undone = list[str](), list[str]()
        transaction.settled.append(lambda: settled.append("kept"))
        mark = transaction.mark()
        await home.write(transaction, change("here", likes=10, slug="moved"), new("b", slug="s"))
        await home.write(transaction, Draft("delete", "a"), new("m"), name="Post")
        transaction.settled.append(lambda: settled.append("never"))
        transaction.on_rollback.append(lambda: undone.append("b"))
        assert home.ids_inside(transaction) == ["b", "here", "m"]
        inner = transaction.mark()
        await home.write(transaction, new("c"))
        transaction.back_to(inner)
        assert home.ids_inside(transaction) == ["b", "here", "m"]
        transaction.back_to(mark)
        assert undone == ["b"]
        assert home.ids_inside(transaction) == ["a", "here"]
        await home.write(transaction, new("d", slug="b"))
    assert settled == ["kept"]
    assert home.ids() == ["a", "d", "here"]
    values = home.values("here")
    assert values is not None
    assert (values["likes"], values["slug"]) == (2, "s")
    assert home.reopened().state()["logs"] == home.state()["logs"]


async def test_unique_values_move_inside_a_block() -> None:
    home = Home()
    await home.save(new("a", slug="s"), new("b", slug="t"))
    async with home.transaction() as transaction:
        with pytest.raises(UniqueError) as caught:
            await home.write(transaction, change("b", slug="s"))
        assert (caught.value.fields, caught.value.id) == (("slug",), "a")
        await home.write(transaction, change("a", slug="u"))
        await home.write(transaction, change("b", slug="s"))
        with pytest.raises(UniqueError) as caught:
            await home.write(transaction, new("c", slug="s"))
        assert caught.value.id == "b"
        await home.write(transaction, Draft("delete", "b"))
        await home.write(transaction, new("c", slug="s"))
        with pytest.raises(UniqueError):
            await home.write(transaction, Draft("restore", "b"))
        await home.write(transaction, new("d", slug="t"))
    rows = {id: (home.values(id) or {}).get("slug") for id in "abcd"}
    assert rows == {"a": "u", "b": None, "c": "s", "d": "t"}
    flags = home.model().table.flags_at
    assert not any((home.row(id) or ())[flags] for id in "abcd")


async def test_a_savepoint_gives_a_unique_value_back_to_who_had_it() -> None:
    home = Home()
    async with home.transaction() as transaction:
        await home.write(transaction, new("a", slug="s"))
        mark = transaction.mark()
        await home.write(transaction, change("a", slug="t"))
        await home.write(transaction, new("b", slug="s"))
        transaction.back_to(mark)
        with pytest.raises(UniqueError) as caught:
            await home.write(transaction, new("c", slug="s"))
        assert caught.value.id == "a"
        await home.write(transaction, new("c", slug="t"))
    assert home.ids() == ["a", "c"]


async def test_if_unchanged_looks_at_the_rows_of_the_block() -> None:
    home = Home()
    await home.save(new("d", likes=1))
    base = home.row("d")
    async with home.transaction() as transaction:
        await home.write(transaction, Draft("update", "d", put={"title": "x"}, base=base, if_unchanged=True))
        with pytest.raises(ConflictError) as caught:
            await home.write(transaction, Draft("update", "d", put={"title": "y"}, base=base, if_unchanged=True))
        assert caught.value.changed_fields == ("title",)


async def test_writing_behind_the_end_of_the_block_is_an_error() -> None:
    home = Home()
    async with home.transaction() as transaction:
        await home.write(transaction, new("a"))
    with pytest.raises(TransactionError):
        await home.write(transaction, new("b"))
    with pytest.raises(Stop):
        async with home.transaction() as transaction:
            raise Stop
    with pytest.raises(TransactionError):
        await home.write(transaction, new("b"))


async def test_a_disk_that_fails_at_the_end_of_the_block_leaves_everything_as_it_was() -> None:
    disk = FailingFiles(MemoryFiles())
    home = Home(files=disk)
    await home.save(new("here", slug="s"))
    before = home.state()

    async def block() -> None:
        async with home.transaction() as transaction:
            await home.write(transaction, change("here", slug="t"), new("a", slug="s"))
            await home.write(transaction, new("m"), name="Mine")
            home.ids_inside(transaction)
            disk.arm(1, on={"pwrite"})

    with pytest.raises(StorageError):
        await block()
    assert home.state() == before
    async with home.transaction() as transaction:
        await home.write(transaction, change("here", slug="t"), new("a", slug="s"))
    assert home.ids() == ["a", "here"]


# -- the same writes, one by one and in one transaction -------------------------------------------------------------

IDS = ("a", "b")
TAGS = st.lists(st.sampled_from(["x", "y"]), max_size=2, unique=True)


@st.composite
def drafts(draw: st.DrawFn) -> tuple[Draft, bool]:
    """A draft, and whether its base is the row as it is then (else what was there in the beginning)."""
    id, kind = draw(st.sampled_from(IDS)), draw(st.sampled_from(["create", "update", "update", "update", "delete"]))
    if kind == "create":
        tags, note = draw(TAGS), draw(st.sampled_from([None, "k"]))
        made = new(id, title=draw(st.sampled_from("abc")), likes=draw(st.integers(0, 3)), tags=tags, note=note)
        return made, True
    if kind == "delete":
        return Draft(draw(st.sampled_from(["delete", "restore"])), id), True
    if draw(st.integers(0, 5)) == 0:
        return Draft("increment", id, inc={"likes": draw(st.integers(-2, 2))}), True
    put = draw(st.dictionaries(st.sampled_from(["title", "body"]), st.sampled_from(["x", "y"]), max_size=2))
    add, rem = draw(TAGS), draw(TAGS)
    rem = [value for value in rem if value not in add]
    return Draft(
        "update", id, put=put or None, inc={"likes": 1} if draw(st.booleans()) else None,
        add={"tags": add} if add else None, rem={"tags": rem} if rem else None,
        keep={"note": draw(st.sampled_from(["k", "l"]))} if draw(st.booleans()) else None,
    ), draw(st.booleans())  # fmt: skip


def outcome(write: Any) -> str:
    return "" if write is None else type(write).__name__


async def run_all(
    home: Home, made: list[tuple[Draft, bool]], transaction: Transaction | None
) -> tuple[list[str], list[Any]]:
    """Write them all; return the errors, and what the rows were after each."""
    errors, seen = list[str](), list[Any]()
    first: dict[str, Row | None] = {id: home.row(id) for id in IDS}

    def present(id: str) -> Row | None:
        return home.row(id) if transaction is None else transaction.row(home.model(), home.replica.n, id)

    for draft, is_fresh in made:
        # one entry keeps one value of a field, so two that do not know of each other cannot both stay, as they would
        is_fresh = is_fresh or draft.keep is not None
        base = present(draft.id) if is_fresh or first[draft.id] is None else first[draft.id]
        again = Draft(draft.kind, draft.id, draft.put, draft.inc, draft.add, draft.rem, draft.keep, base)
        try:
            if transaction is None:
                await home.save(again)
            else:
                await home.write(transaction, again)
            errors.append("")
        except DebrosError as error:
            errors.append(type(error).__name__)
        seen.append([shown(home, present(id)) for id in IDS])
    return errors, seen


def shown(home: Home, row: Row | None) -> Any:
    """What a row says but for its stamps."""
    if row is None:
        return None
    table = home.model().table
    document = home.model().states.load(row)
    return (
        row[: len(table.names)], row[table.hidden_at], row[table.flags_at],
        {f: total for f, total in document.sums.items() if total},
        {f: sorted(cell.living) for f, cell in document.elements.items() if cell.living},
        {f: sorted(repr(value) for _, value in kept.values()) for f, kept in document.kept.items()},
    )  # fmt: skip


@settings(max_examples=120)
@given(st.lists(drafts(), max_size=4), st.lists(drafts(), min_size=1, max_size=6))
def test_a_transaction_does_what_its_writes_do_one_by_one(
    before: list[tuple[Draft, bool]], made: list[tuple[Draft, bool]]
) -> None:
    async def main() -> None:
        single, whole = Home(), Home()
        for home in (single, whole):
            await run_all(home, before, None)
        expected = await run_all(single, made, None)
        async with whole.transaction() as transaction:
            assert await run_all(whole, made, transaction) == expected
        after = [shown(single, single.row(id)) for id in IDS]
        assert [shown(whole, whole.row(id)) for id in IDS] == after
        again = whole.reopened()
        assert [shown(again, again.row(id)) for id in IDS] == after
        assert again.state()["logs"] == whole.state()["logs"]

    trio.run(main)


# -- transactions over two logs ---------------------------------------------------------------------------------------


async def over_two_logs(home: Home) -> None:
    async with home.transaction() as transaction:
        await home.write(transaction, new("ours"))
        await home.write(transaction, new("mine"), name="Mine")


async def test_a_transaction_over_two_logs_names_itself_in_both() -> None:
    home = Home()
    await home.save(new("here"))
    async with home.transaction() as transaction:
        await home.write(transaction, new("ours"))
        await home.write(transaction, new("mine"), name="Mine")
    bodies = []
    for replica in (home.replica, home.mine):
        [head] = replica.heads
        entry = home.store.entries.find(head)
        assert entry is not None
        bodies.append(parse_body(home.store.log.read(entry.body)))
    assert [body.tx for body in bodies] == [(bytes.fromhex(transaction.id), 2)] * 2
    assert home.env.begun == 2, "both went with one sync"
    again = home.reopened()
    assert again.state()["logs"] == home.state()["logs"]


async def cut_in_two(home: Home) -> Home:
    """The home after a power cut that took the second entry of a transaction over two logs."""
    await home.save(new("here"))
    await over_two_logs(home)
    entries = [home.store.entries.by_number(e) for e in (2, 3)]
    assert isinstance(home.files, MemoryFiles)
    [segment] = home.files.files
    del home.files.files[segment][max(entry.body for entry in entries) & 0xFFFFFFFF :]
    return home


async def test_an_unfinished_transaction_of_ours_at_the_end_of_the_log_is_cut() -> None:
    home = await cut_in_two(Home())
    again = home.reopened()
    assert again.ids() == ["here"]
    assert again.ids("Mine") == []
    assert not again.opened.fresh_key_needed
    assert again.replica.tip(home.device.public).seq == 1
    await over_two_logs(again)
    once_more = home.reopened()
    assert (once_more.ids(), once_more.ids("Mine")) == (["here", "ours"], ["mine"])


async def test_a_foreign_unfinished_transaction_at_the_end_of_the_log_stays() -> None:
    home = await cut_in_two(Home())
    again = home.reopened(own=False)
    assert again.ids() == ["here", "ours"]


async def test_an_unfinished_transaction_of_ours_in_the_middle_of_the_log_stays() -> None:
    home = await cut_in_two(Home())
    behind = home.reopened(own=False)  # whoever wrote behind it had seen it
    await behind.save(new("later"), device=home.other)
    assert home.reopened().ids() == ["here", "later", "ours"]


async def test_a_whole_transaction_is_not_cut_when_a_replay_is_interrupted_in_it(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_MOST_BYTES", 0)  # a flush wherever one may be
    home = Home()
    await over_two_logs(home)
    end = home.store.log.end
    view = str(tmp_path / "view.sqlite")

    def die(done: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        home.reopened(view=view, flush_rows=1, progress=die)
    again = home.reopened(view=view)
    assert (again.ids(), again.ids("Mine")) == (["ours"], ["mine"])
    assert again.store.log.end == end
    again.store.close()
