"""The log files of a home as one: its own, and one for each shard that has a place of its own.

A position says in which file it is: volume << 56 | position there. Volume 0 is the home's own log file. What
is appended goes into one volume. Everything blocks, as in `logfile`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from debros.blocks.car import Section
from debros.blocks.logfile import LogFile
from debros.blocks.recovery import Finding
from debros.blocks.tail import Block
from debros.errors import StorageError

BITS: Final = 56
MOST: Final = 100  # volumes: SQLite attaches at most 125 files
HIGHEST: Final = 127  # number of a volume: positions are integers of SQLite's, which has 63 bits for them
_WITHIN: Final = (1 << BITS) - 1


def volume_of(position: int) -> int:
    """Return the number of the volume that a position is in."""
    return position >> BITS


def within(position: int) -> int:
    """Return the position in the volume's own log file."""
    return position & _WITHIN


def first_of(volume: int) -> int:
    """Return the position at which a volume begins."""
    return volume << BITS


class Volumes:
    """The log files of a home that are here, and which are away."""

    def __init__(self, home: LogFile) -> None:
        self.home = home
        self._files: dict[int, LogFile] = {0: home}
        self._away: dict[int, str] = {}

    # -- which there are ---------------------------------------------------------------------------------------

    @property
    def numbers(self) -> list[int]:
        """The volumes that are here, ascending; the home's own first."""
        return sorted(self._files)

    def mount(self, number: int, log: LogFile) -> None:
        """Take a volume's log file up; it is closed with the others."""
        self._files[number] = log
        self._away.pop(number, None)

    def unmount(self, number: int) -> None:
        """Close a volume's log file: nothing is in it any more."""
        self._files.pop(number).close()

    def lose(self, number: int, why: str) -> None:
        """Note that a volume is away, and why."""
        self._away[number] = why

    def file(self, number: int) -> LogFile:
        """Return a volume's log file.

        Raises:
            StorageError: it is away.
        """
        found = self._files.get(number)
        if found is None:
            raise StorageError(self._away.get(number) or f"the home has no volume {number}; its stores.json does")
        return found

    @property
    def size(self) -> int:
        """Bytes of all log files that are here.

        Raises:
            StorageError: the disk refused.
        """
        return sum(file.size for file in self._files.values())

    # -- as one log file ---------------------------------------------------------------------------------------

    @property
    def report(self) -> tuple[Finding, ...]:
        """What recovery found when the files were opened."""
        return tuple(finding for number in self.numbers for finding in self._files[number].report)

    @property
    def end(self) -> int:
        """Position behind the last section of the home's own file."""
        return self.home.end

    @property
    def is_synced(self) -> bool:
        """Whether all that was appended survives a power cut."""
        return all(log.synced >= log.end for log in self._files.values())

    def append(self, blocks: Iterable[Block], *, durable: bool, volume: int = 0) -> list[int]:
        """Write a group of blocks into one volume and return their positions; see `LogFile.append`."""
        if not volume:
            return self.home.append(blocks, durable=durable)
        begin = first_of(volume)
        return [begin + position for position in self.file(volume).append(blocks, durable=durable)]

    def sync(self) -> None:
        """Return once everything appended so far survives a power cut; see `LogFile.sync`."""
        for log in self._files.values():
            log.sync()

    def truncate_to(self, position: int) -> None:
        """Cut a volume at a section; see `LogFile.truncate_to`."""
        self.file(volume_of(position)).truncate_to(within(position))

    def reaches(self, position: int) -> bool:
        """Whether there is something before this position; see `LogFile.reaches`."""
        return self.file(volume_of(position)).reaches(within(position))

    def read(self, position: int) -> bytes:
        """Return the block of the section at a position; see `LogFile.read`."""
        return self.read_section(position)[2]

    def read_section(self, position: int) -> Block:
        """Return codec, digest and block of the section at a position; see `LogFile.read_section`."""
        volume = position >> BITS
        if not volume:
            return self.home.read_section(position)
        return self.file(volume).read_section(position & _WITHIN)

    def read_pair(self, first: int, second: int) -> tuple[Block, Block]:
        """Return the sections at two positions; see `LogFile.read_pair`."""
        volume = first >> BITS
        if second >> BITS != volume:
            return self.read_section(first), self.read_section(second)
        return self.file(volume).read_pair(first & _WITHIN, second & _WITHIN)

    def scan(self, start: int = 0) -> Iterator[Section]:
        """Read all whole sections of one volume from a position on; see `LogFile.scan`."""
        volume = volume_of(start)
        if not volume:
            return self.home.scan(start)
        begin = first_of(volume)
        found = self.file(volume).scan(within(start))
        return (section._replace(position=begin + section.position) for section in found)

    def close(self) -> None:
        """Close all files."""
        for log in self._files.values():
            log.close()
