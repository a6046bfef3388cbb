"""Logs, records and files of a node as CAR files, and back: what is carried by hand where no network reaches.

An export holds manifests, entries (body, then header, parents first) and the content that they refer to. An import
believes none of it: entries go through the gate like those of a peer, blocks are hashed, and what belongs to another
application is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from debros.blocks import cid, dagcbor
from debros.blocks.archive import Path, Progress, Reader, Writer
from debros.blocks.cid import Link
from debros.blocks.tail import Block
from debros.blocks.unixfs import reading
from debros.errors import (
    ArgumentError,
    ContentError,
    ContentMissingError,
    EntryHeldError,
    EntryRefusedError,
    NotFoundError,
)
from debros.identity.did import did_of
from debros.log.manifest import Manifest
from debros.log.manifest import parse as parse_manifest
from debros.pinning.contents import Contents
from debros.pinning.pins import Pins
from debros.replica.entries import EntryRow
from debros.replica.pacing import Pacing
from debros.replica.receive import Delivery, receive
from debros.replica.store import Store
from debros.values.file import File, content_in

_BATCH: Final = 256  # entries that are admitted together
_WAITING: Final = 10_000  # entries or bodies that may wait for others
_BYTES: Final = 4 << 20
_BYTES_AT_ONCE: Final = 1 << 20  # that are read between two turns of other tasks


@dataclass(frozen=True, slots=True)
class Exported:
    """What went into a CAR file."""

    entries: int
    blocks: int  # of content
    missing: tuple[str, ...]  # content that is not on this node, at most 100


@dataclass(frozen=True, slots=True)
class Imported:
    """What came out of a CAR file."""

    entries: int  # new ones
    known: int
    refused: int
    held: int  # whose parents are neither here nor in the file, that are of the future, or of shards not known here
    blocks: int  # of content
    roots: tuple[str, ...]
    reasons: tuple[str, ...]  # of what was refused or held, at most 20


async def chosen(store: Store, what: Any) -> tuple[list[int] | None, list[EntryRow] | None, list[Link]]:
    """Return the logs, or the entries, and the content that an export is of."""
    if what is None:
        return None, None, []
    if isinstance(what, File):
        return [], None, [what.link]
    held = {n: store.by_number[n] for n in store.by_number}
    held = {n: replica for n, replica in held.items() if replica.heads}
    if isinstance(what, str):
        found = [
            n for n, replica in held.items()
            if what == replica.manifest.address
            or (replica.manifest.scope == "user" and what == did_of(replica.manifest.admins[0]))
        ]  # fmt: skip
        if not found:
            raise NotFoundError("log", (what,))
        return found, None, []
    if (schema := getattr(what, "__schema__", None)) is None:
        raise ArgumentError(
            f"export_car takes a record, a File, a model class, a DID or the address of a log, not {what!r:.80}; "
            "nothing means all"
        )
    if isinstance(what, type):
        parts = (schema.name,)
        own = [n for n, replica in held.items() if (replica.manifest.part or ())[:1] == parts]
        return (
            own or [n for n, r in held.items() if r.manifest.scope == schema.scope and not r.manifest.part],
            None,
            [],
        )
    digests = [cid.from_text(version.cid).digest for version in await what.history()]
    entries = [row for digest in digests if (row := store.entries.find(digest)) is not None]
    if not entries:
        raise NotFoundError(schema.name, (what.id,))
    return None, entries, []


async def export(
    store: Store, pins: Pins, target: Path, *, logs: Collection[int] | None, entries: Sequence[EntryRow] | None = None,
    content: Sequence[Link] = (), version: int = 1, files: bool = True, progress: Progress | None = None,
) -> Exported:  # fmt: skip
    """Write logs, or some entries with everything before them, and content into a CAR file.

    Raises:
        ContentMissingError: content that was asked for by name is not on this node.
        StorageError: the file cannot be written; there is none then.
    """
    store.check_open()
    await store.until_writable()
    store.view.hide_provisional()
    store.flush()
    await store.env.offload(store.log.sync)
    if entries is not None:
        chosen = _with_ancestors(store, entries)
        roots = [Link(cid.DAG_CBOR, row.digest) for row in entries]
    else:
        numbers = [n for n in store.by_number if (logs is None or n in logs) and store.by_number[n].heads]
        numbers.sort(key=lambda n: store.by_number[n].manifest.part is not None)  # what announces shards goes first
        chosen = [row for n in numbers for row in _rows_of(store, n)]
        roots = [Link(cid.DAG_CBOR, head) for n in numbers for head in sorted(store.by_number[n].heads)]
    _, contents = await pins.ready()
    seen: set[Link] = set()
    missing: list[str] = []
    blocks = 0
    async with Writer(target, [*roots, *content], version=version, progress=progress) as writer:
        named: list[Link] = []
        for log in dict.fromkeys(row.log for row in chosen):
            manifest = store.by_number[log].manifest
            await writer.add(cid.DAG_CBOR, manifest.log_id, manifest.block)
        pacing = Pacing(_BYTES_AT_ONCE)
        for row in chosen:
            codec, digest, body = store.log.read_section(row.body)
            await writer.add(codec, digest, body)
            await writer.add(cid.DAG_CBOR, row.digest, store.log.read(row.header))
            if files and b"\xd8\x2a" in body:
                named += [link for change in store.changes_of(row) for link, _ in content_in(change.value)]
            await pacing.did(len(body))
        for link in content:
            blocks += await _write_tree(writer, contents, link, seen)
        for link in dict.fromkeys(named):
            try:
                blocks += await _write_tree(writer, contents, link, seen)
            except ContentMissingError:
                missing.append(str(link))
    return Exported(len(chosen), blocks, tuple(missing[:100]))


async def _write_tree(writer: Writer, contents: Contents, link: Link, seen: set[Link]) -> int:
    waiting, count = [link], 0
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        block = await contents.store.get(at)
        seen.add(at)
        await writer.add(at.codec, at.digest, block)
        count += 1
        waiting += reversed(reading.links_of(at, block))
    return count


def _rows_of(store: Store, log: int) -> list[EntryRow]:
    """Return all entries of a log, parents first."""
    found = store.view.read("SELECT e FROM entries WHERE log = ? ORDER BY e", (log,))
    return [store.entries.by_number(e) for (e,) in found]


def _with_ancestors(store: Store, entries: Sequence[EntryRow]) -> list[EntryRow]:
    from debros.log.entry import parse_header

    found: dict[bytes, EntryRow] = {}
    waiting = list(entries)
    while waiting:
        row = waiting.pop()
        if row.digest in found:
            continue
        found[row.digest] = row
        header = parse_header(store.log.read(row.header))
        waiting += [parent for digest in header.parents() if (parent := store.entries.find(digest)) is not None]
    return sorted(found.values(), key=lambda row: row.e)


async def load(
    store: Store, pins: Pins, source: Path, *, is_ours: Callable[[Manifest], bool], progress: Progress | None = None
) -> Imported:
    """Take in a CAR file; see `Debros.import_car`. `is_ours` says whether a log is one of the node's application."""
    intake = _Intake(store, is_ours)
    _, contents = await pins.ready()
    batch: list[Block] = []
    last: Block | None = None  # of content, or the encrypted body of the entry whose header is next
    size = blocks = 0
    async with Reader(source, progress=progress) as reader, contents.session() as session:
        async for block in reader:
            if block[0] == cid.DAG_CBOR and await intake.take(block, last):
                last = None
            if block[0] == cid.DAG_CBOR:
                continue
            if last is not None:
                batch.append(last)
                blocks += 1
                size += len(last[2])
            last = block
            if size >= _BYTES:
                await session.put(batch, durable=False)
                batch, size = [], 0
        if last is not None:
            batch.append(last)
            blocks += 1
        await session.put(batch, durable=True)
        await intake.finish()
        for root in reader.roots:
            if root.codec != cid.DAG_CBOR:
                await pins.adopt(root)
        await pins.learn()
        roots = tuple(map(str, reader.roots))
    return Imported(
        intake.new, intake.known, intake.refused, len(intake.orphans), blocks, roots, tuple(intake.reasons[:20])
    )


class _Intake:
    """Manifests, bodies and headers as they come, put together and sent through the gate."""

    def __init__(self, store: Store, is_ours: Callable[[Manifest], bool]) -> None:
        self._store = store
        self._is_ours = is_ours
        self._manifests: dict[bytes, Manifest] = {}
        self._bodies: dict[bytes, bytes] = {}
        self._ready: dict[bytes, list[Delivery]] = {}
        self.orphans: list[tuple[bytes, Delivery]] = []
        self.new = self.known = self.refused = 0
        self.reasons: list[str] = []

    async def take(self, block: Block, before: Block | None) -> bool:
        """Take a block in, and return whether the one before, of another codec, is the body that goes with it."""
        _, digest, raw = block
        try:
            value = dagcbor.decode(raw)
        except ValueError as error:
            raise ContentError(f"a block of the file is not strict DAG-CBOR: {error}") from error
        form: dict[str, Any] = value if type(value) is dict and "salt" not in value else {}  # every body is salted
        if "sig" in form and type(form.get("m")) is Link and type(form.get("b")) is Link:
            is_encrypted = before is not None and before[1] == form["b"].digest
            if before is not None and is_encrypted:
                self._bodies[before[1]] = before[2]
            await self._header(form["m"].digest, form["b"].digest, raw)
            return is_encrypted
        if form.keys() >= {"app", "scope", "admins"}:
            self._manifest(raw)
            return False
        self._bodies[digest] = raw
        if len(self._bodies) > _WAITING:
            raise ContentError(f"more than {_WAITING} bodies of entries without the headers that name them")
        return False

    def _manifest(self, raw: bytes) -> None:
        try:
            manifest = parse_manifest(raw)
        except ValueError as error:
            raise ContentError(f"a manifest of the file is not valid: {error}") from error
        if not self._is_ours(manifest):
            who = f"open={manifest.open} and admins={[did_of(key) for key in manifest.admins]}"
            raise ContentError(
                f"the file holds a log of the app {manifest.app!r} with {who}; this node is of another app, or others may "
                "write to its logs"
            )
        self._manifests[manifest.log_id] = manifest

    async def _header(self, log: bytes, body: bytes, raw: bytes) -> None:
        waiting = self._ready.setdefault(log, [])
        waiting.append(Delivery(raw, self._bodies.pop(body, None)))
        if len(waiting) >= _BATCH:
            del self._ready[log]
            await self._admit(log, waiting)

    async def finish(self) -> None:
        """Admit what is left, and try again what came before its parents."""
        for log, waiting in list(self._ready.items()):
            await self._admit(log, waiting)
        before = -1
        while self.orphans and len(self.orphans) != before:
            orphans, self.orphans = self.orphans, []
            before, refused = len(orphans), self.refused
            self.reasons = [reason for reason in self.reasons if not reason.startswith("held")]
            for log, delivery in orphans:
                await self._one(log, delivery)
            self.new += before - len(self.orphans) - (self.refused - refused)

    async def _admit(self, log: bytes, deliveries: list[Delivery]) -> None:
        manifest = self._manifest_of(log)
        if not self._store.layouts.knows(manifest):  # what announces it may come later in the file
            for delivery in deliveries:
                await self._one(log, delivery)
            return
        replica = self._store.replica(manifest)
        digests = {sha256(delivery.header).digest() for delivery in deliveries}
        known = len(self._store.entries.find_all(digests))
        try:
            await receive(self._store, replica, deliveries)
        except (EntryRefusedError, EntryHeldError):
            for delivery in deliveries:  # those before the one that was not let in are admitted
                await self._one(log, delivery)
        self.known += known
        self.new += len(self._store.entries.find_all(digests)) - known

    async def _one(self, log: bytes, delivery: Delivery) -> None:
        manifest = self._manifest_of(log)
        if not self._store.layouts.knows(manifest):
            model, shard = manifest.part or ("", "")
            self._hold(
                log, delivery, f"held: {shard!r} of {model} is no shard here; export the log that announces it too"
            )
            return
        try:
            await receive(self._store, self._store.replica(manifest), [delivery])
        except EntryRefusedError as error:
            self.refused += 1
            self.reasons.append(f"refused, {error.code}: {error}")
        except EntryHeldError as error:
            self._hold(log, delivery, f"held, {error.code}: {error}")

    def _hold(self, log: bytes, delivery: Delivery, reason: str) -> None:
        self.orphans.append((log, delivery))
        self.reasons.append(reason)
        if len(self.orphans) > _WAITING:
            raise ContentError(f"more than {_WAITING} entries that cannot be judged, of which the last one is {reason}")

    def _manifest_of(self, log: bytes) -> Manifest:
        if (found := self._manifests.get(log)) is not None:
            return found
        held = self._store.by_number.find(log)
        if held is None:
            raise ContentError("the file holds entries of a log whose manifest it does not hold")
        return held.manifest
