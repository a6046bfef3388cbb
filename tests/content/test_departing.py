"""Whole logs of other users leave a node that is full, once others hold them, and come back when they are asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest

from debros import Field, Identity, Model, NotFoundError, StorageError, model
from debros.blocks import cid
from debros.blocks.car import Section
from debros.blocks.files import DiskFiles, MemoryFiles
from debros.log.manifest import manifest_of_user
from debros.net.memory import MemoryNetwork
from debros.node import Debros
from debros.pinning.leaving import FILE, Leaving, without
from debros.replica.verify import Finding, verify_home
from debros.testing.faults import FailingFiles, RecordingFiles
from tests.support.peers import in_virtual_time, peer


@model(scope="user", name="Diary")
class Diary(Model):
    line: Field[str]


@model(scope="global", name="Note")
class Note(Model):
    text: Field[str]


MODELS = [Diary, Note]
LINES = 5


def identities(*names: str) -> list[Identity]:
    return [Identity.generate(Random(name).randbytes) for name in names]


async def write(db: Debros, users: list[Identity]) -> None:
    """Let users write in turn, the first one least recently, and a note beside them."""
    with db.current():
        for n in range(LINES):
            await Note.create(text=f"note {n}")
            for user in users:
                async with db.acting_as(user):
                    await Diary.create(line=f"{n} " + "x" * 400)


async def lines(db: Debros) -> dict[str, int]:
    """Return how many lines of each user a node shows."""
    found: dict[str, int] = {}
    with db.current():
        for record in await Diary.query().all_users().all():
            found[record.meta.owner or ""] = found.get(record.meta.owner or "", 0) + 1
        assert await Note.query().count() == LINES
    return found


def findings(home: Path) -> list[object]:
    return [found for found in verify_home(home) if isinstance(found, Finding)]


def log_size(home: Path) -> int:
    return sum(path.stat().st_size for path in (home / "log").glob("*.car"))


async def copied(network: MemoryNetwork, users: list[Identity], home: Path, left: Path, **options: Any) -> None:
    """Let one node write for users, and another one keep their logs."""
    async with peer(network, "left", models=MODELS, home=left, app="diaries") as source:
        await write(source, users)
        async with peer(network, "right", models=MODELS, home=home, peers=["left"], app="diaries", **options) as right:
            for user in users:
                await right.follow(user.did)
            await right.synced(timeout_s=600)
            assert await lines(right) == {user.did: LINES for user in users}


@in_virtual_time
async def test_a_log_goes_once_a_peer_promised_to_hold_it_and_comes_back_when_it_is_followed(tmp_path: Path) -> None:
    network, home, users = MemoryNetwork(), tmp_path / "right", identities("a", "b")
    a, b = users
    await copied(network, users, home, tmp_path / "left")
    before = log_size(home)
    async with peer(network, "left", models=MODELS, home=tmp_path / "left", app="diaries"):
        async with peer(network, "right", models=MODELS, home=home, peers=["left"], app="diaries") as right:
            await right.synced(timeout_s=600)
            assert await right.pins.give_up(a.did)
            assert await lines(right) == {a.did: LINES, b.did: LINES}  # until it is opened next
        assert log_size(home) == before
        async with peer(network, "right", models=MODELS, home=home, peers=["left"], app="diaries") as right:
            assert await lines(right) == {b.did: LINES}
            assert log_size(home) < before - LINES * 400
            assert await right.owners() == [b.did]
            await right.synced(timeout_s=600)
            assert await lines(right) == {b.did: LINES}  # not at once again
            await right.follow(a.did)
            await right.synced(timeout_s=600)
            assert await lines(right) == {a.did: LINES, b.did: LINES}
        assert findings(home) == []
        async with peer(network, "right", models=MODELS, home=home, app="diaries") as right:
            assert await lines(right) == {a.did: LINES, b.did: LINES}


@in_virtual_time
async def test_nothing_goes_that_nobody_promises_to_hold(tmp_path: Path) -> None:
    network, home, users = MemoryNetwork(), tmp_path / "right", identities("a")
    await copied(network, users, home, tmp_path / "left")
    async with peer(network, "right", models=MODELS, home=home, app="diaries") as right:
        assert not await right.pins.give_up(users[0].did)
        assert not (home / FILE).exists()
    async with (
        peer(network, "left", models=MODELS, app="diaries"),  # a new node, which has nothing
        peer(network, "right", models=MODELS, home=home, peers=["left"], app="diaries") as right,
    ):
        await right.unfollow(users[0].did)
        await right.synced(timeout_s=600)
        assert not await right.pins.give_up(users[0].did)
    async with peer(network, "right", models=MODELS, home=home, app="diaries") as right:
        assert await lines(right) == {users[0].did: LINES}


@in_virtual_time
async def test_a_log_that_this_home_wrote_to_never_goes(tmp_path: Path) -> None:
    network, [a] = MemoryNetwork(), identities("a")
    await copied(network, [a], tmp_path / "right", tmp_path / "left")
    async with (
        peer(network, "right", models=MODELS, home=tmp_path / "right", app="diaries"),
        peer(network, "left", models=MODELS, home=tmp_path / "left", peers=["right"], app="diaries") as left,
    ):
        await left.synced(timeout_s=600)
        for did in (a.did, left.identity.did, "did:key:z6MkneverHeardOf"):
            with pytest.raises(NotFoundError):
                await left.pins.give_up(did)
    async with peer(network, "left", models=MODELS, app="diaries") as left:
        with pytest.raises(NotFoundError):
            await left.pins.give_up(a.did)


@in_virtual_time
async def test_over_the_ceiling_the_logs_written_longest_ago_go_and_no_more_than_needed(tmp_path: Path) -> None:
    network, home, users = MemoryNetwork(), tmp_path / "right", identities("a", "b", "c")
    await copied(network, users, home, tmp_path / "left")
    size = log_size(home)
    limited = {"log_bytes": size - LINES * 400, "sweep_s": 3600.0}
    async with peer(network, "left", models=MODELS, home=tmp_path / "left", app="diaries"):
        async with peer(
            network, "right", models=MODELS, home=home, peers=["left"], app="diaries", settings=limited
        ) as right:
            await right.synced(timeout_s=600)
            await right.pins.sweep_logs()
            assert await right.pins.sweep_logs() == 0
        async with peer(network, "right", models=MODELS, home=home, app="diaries", settings=limited) as right:
            assert await lines(right) == {user.did: LINES for user in users[1:]}
    assert log_size(home) <= limited["log_bytes"]
    assert findings(home) == []


@in_virtual_time
async def test_two_nodes_never_give_up_the_same_log_relying_on_each_other(tmp_path: Path) -> None:
    network, [a] = MemoryNetwork(), identities("a")
    await copied(network, [a], tmp_path / "right", tmp_path / "left")
    shutil.copytree(
        tmp_path / "right", tmp_path / "other", ignore=shutil.ignore_patterns("device", "identity", "lock", "view*")
    )
    async with (
        peer(network, "right", models=MODELS, home=tmp_path / "right", app="diaries") as right,
        peer(network, "other", models=MODELS, home=tmp_path / "other", peers=["right"], app="diaries") as other,
    ):
        await other.synced(timeout_s=600)
        import trio

        gone: list[bool] = []
        async with trio.open_nursery() as both:
            for db in (right, other):
                both.start_soon(lambda db=db: _note(gone, db, a))
        assert sorted(gone) == [False, True]
        for db in (right, other):
            if not Leaving(Path(db.home)).logs:  # the other one relies on it now
                assert not await db.pins.give_up(a.did)


async def _note(gone: list[bool], db: Debros, user: Identity) -> None:
    gone.append(await db.pins.give_up(user.did))


@in_virtual_time
async def test_what_was_written_since_or_is_followed_again_or_promised_no_more_stays(tmp_path: Path) -> None:
    network, home, users = MemoryNetwork(), tmp_path / "right", identities("a", "b", "c")
    await copied(network, users, home, tmp_path / "left")
    async with (
        peer(network, "left", models=MODELS, home=tmp_path / "left", app="diaries"),
        peer(network, "right", models=MODELS, home=home, peers=["left"], app="diaries") as right,
    ):
        await right.synced(timeout_s=600)
        for user in users:
            assert await right.pins.give_up(user.did)
        await right.follow(users[0].did)
        async with right.acting_as(users[1]), right.acting_as(users[1]):
            with right.current():
                await Diary.create(line="mine now")
    record = Leaving(home)
    [late] = [id for id, one in record.logs.items() if one.owner == users[2].did]
    text = (home / FILE).read_text()
    (home / FILE).write_text(text.replace(str(record.logs[late].until), "1"))
    async with peer(network, "right", models=MODELS, home=home, app="diaries") as right:
        assert await lines(right) == {users[0].did: LINES, users[1].did: LINES + 1, users[2].did: LINES}
    assert Leaving(home).logs == {}


# -- crashes -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def going(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Identity]]:
    """A home of several segments that is past the point of no return with one log, and the users: that of the first goes."""
    folder, users = tmp_path_factory.mktemp("going"), identities("a", "b")

    @in_virtual_time
    async def make() -> None:
        network, home = MemoryNetwork(), folder / "right"
        small = {"max_segment_bytes": 4096}
        await copied(network, users, home, folder / "left", settings=small)
        async with (
            peer(network, "left", models=MODELS, home=folder / "left", app="diaries"),
            peer(network, "right", models=MODELS, home=home, peers=["left"], app="diaries", settings=small) as right,
        ):
            await right.synced(timeout_s=600)
            assert await right.pins.give_up(users[0].did)
        record = Leaving(home)
        record._save(dict(record.logs), going=True)

    make()
    return folder / "right", users


def shown_by(home: Path) -> dict[str, int]:
    found: list[dict[str, int]] = []

    @in_virtual_time
    async def look() -> None:
        async with peer(MemoryNetwork(), "right", models=MODELS, home=home, app="diaries") as right:
            found.append(await lines(right))
            status = right.status()
            assert (status.findings, status.rejected) == ((), 0)

    look()
    return found[0]


def test_a_disk_that_fails_at_any_call_keeps_what_stays_and_the_next_opening_ends_it(
    going: tuple[Path, list[Identity]], tmp_path: Path
) -> None:
    home, users = going
    counting = FailingFiles(DiskFiles())
    shutil.copytree(home, tmp_path / "counted")
    assert len(list((home / "log").glob("*.car"))) > 2
    assert (
        Leaving(tmp_path / "counted").carry_out(
            counting, str(tmp_path / "counted/log"), str(tmp_path / "counted/view.sqlite")
        )
        > LINES * 400
    )
    assert counting.calls > 20
    for nth in range(1, counting.calls + 1, 3):
        copy = tmp_path / f"home{nth}"
        shutil.copytree(home, copy)
        with pytest.raises(StorageError):
            Leaving(copy).carry_out(
                FailingFiles(DiskFiles(), nth, forever=True), str(copy / "log"), str(copy / "view.sqlite")
            )
        assert Leaving(copy).is_going
        assert shown_by(copy) == {users[1].did: LINES}
        assert not Leaving(copy).is_going
        assert findings(copy) == []


def test_a_power_cut_behind_any_call_leaves_segments_from_which_it_goes_on_to_the_same_end(
    going: tuple[Path, list[Identity]], tmp_path: Path
) -> None:
    home, _ = going
    before, record = MemoryFiles(), (home / FILE).read_bytes()
    before.makedirs("/log")
    for path in (home / "log").glob("*.car"):
        before.files[f"/log/{path.name}"] = bytearray(path.read_bytes())
    disk = RecordingFiles(before)

    def end(files: Any) -> None:
        (tmp_path / FILE).write_bytes(record)
        Leaving(tmp_path).carry_out(files, "/log", str(tmp_path / "none"))

    end(disk)
    [*_, (_, last)] = disk.power_cuts(Random(1), per_boundary=1)
    wanted = {name: bytes(content) for name, content in last.files.items() if name.endswith(".car")}
    states = 0
    for _, found in disk.power_cuts(Random(2), per_boundary=4):
        states += 1
        end(found)
        assert {name: bytes(content) for name, content in found.files.items() if name.endswith(".car")} == wanted
    assert states > 30


def test_a_record_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"format": 2}', '{"format": 1, "going": true}'):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(StorageError):
            Leaving(tmp_path)


def test_an_encrypted_body_that_is_the_manifest_of_a_log_that_goes_stays() -> None:
    gone = manifest_of_user("app", bytes(32))

    def section(codec: int, block: bytes) -> Section:
        return Section(0, codec, cid.digest_of(block), block, False)

    kept = [section(cid.RAW, gone.block), section(cid.DAG_CBOR, b"\xa0")]
    assert list(without(iter([section(cid.DAG_CBOR, gone.block), *kept]), {gone.log_id})) == kept
