"""Where shards lie that have a store of their own: the home's record of it, and the marker in each directory.

`stores.json` in the home is replaced whole, and what it says counts. Each directory has a marker with the store's id, so a
directory that is missing, empty or another's is known as such: the store is *away*, and nothing is made in its place.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from debros.blocks.cid import digest_of
from debros.blocks.files import DiskFiles, Files
from debros.blocks.segments import make_directory
from debros.blocks.volumes import HIGHEST, MOST
from debros.env import Env
from debros.errors import ConfigError, StorageError
from debros.home import replace_file
from debros.log.manifest import parse
from debros.replica.arms import Volume

FILE: Final = "stores.json"
MARKER: Final = "store.json"
UNFINISHED: Final = "store.new"  # a marker that was being written
FORMAT: Final = 1
ID_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class Place:
    """A store of one shard."""

    number: int  # of the volume; one that became free is given again last
    id: str  # in hex, that of the marker
    model: str
    shard: int
    manifest: str  # of the shard's log, in hex
    path: str  # absolute
    state: Literal["moving", "placed", "leaving"]  # is being filled, holds the shard, is to be removed
    settled: int = 0  # position in its log file up to which the shard was copied

    @property
    def log_id(self) -> bytes:
        """The id of the shard's log."""
        return digest_of(bytes.fromhex(self.manifest))

    def away(self) -> str:
        """Return why the store is not at its path, and what to do; empty if it is there."""
        why = missing(self.path, self.id)
        return why and (
            f"the store of shard {self.shard} of {self.model} is not at {self.path}: {why}; bring the directory back (mount "
            f"its disk, or restore it), or say where it is now, placement={{{self.model!r}: {{{self.shard}: path}}}}, and "
            "open the node again"
        )

    def volume(self) -> Volume:
        """Return what opens it."""
        return Volume(
            self.number, self.path, parse(bytes.fromhex(self.manifest)), settled=self.settled, away=self.away()
        )


def missing(path: str, id: str) -> str:
    """Return why the store with this id is not in a directory; empty if it is."""
    try:
        told = json.loads(Path(path, MARKER).read_bytes())
    except FileNotFoundError:
        return "there is no such directory" if not os.path.isdir(path) else "it holds no store"
    except (OSError, ValueError) as error:
        return f"its marker cannot be read ({error})"
    if not isinstance(told, dict) or told.get("id") != id:
        return "another store lies there"
    return ""


def _refuse_taken(path: str, id: str) -> None:
    """Raise `ConfigError` if a directory is not empty, and not that of the store with this id."""
    if not os.path.exists(path):
        return
    if not os.path.isdir(path) or (set(os.listdir(path)) - {UNFINISHED} and missing(path, id)):
        raise ConfigError(f"{path} is there already and not empty: a store of a shard begins in a new directory")


class Places:
    """The home's record of the stores of its shards."""

    def __init__(self, home: Path | None, env: Env, files: Files) -> None:
        """Read the record; a home in memory has none.

        Raises:
            StorageError: it cannot be read, or is of a newer format.
        """
        self._path = None if home is None else home / FILE
        self.env = env
        self.files = files
        self.unremoved: list[str] = []  # why stores that shards have left are still there
        self._next = 1  # the number to try first
        self._places: dict[int, Place] = {}
        if self._path is not None and self._path.exists():
            self._load(self._path)

    def _load(self, path: Path) -> None:
        try:
            told: dict[str, Any] = json.loads(path.read_bytes())
            if told["format"] != FORMAT:
                raise StorageError(f"{path} was made by a newer version of debros; upgrade to open the home")
            self._next = int(told["next"])
            self._places = {place["number"]: Place(**place) for place in told["stores"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{path} cannot be read ({error}); it says where shards lie: restore it from a backup"
            ) from error

    def _save(self) -> None:
        if self._path is None:
            raise ConfigError("a home in memory has no stores elsewhere: `placement` and `move` need one on disk")
        stores = [asdict(place) for place in self._places.values()]
        text = json.dumps({"format": FORMAT, "next": self._next, "stores": stores}, indent=1)
        replace_file(self._path, text.encode())

    def __iter__(self) -> Iterator[Place]:
        """Yield all stores, by number."""
        return iter(sorted(self._places.values(), key=lambda place: place.number))

    def of(self, log_id: bytes) -> Place | None:
        """Return the store that holds a shard; `None`: the home itself does."""
        return self._in("placed", log_id)

    def unfinished(self, log_id: bytes) -> Place | None:
        """Return the store that a shard was being moved to when the move ended early."""
        return self._in("moving", log_id)

    def _in(self, state: str, log_id: bytes) -> Place | None:
        return next((place for place in self if place.state == state and place.log_id == log_id), None)

    def placed(self) -> list[Place]:
        """Return the stores that hold shards, those that are away too."""
        return [place for place in self if place.state == "placed"]

    def volumes(self) -> list[Volume]:
        """Return what opens these stores."""
        return [place.volume() for place in self.placed()]

    # -- changes -----------------------------------------------------------------------------------------------

    def follow(self, chosen: Mapping[str, Mapping[int, Path]]) -> None:
        """Take up where stores are now that somebody has carried elsewhere, by what the settings say.

        Raises:
            ConfigError: a shard lies elsewhere than they say.
        """
        for place in self.placed():
            told = chosen.get(place.model, {}).get(place.shard)
            path = place.path if told is None else os.path.abspath(told)
            if path == place.path:
                continue
            if not place.away():
                raise ConfigError(
                    f"shard {place.shard} of {place.model} lies in {place.path}, not in {path}; open the node with that, and "
                    f"`await db.shards[{place.model}].move({place.shard}, to={path!r})`"
                )
            if not missing(path, place.id):
                self._note(replace(place, path=path))

    def begin(self, model: str, shard: int, manifest: bytes, path: str) -> Place:
        """Note that a shard is being moved into a new directory, and make that.

        Raises:
            ConfigError: something is there, or there are too many stores.
            StorageError: the disk refused.
        """
        _refuse_taken(path, "")
        if len(self._places) >= MOST:
            raise ConfigError(f"a home has at most {MOST} stores of shards")
        id = self.env.random_bytes(ID_SIZE).hex()
        turn = (1 + (self._next - 1 + n) % HIGHEST for n in range(HIGHEST))
        number = next(n for n in turn if n not in self._places)
        place = Place(number, id, model, shard, manifest.hex(), path, "moving")
        self._next = number + 1
        self._note(place)
        return place

    def mark(self, place: Place) -> None:
        """Make a store's directory, with its marker; it may be there from an earlier attempt.

        Raises:
            ConfigError: something else is there.
            StorageError: the disk refused.
        """
        _refuse_taken(place.path, place.id)
        try:
            make_directory(DiskFiles(), place.path)
        except OSError as error:
            raise StorageError(f"cannot make {place.path}: {error}") from error
        told = {"id": place.id, "model": place.model, "shard": place.shard}
        replace_file(Path(place.path, MARKER), json.dumps(told).encode())

    def settle(self, place: Place, settled: int) -> None:
        """Note that a shard lies in a store from now on, with what was copied up to a position; the one before is left."""
        before = self.of(place.log_id)
        if before is not None:
            self._places[before.number] = replace(before, state="leaving")
        self._note(replace(place, state="placed", settled=settled))

    def _note(self, place: Place) -> None:
        had = dict(self._places)
        self._places[place.number] = place
        try:
            self._save()
        except BaseException:
            self._places = had
            raise

    def leave(self, place: Place) -> None:
        """Remove what is in a store's directory, and forget it; the marker goes last, so it can be repeated.

        Raises:
            StorageError: the disk refused.
        """
        try:
            if not missing(place.path, place.id):
                if os.path.isdir(log := os.path.join(place.path, "log")):
                    shutil.rmtree(log)
                for name in ("view.sqlite", "view.sqlite-wal", "view.sqlite-shm", MARKER):
                    if os.path.exists(os.path.join(place.path, name)):
                        os.remove(os.path.join(place.path, name))
                if not os.listdir(place.path):
                    os.rmdir(place.path)
        except OSError as error:
            raise StorageError(f"cannot remove {place.path}: {error}") from error
        self._places.pop(place.number)
        self._save()

    def clean(self) -> None:
        """Remove the stores that shards have left; what cannot be removed now is tried at the next opening."""
        self.unremoved = []
        for place in [place for place in self if place.state == "leaving"]:
            try:
                self.leave(place)
            except StorageError as error:  # the shard is whole elsewhere; `db.health()` tells
                self.unremoved.append(str(error))
