"""Whole logs of other users that go: the home's record of them, and how they leave the log file.

A log goes in two steps. While the node is open it is *given up*: others have promised to hold it, its owner is followed no
more, and `leaving.json` says so. When the home is opened next, and the promises still stand, the segments are written anew
without its entries, and the view is made anew from what is left: the log is the database, so nothing else has to know.

From the moment that the record says `going`, a home that is opened ends it first; each segment is the old one or the new
one, so it may be repeated from anywhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from debros.blocks import cid
from debros.blocks.car import Section
from debros.blocks.files import Files
from debros.blocks.rewriting import is_sound, rewrite
from debros.blocks.segments import list_segments
from debros.errors import DebrosError, StorageError
from debros.home import replace_file
from debros.log.entry import parse_header
from debros.replica.replay import HEADER_START, MANIFEST_START
from debros.replica.replica import Replica
from debros.replica.store import Store

FILE: Final = "leaving.json"
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A log that is to go: the heads that others promised to hold, and until when, in ms of the node's clock."""

    owner: str  # DID
    heads: tuple[str, ...]  # in hex, ascending
    until: int


class Leaving:
    """The record, in the home's directory. A home in memory has none, and no log leaves it."""

    def __init__(self, home: Path | None) -> None:
        """Read it.

        Raises:
            StorageError: it cannot be read, or is of a newer format.
        """
        self._path = None if home is None else home / FILE
        self.logs: dict[str, GivenUp] = {}  # by log id, in hex
        self.is_going = False  # past the point of no return
        self.left: frozenset[bytes] = frozenset()  # gone, and content that they referred to is not yet looked at again
        if self._path is not None and self._path.exists():
            self._load(self._path)

    def _load(self, path: Path) -> None:
        try:
            told: dict[str, Any] = json.loads(path.read_bytes())
            if told["format"] != FORMAT:
                raise StorageError(f"{path} was made by a newer version of debros; upgrade to open the home")
            self.is_going = bool(told["going"])
            self.left = frozenset(bytes.fromhex(id) for id in told["left"])
            self.logs = {
                id: GivenUp(one["owner"], tuple(one["heads"]), int(one["until"])) for id, one in told["logs"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(
                f"{path} cannot be read ({error}); it says which logs of other users leave this home: delete it, and what "
                "has not left stays"
            ) from error

    def _save(self, logs: dict[str, GivenUp], *, going: bool, left: frozenset[bytes] | None = None) -> None:
        left = self.left if left is None else left
        if self._path is not None:
            named = {id: asdict(one) for id, one in logs.items()}
            told = {"format": FORMAT, "going": going, "left": sorted(id.hex() for id in left), "logs": named}
            replace_file(self._path, json.dumps(told, indent=1).encode())
        self.logs, self.is_going, self.left = logs, going, left

    def has(self, log_id: bytes) -> bool:
        """Whether a log is given up."""
        return log_id.hex() in self.logs

    def note(self, log_id: bytes, given_up: GivenUp) -> None:
        """Give a log up; on return it is remembered.

        Raises:
            StorageError: the disk refused; it stays.
        """
        self._save({**self.logs, log_id.hex(): given_up}, going=False)

    def keep(self, owner: str) -> None:
        """Give the log of an owner up no more: somebody asks for it again."""
        left = {id: one for id, one in self.logs.items() if one.owner != owner}
        if left != self.logs:
            self._save(left, going=False)

    def forget(self) -> None:
        """Note that nothing remembers the logs that left."""
        self._save(self.logs, going=False, left=frozenset())

    # -- at the next opening -------------------------------------------------------------------------------------

    def choose(
        self, store: Store, log_path: str, files: Files, unfollowed: Set[str], own_keys: Set[bytes], now_ms: int
    ) -> bool:
        """Say for good which logs go now, `False` if none does; what may not go any more is given up no more.

        Args:
            store: the home, with a view that belongs to its log.
            log_path: where the log lies.
            files: the disk.
            unfollowed: DIDs that the home follows no more.
            own_keys: with which this home has written.
            now_ms: the time.

        Raises:
            StorageError: the disk refused.
        """
        going: dict[str, GivenUp] = {}
        for id, one in self.logs.items():
            replica = store.by_number.find(bytes.fromhex(id))
            if replica is None or one.until <= now_ms or one.owner not in unfollowed:
                continue
            if tuple(sorted(head.hex() for head in replica.heads)) == one.heads and is_foreign(
                store, replica, own_keys
            ):
                going[id] = one
        try:
            if not all(is_sound(files, log_path, number) for number in list_segments(files, log_path)):
                going = {}  # damage is kept as it is: it may hold what a peer or a tool can still mend
        except OSError as error:
            raise StorageError(f"the log in {log_path} cannot be read: {error}") from error
        self._save(going, going=bool(going))
        return bool(going)

    def carry_out(self, files: Files, log_path: str, view_path: str) -> int:
        """Write the segments anew without the logs that go, and remove the view; return the bytes that this freed.

        Nobody has the home open. It may be repeated after a crash at any moment.

        Raises:
            StorageError: the disk refused; the next opening goes on.
        """
        dead = {bytes.fromhex(id) for id in self.logs}
        freed = 0
        try:
            for suffix in ("", "-wal", "-shm"):
                if os.path.exists(view_path + suffix):
                    os.remove(view_path + suffix)
            for number in list_segments(files, log_path):
                if is_sound(files, log_path, number):
                    freed += rewrite(files, log_path, number, lambda sections: without(sections, dead))
        except OSError as error:
            raise StorageError(f"logs could not leave {log_path}: {error}; open the home again") from error
        self._save({}, going=False, left=self.left | dead)  # syncs the home's directory, with the view's absence
        return freed


def is_foreign(store: Store, replica: Replica, own_keys: Set[bytes]) -> bool:
    """Whether a log is another user's, and nobody has written to it here. What is pending is in the view."""
    if replica.manifest.scope != "user" or replica.n in store.placed:
        return False
    authors: Iterable[tuple[int]] = store.view.read("SELECT DISTINCT author FROM entries WHERE log = ?", (replica.n,))
    keys = {replica.manifest.admins[0], *(store.keys.key(n) for (n,) in authors)}
    return keys.isdisjoint(own_keys)


def without(sections: Iterator[Section], dead: Set[bytes]) -> Iterator[Section]:
    """Yield the sections of a segment that do not belong to these logs: neither their manifests, nor bodies and headers.

    A body stands right before its header. Only what was written as DAG-CBOR is taken for a header or a manifest: an
    encrypted body may have been made to look like one.
    """
    body: Section | None = None
    for section in sections:
        if section.codec == cid.DAG_CBOR and section.block[1:5] == HEADER_START:
            try:
                header = parse_header(section.block)
            except DebrosError:
                header = None  # a body that only begins like one
            if header is not None and header.log in dead and body is not None and body.digest == header.body:
                body = None
                continue
        if body is not None:
            yield body
        is_manifest = section.codec == cid.DAG_CBOR and section.block[1:8] == MANIFEST_START
        body = None if is_manifest and section.digest in dead else section
    if body is not None:
        yield body
