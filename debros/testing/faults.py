"""Disks that fail: power cuts between any two calls, calls that raise, writes that are short.

A power cut keeps of what was not synced whatever the medium pleases: all, nothing, a prefix, any subset of
512-byte sectors in any of their versions, a file's new length without its bytes; and of the names of a directory
that was not synced any subset. What a *failed* sync covered is worse: it stays readable until the power goes, is
on no disk, and no later sync brings it there unless its page is written again (Rebello et al., USENIX ATC 2020).

Everything here is deterministic: randomness comes from a `random.Random` of the caller.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator, Sequence
from random import Random
from typing import Final, Literal, NamedTuple

from debros.blocks.files import Files, Handle, MemoryFiles

SECTOR: Final = 512
PAGE: Final = 4096

Kind = Literal["write", "truncate", "sync", "lose", "create", "mkdir", "replace", "remove", "sync_dir"]
Mode = Literal["kept", "lost", "zeros", "prefix", "sectors"]
CALLS: Final = frozenset(
    (
        "open",
        "create",
        "listdir",
        "makedirs",
        "replace",
        "remove",
        "sync_dir",
        "pread",
        "pwrite",
        "size",
        "truncate",
        "sync",
    )
)
GROWING: Final = frozenset(("create", "makedirs", "pwrite", "sync"))  # what a full disk refuses

MODES: Final[tuple[Mode, ...]] = ("kept", "lost", "zeros", "prefix", "sectors")


class Op(NamedTuple):
    """One call that changed something, or made it durable. `file` numbers files, for names come and go."""

    kind: Kind
    file: int = 0
    path: str = ""
    new_path: str = ""
    offset: int = 0  # of a write; the size for a truncate
    data: bytes = b""


class RecordingFiles:
    """A disk in memory that writes down every op, so that a test can cut the power behind any of them."""

    def __init__(self, start: MemoryFiles | None = None) -> None:
        self.ops: list[Op] = []
        self._files = MemoryFiles()
        if start is not None:
            self._files.files = {path: bytearray(content) for path, content in start.files.items()}
            self._files.directories = set(start.directories)
        self._numbers = {path: number for number, path in enumerate(self._files.files)}
        self._count = len(self._numbers)
        self._start = MemoryFiles()
        self._start.files = {path: bytearray(content) for path, content in self._files.files.items()}
        self._start.directories = set(self._files.directories)

    def open(self, path: str, *, create: bool = False, write: bool = True) -> RecordingHandle:
        is_new = not self._files.exists(path)
        handle = self._files.open(path, create=create, write=write)
        if is_new:
            self._numbers[path] = self._count
            self._count += 1
            self.ops.append(Op("create", self._numbers[path], path))
        return RecordingHandle(self.ops, self._numbers[path], handle)

    def listdir(self, path: str) -> list[str]:
        return self._files.listdir(path)

    def exists(self, path: str) -> bool:
        return self._files.exists(path)

    def makedirs(self, path: str, mode: int = 0o700) -> None:
        made: list[str] = []
        above = path
        while not self._files.exists(above):
            made.append(above)
            above = os.path.dirname(above)
        self._files.makedirs(path, mode)
        self.ops += [Op("mkdir", path=one) for one in reversed(made)]

    def replace(self, old: str, new: str) -> None:
        self._files.replace(old, new)
        self._numbers[new] = self._numbers.pop(old)
        self.ops.append(Op("replace", self._numbers[new], old, new))

    def remove(self, path: str) -> None:
        self._files.remove(path)
        self.ops.append(Op("remove", self._numbers.pop(path), path))

    def sync_dir(self, path: str) -> None:
        self._files.sync_dir(path)
        self.ops.append(Op("sync_dir", path=path))

    def power_cuts(self, random: Random, per_boundary: int = 6) -> Iterator[tuple[int, MemoryFiles]]:
        """Cut the power behind every op: yield how many ops were done, and a disk that may be found then.

        Up to `per_boundary` disks for each boundary, fewer where everything is synced.
        """
        disk = _Disk(self._start)
        yield 0, disk.after_power_cut(random, "kept")
        for done, op in enumerate(self.ops, 1):
            disk.apply(op)
            if not disk.has_unsynced():
                yield done, disk.after_power_cut(random, "kept")
                continue
            for n in range(per_boundary):
                yield done, disk.after_power_cut(random, MODES[min(n, len(MODES) - 1)])

    def power_cut(self, random: Random) -> MemoryFiles:
        """Cut the power now, and return a disk that may be found afterwards."""
        disk = _Disk(self._start)
        for op in self.ops:
            disk.apply(op)
        return disk.after_power_cut(random, random.choice(MODES))


class RecordingHandle:
    """An open file of a `RecordingFiles`."""

    def __init__(self, ops: list[Op], number: int, handle: Handle) -> None:
        self._ops = ops
        self._number = number
        self._handle = handle

    def pread(self, size: int, offset: int) -> bytes:
        return self._handle.pread(size, offset)

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        written = self._handle.pwrite(data, offset)
        self._ops.append(Op("write", self._number, offset=offset, data=bytes(data[:written])))
        return written

    def pwritev(self, parts: Sequence[bytes | memoryview], offset: int) -> int:
        return self.pwrite(b"".join(parts), offset)

    def stream(self, parts: Sequence[bytes | memoryview], offset: int) -> int:
        return self.pwritev(parts, offset)

    def size(self) -> int:
        return self._handle.size()

    def truncate(self, size: int) -> None:
        self._handle.truncate(size)
        self._ops.append(Op("truncate", self._number, offset=size))

    def sync(self) -> None:
        self._handle.sync()
        self._ops.append(Op("sync", self._number))

    def lose(self) -> None:
        """Fail to sync: what was not synced stays readable, and is not on the disk."""
        self._ops.append(Op("lose", self._number))

    def release(self) -> None:
        self._handle.release()

    def close(self) -> None:
        self._handle.close()


class _File:
    """What the kernel shows of a file, what is on the disk, and the pages between."""

    def __init__(self, content: bytes) -> None:
        self.shown = bytearray(content)
        self.disk = bytearray(content)
        self.dirty: dict[int, list[bytes]] = {}  # page number -> its versions since the last sync
        self.sizes = [len(content)]  # since the last sync

    def write(self, offset: int, data: bytes) -> None:
        first = min(offset, len(self.shown))
        self.shown.extend(bytes(max(0, offset - len(self.shown))))
        self.shown[offset : offset + len(data)] = data
        self._soil(first, offset + len(data))

    def truncate(self, size: int) -> None:
        before = len(self.shown)
        del self.shown[size:]
        self.shown.extend(bytes(size - len(self.shown)))
        self._soil(min(size, before), max(size, before))

    def _soil(self, start: int, end: int) -> None:
        for page in range(start // PAGE, -(-end // PAGE)):
            version = bytes(self.shown[page * PAGE : (page + 1) * PAGE])
            self.dirty.setdefault(page, []).append(version.ljust(PAGE, b"\0"))
        self.sizes.append(len(self.shown))

    def sync(self) -> None:
        self.disk.extend(bytes(max(0, len(self.shown) - len(self.disk))))
        for page, versions in self.dirty.items():
            end = min((page + 1) * PAGE, len(self.disk))
            self.disk[page * PAGE : end] = versions[-1][: max(0, end - page * PAGE)]
        del self.disk[len(self.shown) :]
        self.dirty.clear()
        self.sizes = [len(self.shown)]

    def lose(self) -> None:
        self.dirty.clear()

    def after_power_cut(self, random: Random, mode: Mode) -> bytearray:
        size = {"lost": self.sizes[0], "sectors": random.choice(self.sizes)}.get(mode, self.sizes[-1])
        if mode == "prefix":
            size = random.randint(min(self.sizes), max(self.sizes))
        found = bytearray(self.disk[:size])
        found.extend(bytes(size - len(found)))
        for page, versions in self.dirty.items() if mode in ("kept", "prefix", "sectors") else ():
            for start in range(page * PAGE, min((page + 1) * PAGE, size), SECTOR):
                end = min(start + SECTOR, size)
                choices = [versions[-1]] if mode != "sectors" else [None, *versions]
                version = random.choice(choices)
                if version is not None:
                    found[start:end] = version[start - page * PAGE : end - page * PAGE]
        return found

    def has_unsynced(self) -> bool:
        return bool(self.dirty) or len(set(self.sizes)) > 1


class _Disk:
    """All files and names, as far as they are durable, and what is on its way."""

    def __init__(self, start: MemoryFiles) -> None:
        self._files = {number: _File(bytes(content)) for number, content in enumerate(start.files.values())}
        self._names = {path: number for number, path in enumerate(start.files)}
        self._directories = set(start.directories)
        self._waiting: list[Op] = []  # changes of names

    def apply(self, op: Op) -> None:
        match op.kind:
            case "write":
                self._files[op.file].write(op.offset, op.data)
            case "truncate":
                self._files[op.file].truncate(op.offset)
            case "sync":
                self._files[op.file].sync()
            case "lose":
                self._files[op.file].lose()
            case "create":
                self._files[op.file] = _File(b"")
                self._waiting.append(op)
            case "mkdir" | "replace" | "remove":
                self._waiting.append(op)
            case "sync_dir":
                here = [waiting for waiting in self._waiting if os.path.dirname(waiting.path) == op.path]
                self._waiting = [waiting for waiting in self._waiting if waiting not in here]
                _rename(here, self._names, self._directories)

    def has_unsynced(self) -> bool:
        return bool(self._waiting) or any(file.has_unsynced() for file in self._files.values())

    def after_power_cut(self, random: Random, mode: Mode) -> MemoryFiles:
        names, directories = dict(self._names), set(self._directories)
        kept = {"kept": 1.0, "prefix": 1.0, "lost": 0.0}.get(mode, 0.5)
        _rename([op for op in self._waiting if random.random() < kept], names, directories)
        found = MemoryFiles()
        found.directories = {path for path in directories if _is_reachable(path, directories)}
        for path, number in names.items():
            if os.path.dirname(path) in found.directories:
                found.files[path] = self._files[number].after_power_cut(random, mode)
        return found


def _rename(ops: list[Op], names: dict[str, int], directories: set[str]) -> None:
    for op in ops:
        if op.kind == "mkdir":
            directories.add(op.path)
        elif op.kind == "create":
            names[op.path] = op.file
        elif names.get(op.path) == op.file:  # else its creation was lost before
            del names[op.path]
            if op.kind == "replace":
                names[op.new_path] = op.file


def _is_reachable(path: str, directories: set[str]) -> bool:
    while path in directories:
        above = os.path.dirname(path)
        if above == path:
            return True
        path = above
    return False


class FailingFiles:
    """A file system whose call number `nth` fails, or those whose numbers it holds; with `forever` all from it on.

    Counted are the calls named in `on`, over all files; `create` is an `open` of what is not there. A write that
    fails writes nothing, but with `short_writes` every write may write a part only, and one that fails too.
    `calls` says how many there were, so a first run without failures tells how many there are to fail.
    """

    def __init__(
        self,
        files: Files,
        nth: int | Collection[int] = (),
        *,
        forever: bool = False,
        code: int = errno.EIO,
        on: Collection[str] = CALLS,
        short_writes: Random | None = None,
    ) -> None:
        self._files = files
        self._short_writes = short_writes
        self.arm(nth, forever=forever, code=code, on=on)

    def arm(
        self,
        nth: int | Collection[int] = 1,
        *,
        forever: bool = False,
        code: int = errno.EIO,
        on: Collection[str] = CALLS,
    ) -> None:
        """Count from now on, and fail the `nth` call; an empty collection makes the disk well."""
        self.calls = 0
        self._failing = {nth} if isinstance(nth, int) else set(nth)
        self._forever = forever
        self._code = code
        self._on = on

    def fails(self, call: str) -> bool:
        """Count a call, and say whether it fails."""
        if call not in self._on:
            return False
        self.calls += 1
        return self.calls in self._failing or (self._forever and any(nth < self.calls for nth in self._failing))

    def fails_now(self) -> bool:
        """Whether calls fail for good by now."""
        return self._forever and any(nth <= self.calls for nth in self._failing)

    def check(self, call: str) -> None:
        """Count a call.

        Raises:
            OSError: it fails.
        """
        if self.fails(call):
            raise self.error()

    def error(self) -> OSError:
        """Return what a call that fails raises."""
        return OSError(self._code, os.strerror(self._code))

    def written_of(self, size: int, fails: bool) -> int:
        """How many of `size` bytes a write writes, at least one unless it fails."""
        if self._short_writes is None:
            return 0 if fails else size
        return self._short_writes.randint(0 if fails else min(1, size), size)

    def open(self, path: str, *, create: bool = False, write: bool = True) -> FailingHandle:
        self.check("open" if self._files.exists(path) else "create")
        return FailingHandle(self, self._files.open(path, create=create, write=write))

    def listdir(self, path: str) -> list[str]:
        self.check("listdir")
        return self._files.listdir(path)

    def exists(self, path: str) -> bool:
        return self._files.exists(path)

    def makedirs(self, path: str, mode: int = 0o700) -> None:
        self.check("makedirs")
        self._files.makedirs(path, mode)

    def replace(self, old: str, new: str) -> None:
        self.check("replace")
        self._files.replace(old, new)

    def remove(self, path: str) -> None:
        self.check("remove")
        self._files.remove(path)

    def sync_dir(self, path: str) -> None:
        self.check("sync_dir")
        self._files.sync_dir(path)


class FailingHandle:
    """An open file of a `FailingFiles`."""

    def __init__(self, owner: FailingFiles, handle: Handle) -> None:
        self._owner = owner
        self._handle = handle

    def pread(self, size: int, offset: int) -> bytes:
        self._owner.check("pread")
        return self._handle.pread(size, offset)

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        fails = self._owner.fails("pwrite")
        written = self._handle.pwrite(memoryview(data)[: self._owner.written_of(len(data), fails)], offset)
        if fails:
            raise self._owner.error()
        return written

    def pwritev(self, parts: Sequence[bytes | memoryview], offset: int) -> int:
        return self.pwrite(b"".join(parts), offset)

    def stream(self, parts: Sequence[bytes | memoryview], offset: int) -> int:
        return self.pwritev(parts, offset)

    def size(self) -> int:
        self._owner.check("size")
        return self._handle.size()

    def truncate(self, size: int) -> None:
        self._owner.check("truncate")
        self._handle.truncate(size)

    def sync(self) -> None:
        if self._owner.fails("sync"):
            if isinstance(self._handle, RecordingHandle):
                self._handle.lose()
            raise self._owner.error()
        self._handle.sync()

    def release(self) -> None:
        self._handle.release()

    def close(self) -> None:
        self._handle.close()
