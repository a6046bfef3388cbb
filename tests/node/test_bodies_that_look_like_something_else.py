"""An encrypted body may be any bytes, and a plain one may have any further keys: neither is taken for what it resembles."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from debros import Field, Identity, Model, field, model
from debros.blocks import cid
from debros.errors import SignatureError
from debros.identity.keys import Device
from debros.log.entry import sign_header
from debros.log.manifest import Manifest, manifest_of_user
from debros.node import Debros
from debros.opening import open as open_node
from debros.replica.receive import Delivery, receive
from debros.replica.replica import Replica
from debros.replica.verify import Finding, verify_home
from tests.support import entries


@model(scope="global")
class Note(Model):
    """What everybody writes."""

    n: Field[int] = field(default=0)


def root_of(identity: Identity) -> Device:
    assert identity.root is not None
    return identity.root


MALLORY = root_of(Identity.from_seed(b"\7" * 32))
EPOCH = bytes(16)


def opened(home: Path) -> AbstractAsyncContextManager[Debros]:
    return open_node(home, models=[Note], open=True)


def encrypted(signer: Device, manifest: Manifest, body: bytes, replica: Replica | None = None) -> Delivery:
    """The next entry of a key, with this for an encrypted body."""
    tip = None if replica is None else replica.tip(signer.public)
    prev = None if tip is None else tip.prev
    header, _ = sign_header(
        signer, body_digest=cid.digest_of(body), length=len(body), log=manifest.log_id, next=(), prev=prev,
        seq=0 if tip is None else tip.seq, clock=1 << 16 if replica is None else replica.clock + 1, epoch=EPOCH,
    )  # fmt: skip
    return Delivery(header, body)


def forged(node: Debros) -> tuple[Manifest, bytes]:
    """A log of Mallory's, and a header in the victim's name that takes the log's manifest for its encrypted body."""
    own, victim = manifest_of_user(node.shared.manifest.app, MALLORY.user), node.device().public
    tip = node.shared.tip(victim)
    header, _ = sign_header(
        MALLORY, body_digest=own.log_id, length=len(own.block), log=node.shared.log_id, next=(), prev=tip.prev,
        seq=tip.seq, clock=2**63 - 1, epoch=EPOCH,
    )  # fmt: skip
    return own, header.replace(b"aaX " + MALLORY.public, b"aaX " + victim)


def drop_view(home: Path) -> None:
    for path in home.glob("view.sqlite*"):
        path.unlink()


async def test_a_body_that_is_a_forged_header_is_no_entry_when_the_view_is_made_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as node:
        await Note.create(n=1)
        manifest, header = forged(node)
        with pytest.raises(SignatureError):  # nor does the gate let it in by itself
            await receive(node.store, node.shared, [Delivery(header, manifest.block)])
        delivery = encrypted(MALLORY, manifest, header)
        assert await receive(node.store, node.store.replica(manifest), [delivery]) == 1
        await Note.create(n=2)
        heads = set(node.shared.heads)
    drop_view(tmp_path)
    async with opened(tmp_path) as node:
        assert node.store.entries.find(cid.digest_of(header)) is None
        assert node.store.entries.find(cid.digest_of(delivery.header)) is not None, "the entry that has the body stays"
        assert node.shared.heads == heads
        await Note.create(n=3)
        assert await Note.count() == 3


async def test_a_forged_header_whose_entry_was_torn_off_is_no_entry_either(tmp_path: Path) -> None:
    async with opened(tmp_path) as node:
        await Note.create(n=1)
        manifest, header = forged(node)
        await receive(node.store, node.store.replica(manifest), [encrypted(MALLORY, manifest, header)])
    drop_view(tmp_path)
    [segment] = (tmp_path / "log").glob("*.car")
    segment.write_bytes(segment.read_bytes()[:-10])
    async with opened(tmp_path) as node:
        assert node.store.entries.find(cid.digest_of(header)) is None
        assert (await Note.create(n=2)).n == 2


async def test_a_body_that_is_a_header_is_no_finding(tmp_path: Path) -> None:
    async with opened(tmp_path) as node:
        await Note.create(n=1)
        manifest, header = forged(node)
        await receive(node.store, node.store.replica(manifest), [encrypted(MALLORY, manifest, header)])
    assert not [found for found in verify_home(tmp_path) if isinstance(found, Finding)]


async def test_encrypted_entries_and_what_builds_on_them_go_through_a_car_file(tmp_path: Path) -> None:
    async with opened(tmp_path / "here") as node:
        await Note.create(n=1)
        for body in (b"ciphertext", forged(node)[1]):
            await receive(node.store, node.shared, [encrypted(MALLORY, node.shared.manifest, body, node.shared)])
        await Note.create(n=2)
        written = await node.export_car(tmp_path / "all.car")
        heads = set(node.shared.heads)
    async with opened(tmp_path / "there") as node:
        taken = await node.import_car(tmp_path / "all.car")
        assert (taken.entries, taken.held, taken.refused, taken.blocks) == (written.entries, 0, 0, 0)
        assert (node.shared.heads, await Note.count()) == (heads, 2)


async def test_a_plain_body_with_the_keys_of_a_header_goes_through_a_car_file(tmp_path: Path) -> None:
    async with opened(tmp_path / "here") as node:
        stranger = entries.key(9)
        link = entries.link(bytes(32))
        body = entries.body(
            [["Note", 1, "a", {"put": {"n": 7}, "live": True}]],
            sig=bytes(64),
            m=link,
            b=link,
            app="x",
            scope="y",
            admins=[],
        )
        await receive(node.store, node.shared, [Delivery(entries.first(stranger, node.shared.manifest, body), body)])
        await Note.create(n=2)
        await node.export_car(tmp_path / "all.car")
    async with opened(tmp_path / "there") as node:
        taken = await node.import_car(tmp_path / "all.car")
        assert (taken.entries, taken.held, taken.refused) == (2, 0, 0)
        assert sorted(note.n for note in await Note.all()) == [2, 7]


async def test_a_body_that_is_a_manifest_makes_no_log_known(tmp_path: Path) -> None:
    async with opened(tmp_path) as node:
        other = Manifest(node.shared.manifest.app, "global", False, (MALLORY.public,))
        await receive(node.store, node.shared, [encrypted(MALLORY, node.shared.manifest, other.block)])
        await Note.create(n=1)
    drop_view(tmp_path)
    async with opened(tmp_path) as node:
        assert node.store.by_number.find(other.log_id) is None
        assert not node.met.following.keeps(node.store.replica(other)), "nor is it kept by being known"
        assert node.met.following.keeps(node.shared)
        assert await Note.count() == 1
