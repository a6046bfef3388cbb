"""What a home remembers about replication: what it follows and does not, and proofs of equivocation.

One DAG-CBOR map in `<home>/peers`, written whole beside the old one and renamed: `{"follow": [texts], "unfollow": [texts],
"forks": [[header, header]]}`. A text is a DID, or `Model` or `Model k/n` for a sharded model. A file that cannot be read is
refused, not forgotten: it says which logs the user wants kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from debros.blocks import dagcbor
from debros.errors import StorageError
from debros.home import replace_file

MOST_FORKS: Final = 1000


class Remembered:
    """The file, or nothing but memory where there is no home on disk."""

    def __init__(self, path: Path | None) -> None:
        """Read what is there.

        Raises:
            StorageError: the file is damaged.
        """
        self._path = path
        self._on_disk: bytes | None = None
        self.follow: set[str] = set()
        self.unfollow: set[str] = set()
        self.forks: list[tuple[bytes, bytes]] = []
        if path is not None and path.exists():
            try:
                self._on_disk = path.read_bytes()
                match dagcbor.decode(self._on_disk):
                    case {"follow": list(follow), "unfollow": list(unfollow), "forks": list(forks)}:
                        self.follow, self.unfollow = set(map(str, follow)), set(map(str, unfollow))
                        self.forks = [(bytes(first), bytes(second)) for first, second in forks]
                    case _:
                        raise ValueError("unknown contents")
            except (ValueError, TypeError, OSError) as error:
                raise StorageError(
                    f"{path} cannot be read ({error}); it says what this home follows: restore it, or delete it and "
                    "`follow` again"
                ) from error

    def note_fork(self, headers: tuple[bytes, bytes]) -> bool:
        """Keep a proof; `False` if it is kept already."""
        if headers in self.forks or len(self.forks) >= MOST_FORKS:
            return False
        self.forks.append(headers)
        self.save()
        return True

    def save(self) -> None:
        """Write the file, unless it says that already; on return it survives a power cut.

        Raises:
            StorageError: the disk refused.
        """
        if self._path is None:
            return
        forks = [list(pair) for pair in self.forks]
        value = {"forks": forks, "follow": sorted(self.follow), "unfollow": sorted(self.unfollow)}
        content = dagcbor.encode(value)
        if content != self._on_disk:
            replace_file(self._path, content)
            self._on_disk = content
