"""A home: the directory of one node.

`log/` holds the segments, `view.sqlite` what they mean, `identity` the user's key, `device` what this home's own keys
are derived from, `lock` the claim of the process that has it open, `debros.toml` settings.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from debros.blocks.files import DiskFiles
from debros.blocks.segments import make_directory
from debros.env import Env
from debros.errors import IdentityError, StorageError, StoreLockedError
from debros.identity.keys import Identity

SALT_SIZE: Final = 16
KEY_SIZE: Final = 32


class Home:
    """An open home on disk. `close` gives it free."""

    def __init__(self, path: Path) -> None:
        """Make the directory if it is not there, and claim it.

        Raises:
            StoreLockedError: another process, or another `open` of this one, has it.
            StorageError: it cannot be made, or not written to.
        """
        self.path = path
        self.log = str(path / "log")
        self.view = str(path / "view.sqlite")
        try:
            make_directory(DiskFiles(), str(path))
            self._lock: int | None = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(
                f"cannot use {path} as a home: {error.strerror}; it must be a writable directory"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StoreLockedError(
                f"{path} is open already, here or in another process; a home has one node, so give each process a home of its "
                "own and let them be peers (docs/replication.md)"
            ) from None
        except OSError as error:
            os.close(self._lock)
            raise StorageError(
                f"cannot claim {path} as a home: {error.strerror}; its file system must support locks"
            ) from error

    def identity(self, env: Env) -> Identity:
        """Return the user whose key is kept here, a new one in a new home."""
        file = self.path / "identity"
        if file.exists():
            return Identity.load(file)
        if (self.path / "device").exists():
            raise IdentityError(
                f"{file} is gone, and somebody has written here with it; restore it, or pass `identity=` to `open`"
            )
        identity = Identity.generate(env.random_bytes)
        identity.save(file, random_bytes=env.random_bytes)
        return identity

    def close(self) -> None:
        """Give the home free."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class Devices:
    """What this home's device keys grow from, and which of them have written here.

    The file holds 16 random bytes, then the public keys. A backup that is restored elsewhere must not write with the
    same keys as the original: `renew` takes new bytes, and the first entry of each chain certifies the new key.
    """

    def __init__(self, path: Path | None, env: Env) -> None:
        self._path = path
        raw = b""
        if path is not None and path.exists():
            raw = _read(path)
        whole = len(raw) >= SALT_SIZE and (len(raw) - SALT_SIZE) % KEY_SIZE == 0
        self.salt = raw[:SALT_SIZE] if whole else env.random_bytes(SALT_SIZE)  # of a damaged file the keys still count
        self._saved = whole
        self._keys = dict.fromkeys(
            raw[at : at + KEY_SIZE] for at in range(SALT_SIZE, len(raw) - KEY_SIZE + 1, KEY_SIZE)
        )

    @property
    def keys(self) -> frozenset[bytes]:
        """The public keys with which this home has written."""
        return frozenset(self._keys)

    def keep(self) -> None:
        """See that the file is there: cursors name the home by it, also where nothing is written but by peers."""
        if not self._saved:
            self._save()

    def renew(self, env: Env) -> None:
        """Write with other keys from now on."""
        self.salt = env.random_bytes(SALT_SIZE)
        self._save()

    def note(self, key: bytes) -> None:
        """Remember a key before it writes for the first time."""
        if key not in self._keys:
            self._append(key) if self._saved else self._save(key)
            self._keys[key] = None

    def _append(self, key: bytes) -> None:
        """Add a key to the file: a home may write for thousands of users. Torn, it counts as damaged: new keys follow."""
        if self._path is None:
            return
        self._saved = False  # a part of it may be in the file from now on
        try:
            with open(os.open(self._path, os.O_WRONLY | os.O_APPEND), "ab") as file:
                file.write(key)
                file.flush()
                os.fsync(file.fileno())
            self._saved = True
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error}") from error

    def _save(self, *more: bytes) -> None:
        if self._path is None:
            return
        replace_file(self._path, self.salt + b"".join((*self._keys, *more)))
        self._saved = True


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file anew: after a power cut it holds the old content or the new, whole.

    Args:
        path: the file; `<stem>.new` beside it is written first.
        content: all of it.
        mode: of a new file; those of a home are their owner's only.

    Raises:
        StorageError: the disk refused.
    """
    new = path.with_name(f"{path.stem}.new")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error}") from error
