"""Bad luck and bad peers: what a home must survive without losing, or showing, anything wrong."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import trio

import debros
from debros import Field, Identity, Model, field, model
from debros.blocks import cid
from debros.blocks.files import DiskFiles, DiskHandle
from debros.cli.verify import verify_home
from debros.env import SYSTEM
from debros.log.body import encode_body
from debros.log.changes import encode_change
from debros.log.entry import sign_header
from debros.opening import open_node
from debros.replica.receive import Delivery, receive
from debros.replica.verify import Finding


@model(scope="global")
class Leaf(Model):
    text: Field[str]
    turns: Field[int] = field(default=0, merge="counter")


@pytest.mark.parametrize("version", [2**63 - 1, 2**63, 2**64 - 1])
async def test_a_foreign_schema_version_beyond_what_sqlite_holds_does_no_harm(version: int, tmp_path: Path) -> None:
    stranger = Identity.generate().root
    assert stranger is not None
    async with debros.open(tmp_path, models=[Leaf]) as db:
        await Leaf.create(text="ours")
        log = db.store.replica(db._map.shared)
        change = {"put": {"text": "theirs"}, "live": True}
        body = encode_body([encode_change("Leaf", version, "x", change)], salt=b"s" * 16)
        header, _ = sign_header(
            stranger, body_digest=cid.digest_of(body), length=len(body), log=log.log_id, next=log.heads, prev=None,
            seq=0, clock=log.clock + 1,
        )  # fmt: skip
        assert await receive(db.store, log, [Delivery(header, body)]) == 1
        assert sorted(leaf.text for leaf in await Leaf.all()) == ["ours", "theirs"]
    (tmp_path / "view.sqlite").unlink()
    async with debros.open(tmp_path, models=[Leaf]):
        await (await Leaf.get("x")).update(text="edited")
        assert sorted(leaf.text for leaf in await Leaf.all()) == ["edited", "ours"]


class SlowDisk(DiskFiles):
    """Syncs when it is told to."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.slow = False

    def open(self, path: str, *, create: bool = False, write: bool = True) -> DiskHandle:
        handle = super().open(path, create=create, write=write)
        sync = handle.sync

        def slow_sync() -> None:
            if self.slow:
                self.begun.set()
                assert self.go_on.wait(10)
            sync()

        handle.sync = slow_sync  # type: ignore[method-assign]  # one handle, for one test
        return handle


async def test_closing_waits_for_an_append_that_a_thread_is_at(tmp_path: Path) -> None:
    files, saved = SlowDisk(), []

    async def save() -> None:
        saved.append((await Leaf.create(text="late")).text)

    async with trio.open_nursery() as nursery, open_node(SYSTEM, files, tmp_path, models=[Leaf]):
        files.slow = True
        nursery.start_soon(save)
        await trio.to_thread.run_sync(files.begun.wait)
        nursery.start_soon(trio.to_thread.run_sync, files.go_on.set)
    assert saved == ["late"]
    async with debros.open(tmp_path, models=[Leaf]):
        assert await Leaf.count() == 1


async def test_an_increment_makes_no_record_that_could_not_show() -> None:
    async with debros.open(":memory:", models=[Leaf]) as db:
        with pytest.raises(debros.NotFoundError):
            await Leaf.increment("ghost", turns=2)
        assert db.status().entries == 0
        await Leaf.create(id="ghost", text="real")


async def test_a_lost_key_file_is_not_replaced_in_silence(tmp_path: Path) -> None:
    async with debros.open(tmp_path, models=[Leaf]):
        await Leaf.create(text="mine")
    (tmp_path / "identity").unlink()
    with pytest.raises(debros.IdentityError, match="is gone"):
        async with debros.open(tmp_path, models=[Leaf]):
            raise AssertionError("it opened")
    async with debros.open(tmp_path, models=[Leaf], identity=Identity.generate()):
        assert await Leaf.count() == 1


async def test_the_codec_byte_that_no_digest_covers_is_named_and_costs_nothing(tmp_path: Path) -> None:
    async with debros.open(tmp_path, models=[Leaf]):
        await Leaf.create(text="one")
        await Leaf.create(text="two")
    path = tmp_path / "log" / "000001.car"
    raw = path.read_bytes()
    places = [at for at in range(129, len(raw) - 3) if raw[at : at + 4] == b"\x01\x71\x12\x20" and raw[at - 1] != 0]
    assert len(places) == 5  # the manifest, two bodies, two headers
    for at in places:
        path.write_bytes(raw[: at + 1] + b"\x70" + raw[at + 2 :])
        (tmp_path / "view.sqlite").unlink()
        async with debros.open(tmp_path, models=[Leaf]):
            assert sorted(leaf.text for leaf in await Leaf.all()) == ["one", "two"]
        found = [told for told in verify_home(tmp_path) if isinstance(told, Finding)]
        assert [told.what for told in found] == ["codec"]
    path.write_bytes(raw)


async def test_a_refused_open_does_not_forget_that_the_device_key_must_change(tmp_path: Path) -> None:
    async with debros.open(tmp_path, models=[Leaf]):
        await Leaf.create(text="kept")
        await Leaf.create(text="lost with the end of the log")
    salt = (tmp_path / "device").read_bytes()[:16]
    path = tmp_path / "log" / "000001.car"
    path.write_bytes(path.read_bytes()[:-150])  # part of the last header
    with pytest.raises(debros.ConfigError, match="belongs to the app"):
        async with debros.open(tmp_path, models=[Leaf], app="other"):
            raise AssertionError("it opened")
    assert (tmp_path / "device").read_bytes()[:16] != salt
    async with debros.open(tmp_path, models=[Leaf]):
        assert [leaf.text for leaf in await Leaf.all()] == ["kept"]
        await Leaf.create(text="with a new key")
