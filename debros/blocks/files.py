"""The door to the disk: what the log asks of a file system, and the two file systems there are.

Paths are text. Failures are `OSError`, of the same kind in both implementations. Whether bytes survive a power
cut is said by two calls alone: `Handle.sync` for what is in a file, `Files.sync_dir` for which names a directory
holds; everything else may be lost, in part and in any order, until they return.

A failed `sync` says that some bytes written since the last one are lost for good: the kernel may have dropped
the pages, and a second `sync` would find nothing to write and succeed (Rebello et al., "Can Applications Recover
from fsync Failures?", USENIX ATC 2020).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from debros.blocks.direct import Direct

if sys.platform == "darwin":
    import fcntl


class Handle(Protocol):
    """An open file. Reads and writes name their offset, so threads may share one."""

    def pread(self, size: int, offset: int) -> bytes:
        """Read `size` bytes; fewer only where the file ends."""
        ...

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        """Write at `offset` and return how many bytes were written, which may be fewer than given."""
        ...

    def pwritev(self, parts: Sequence[bytes | memoryview], offset: int) -> int:
        """Write some parts, at most 1000, one behind the other, like `pwrite`; nobody puts them together first."""
        ...

    def stream(self, parts: Sequence[bytes | memoryview], offset: int) -> int:
        """Write like `pwritev`, past the system's memory where there is a way: nobody is about to read it."""
        ...

    def size(self) -> int:
        """Length of the file in bytes."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file, or grow it with zeros, to `size` bytes."""
        ...

    def sync(self) -> None:
        """Return once all that was written, and the file's length, would survive a power cut."""
        ...

    def release(self) -> None:
        """Let the system's memory for what is synced of the file serve others: nobody is about to read it."""
        ...

    def close(self) -> None:
        """Close the file; it is not synced."""
        ...


class Files(Protocol):
    """A file system."""

    def open(self, path: str, *, create: bool = False, write: bool = True) -> Handle:
        """Open a file; `create` makes it, empty and readable by its owner only, if it is not there."""
        ...

    def listdir(self, path: str) -> list[str]:
        """Names in a directory, in no order."""
        ...

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this path."""
        ...

    def makedirs(self, path: str, mode: int = 0o700) -> None:
        """Make a directory and its parents where they are not there."""
        ...

    def replace(self, old: str, new: str) -> None:
        """Rename a file; what had the new name is gone. Other processes see either the one or the other."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file. Handles that are open keep its content."""
        ...

    def sync_dir(self, path: str) -> None:
        """Return once the names in this directory would survive a power cut."""
        ...


class DiskHandle:
    """An open file of the operating system."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._direct: Direct | None = None  # once something streams

    def pread(self, size: int, offset: int) -> bytes:
        data = os.pread(self._fd, size, offset)
        while len(data) < size and (more := os.pread(self._fd, size - len(data), offset + len(data))):
            data += more
        return data

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        return os.pwrite(self._fd, data, offset)

    def pwritev(self, parts: Sequence[bytes | memoryview], offset: int) -> int:
        return os.pwritev(self._fd, parts, offset)

    def stream(self, parts: Sequence[bytes | memoryview], offset: int) -> int:
        if self._direct is None:
            self._direct = Direct(self._fd)
        return self._direct.pwritev(parts, offset)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        if sys.platform == "darwin":  # there fsync leaves the bytes in the drive's cache
            fcntl.fcntl(self._fd, fcntl.F_FULLFSYNC)
        else:  # covers the growth of the file too: a length needed to read the data is written with it
            os.fdatasync(self._fd)

    def release(self) -> None:
        if sys.platform == "linux":
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        if self._direct is not None:
            self._direct.close()
        os.close(self._fd)


class DiskFiles:
    """The file system of the operating system."""

    def open(self, path: str, *, create: bool = False, write: bool = True) -> DiskHandle:
        access = os.O_RDWR if write else os.O_RDONLY
        return DiskHandle(os.open(path, access | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600))

    def listdir(self, path: str) -> list[str]:
        return os.listdir(path or ".")

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def makedirs(self, path: str, mode: int = 0o700) -> None:
        os.makedirs(path, mode, exist_ok=True)

    def replace(self, old: str, new: str) -> None:
        os.replace(old, new)

    def remove(self, path: str) -> None:
        os.remove(path)

    def sync_dir(self, path: str) -> None:
        fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class MemoryHandle:
    """An open file of a `MemoryFiles`."""

    def __init__(self, content: bytearray, *, write: bool) -> None:
        self.content = content
        self._writable = write
        self._closed = False

    def pread(self, size: int, offset: int) -> bytes:
        self._check(write=False)
        return bytes(self.content[offset : offset + size])

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        self._check(write=True)
        self._grow_to(offset)
        self.content[offset : offset + len(data)] = data
        return len(data)

    def pwritev(self, parts: Sequence[bytes | memoryview], offset: int) -> int:
        return self.pwrite(b"".join(parts), offset)

    def stream(self, parts: Sequence[bytes | memoryview], offset: int) -> int:
        return self.pwritev(parts, offset)

    def size(self) -> int:
        self._check(write=False)
        return len(self.content)

    def truncate(self, size: int) -> None:
        self._check(write=True)
        del self.content[size:]
        self._grow_to(size)

    def sync(self) -> None:
        self._check(write=False)

    def release(self) -> None:
        self._check(write=False)

    def close(self) -> None:
        self._check(write=False)
        self._closed = True

    def _grow_to(self, size: int) -> None:
        if (missing := size - len(self.content)) > 0:
            self.content.extend(bytes(missing))

    def _check(self, *, write: bool) -> None:
        if self._closed or (write and not self._writable):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))


class MemoryFiles:
    """Files in memory: the executable specification of `Files`, and the disk of `:memory:` homes.

    Nothing survives the process, so `sync` has nothing to do. `debros.testing.faults` builds disks that fail.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.directories: set[str] = {"", "/"}

    def open(self, path: str, *, create: bool = False, write: bool = True) -> MemoryHandle:
        if path in self.directories:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if path not in self.files:
            if not create or os.path.dirname(path) not in self.directories:
                raise _not_found(path)
            self.files[path] = bytearray()
        return MemoryHandle(self.files[path], write=write)

    def listdir(self, path: str) -> list[str]:
        if path not in self.directories:
            raise _not_found(path)
        held = (*self.files, *self.directories)
        return [name for name in map(os.path.basename, (p for p in held if os.path.dirname(p) == path)) if name]

    def exists(self, path: str) -> bool:
        return path in self.files or path in self.directories

    def makedirs(self, path: str, mode: int = 0o700) -> None:
        while path not in self.directories:
            if path in self.files:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            self.directories.add(path)
            path = os.path.dirname(path)

    def replace(self, old: str, new: str) -> None:
        if old not in self.files or os.path.dirname(new) not in self.directories:
            raise _not_found(old)
        self.files[new] = self.files.pop(old)

    def remove(self, path: str) -> None:
        if path not in self.files:
            raise _not_found(path)
        del self.files[path]

    def sync_dir(self, path: str) -> None:
        if path not in self.directories:
            raise _not_found(path)


def _not_found(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
