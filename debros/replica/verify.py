"""Checking a whole home offline: every CID, every signature, every clock and every link.

Entries are put through the gate again, in the order in which they lie in the log, against a state made only of what was
found there. Nothing of the view is needed or trusted; but a log that ends too early is whole in itself, so where there is
a view, it is asked which entry it read last, and that entry has to be there. This is a read-only operation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Final, NamedTuple
from urllib.parse import quote

import apsw

from debros.blocks import cid
from debros.blocks.car import Damage, Section, walk
from debros.blocks.files import DiskFiles, Files
from debros.blocks.recovery import missing
from debros.blocks.segments import list_segments, segment_path
from debros.errors import EntryHeldError, EntryRefusedError, NewerFormatError, OrphanError
from debros.log.entry import Header, parse_header
from debros.log.gate import Known, check_body, check_place, check_signature, read
from debros.log.manifest import Manifest, parse
from debros.replica.replay import HEADER_START, MANIFEST_START

_STEP: Final = 4 << 20  # bytes between two reports of progress


class Progress(NamedTuple):
    """How far the check is."""

    done_bytes: int
    total_bytes: int
    entries: int


class Finding(NamedTuple):
    """Something that is not as it should be. `position` is segment << 32 | offset; `what` one word, for programs."""

    position: int
    what: str
    detail: str


class _Pair(NamedTuple):
    """A header, and what stands before it."""

    header: Header
    body: Section
    section: Section  # of the header


class _Log:
    """One log, as far as it was found: what the gate asks."""

    def __init__(self, manifest: Manifest) -> None:
        self.log_id = manifest.log_id
        self.manifest = manifest
        self.known: dict[bytes, Known] = {}

    def entry(self, digest: bytes) -> Known | None:
        return self.known.get(digest)


class _Check:
    """Pairs bodies with headers and judges them."""

    def __init__(self) -> None:
        self._logs: dict[bytes, _Log] = {}
        self._before: Section | None = None
        self._doubt: _Pair | None = None  # a header that may be an encrypted body: the section behind it tells
        self.entries = 0

    def take(self, section: Section) -> Iterator[Finding]:
        """Check one section; a body is checked with the header that follows it."""
        before, self._before = self._before, section
        pair = None if before is None or section.block[1:5] != HEADER_START else _pair(before, section)
        if pair is None or self._doubt is None or pair.header.body != self._doubt.section.digest:
            yield from self.end()
        self._doubt = None
        if section.block[1:8] == MANIFEST_START:
            try:
                manifest = parse(section.block)
            except (ValueError, NewerFormatError):
                return  # a body may begin like a manifest
            yield from _codec(section, cid.DAG_CBOR)
            self._logs.setdefault(manifest.log_id, _Log(manifest))
        elif pair is not None and section.codec == cid.DAG_CBOR:
            yield from self._judge(pair)
        else:
            self._doubt = pair

    def end(self) -> Iterator[Finding]:
        """Check what waited for the next section, and there is none that names it."""
        if self._doubt is not None:
            yield from self._judge(self._doubt)

    def _judge(self, pair: _Pair) -> Iterator[Finding]:
        header, body, section = pair
        self.entries += 1
        yield from _codec(section, cid.DAG_CBOR)
        if body.digest == header.body:
            yield from _codec(body, header.body_codec)
        yield from self._entry(header, body, section.position)

    def _entry(self, header: Header, body: Section, position: int) -> Iterator[Finding]:
        log = self._logs.get(header.log)
        if log is None:
            yield Finding(position, "manifest", f"the manifest of the log {cid.to_text(header.log)} is missing")
            return
        user = header.author
        try:
            read(header.raw, log)
            check_signature(header)
            check_body(header, body.block if body.digest == header.body else None)
            user = check_place(header, log)
        except OrphanError as error:
            missing_parents = ", ".join(cid.to_text(digest) for digest in error.missing)
            yield Finding(
                position, "link", f"entry {cid.to_text(header.digest)} builds on {missing_parents}, not found"
            )
            known = next((log.known[p] for p in header.parents() if p in log.known and p == header.prev), None)
            user = known.user if known else header.author
        except (EntryRefusedError, EntryHeldError) as error:
            yield Finding(position, type(error).code, f"entry {cid.to_text(header.digest)}: {error}")
            return
        log.known[header.digest] = Known(header.author, header.seq, header.clock, user)


def _pair(body: Section, section: Section) -> _Pair | None:
    try:
        return _Pair(parse_header(section.block), body, section)
    except (EntryRefusedError, EntryHeldError):
        return None  # a body may begin like a header; then the header behind it finds its body


def _codec(section: Section, meant: int) -> Iterator[Finding]:
    """Tell when the codec beside a block is not the one it is linked by: no digest covers that byte."""
    if section.codec != meant:
        what = f"the codec of the section is 0x{section.codec:02x}, not 0x{meant:02x}; the block itself is whole"
        yield Finding(section.position, "codec", what)


class Witness(NamedTuple):
    """The entry that the view read last."""

    position: int
    digest: bytes


def verify_home(home: str | os.PathLike[str]) -> Iterator[Progress | Finding]:
    """Check a home on disk, whether or not a node has it open; the last item is a `Progress` with all bytes done.

    Raises:
        OSError: the files cannot be read.
    """
    witness = witness_of(os.path.join(home, "view.sqlite"))  # before the log is looked at, for it may grow
    yield from verify_log(DiskFiles(), os.path.join(home, "log"), witness)


def witness_of(view: str) -> Witness | None:
    """Return what a view in a file read last; `None` where there is no view, or one that cannot be read."""
    if not os.path.exists(view):
        return None
    # with a write-ahead log the view is open, or its process died; without one nothing needs to be written beside it
    how = "mode=ro" if os.path.exists(view + "-wal") else "immutable=1"
    try:
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        with closing(apsw.Connection(f"file:{quote(view)}?{how}", flags)) as db:
            rows = db.execute("SELECT key, value FROM meta WHERE key IN ('last', 'last_digest')")
            told = {row[0]: row[1] for row in rows}
    except apsw.Error:
        return None  # the view is made anew when the home is opened: its damage is none of the log
    position, digest = told.get("last"), told.get("last_digest")
    return Witness(position, digest) if isinstance(position, int) and isinstance(digest, bytes) else None


def verify_log(files: Files, directory: str, witness: Witness | None = None) -> Iterator[Progress | Finding]:
    """Check the log in a directory, like `verify_home`."""
    numbers = list_segments(files, directory)
    for gap in missing(numbers):
        yield Finding(gap.position, "missing", gap.what)
    sizes = {}
    for number in numbers:
        with closing(files.open(segment_path(directory, number), write=False)) as handle:
            sizes[number] = handle.size()
    total, done, told = sum(sizes.values()), 0, 0
    check = _Check()
    lost = witness
    for number in numbers:
        with closing(files.open(segment_path(directory, number), write=False)) as handle:
            for found in walk(handle.pread, sizes[number], number):
                if isinstance(found, Damage):
                    yield Finding(found.position, "damage", f"{found.size} bytes are no section: {found.what}")
                    continue
                yield from check.take(found)
                if lost is not None and (found.position, found.digest) == lost:
                    lost = None
                if done + (found.position & 0xFFFFFFFF) - told > _STEP:
                    told = done + (found.position & 0xFFFFFFFF)
                    yield Progress(told, total, check.entries)
        done += sizes[number]
    yield from check.end()
    if lost is not None:
        yield Finding(
            lost.position,
            "lost",
            f"the view has read the entry {cid.to_text(lost.digest)} here, which is not in the log",
        )
    yield Progress(total, total, check.entries)
