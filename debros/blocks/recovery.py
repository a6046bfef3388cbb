"""What a log on disk is when it is opened: per segment clean, torn (cut) or damaged (kept), docs/format.md, Log file.

Reading costs what lies behind the view's `applied` position. Whenever that end is not clean, the whole segment is
judged before anything is cut: `applied` may come from a view of another past and point into the middle of a section.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, Literal

from debros.blocks import car
from debros.blocks.car import Damage, Read, Verdict
from debros.blocks.files import Files
from debros.blocks.segments import cut, list_segments, segment_path

NOWHERE: Final = -1  # before every offset
EVERYWHERE: Final = 1 << car.OFFSET_BITS  # behind every offset
FOREIGN: Final = "the segment belongs to another store"


@dataclass(frozen=True, slots=True)
class Finding:
    """What recovery found in one segment, for a person to read.

    `torn`: nothing acknowledged lay in the end of the file; its bytes are in `saved` now (empty: there were none).
    `damaged`: bytes are not what they were. Nothing was cut, and the whole sections are still read.
    """

    state: Literal["torn", "damaged"]
    path: str
    damage: Damage
    saved: str = ""


@dataclass(slots=True)
class Recovered:
    """A log that was recovered. `sound` says, by segment, between which offsets sections are no doubtful ones."""

    numbers: list[int]
    store: bytes  # empty: no segment tells
    sound: dict[int, tuple[int, int]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    appendable: bool = False  # the last segment is whole, and one of this store


def recover(files: Files, directory: str, applied: int) -> Recovered:
    """Judge every segment from the position `applied` on; cut torn ends.

    Raises:
        OSError: the disk refused. Nothing was cut whose bytes are not saved.
    """
    numbers = list_segments(files, directory)
    log = Recovered(numbers, _store_of_any(files, directory, numbers))
    first, offset = car.split(applied)
    log.findings += [
        Finding("damaged", segment_path(directory, car.split(gap.position)[0]), gap)
        for gap in missing(numbers, max(first, 1))
    ]
    for number in [number for number in numbers if number >= first]:
        _recover_segment(files, directory, log, number, offset if number == first else 0)
    return log


def missing(numbers: list[int], first: int = 1) -> list[Damage]:
    """Return the gaps in the numbers of a log's segments from `first` on, one `Damage` each."""
    gaps: list[Damage] = []
    expected = first
    for number in [number for number in numbers if number >= first]:
        if number > expected:
            last = number - 1
            what = f"segment {last} is missing" if last == expected else f"segments {expected} to {last} are missing"
            gaps.append(Damage(car.position(expected, 0), 0, what))
        expected = number + 1
    if expected == first > 1:
        gaps.append(Damage(car.position(first, 0), 0, f"the view knows segment {first}, which is missing"))
    return gaps


def _recover_segment(files: Files, directory: str, log: Recovered, number: int, applied: int) -> None:
    path = segment_path(directory, number)
    last = number == log.numbers[-1]
    with closing(files.open(path, write=False)) as handle:
        verdict, sound = _judge(handle.pread, handle.size(), number, applied, last=last)
        foreign = verdict.state != "damaged" and verdict.keep and car.store_of(handle.pread, number) != log.store
    log.appendable = not foreign and verdict.state != "damaged"
    if foreign:
        log.findings.append(Finding("damaged", path, Damage(car.position(number, 0), 0, FOREIGN)))
        sound = NOWHERE, NOWHERE
    elif verdict.state == "damaged":
        unread = Damage(car.position(number, verdict.keep), 0, "the file ends before what the view had read")
        log.findings += [Finding("damaged", path, damage) for damage in verdict.damage or (unread,)]
    elif verdict.state == "torn":
        log.findings.append(Finding("torn", path, verdict.damage[0], cut(files, path, verdict.keep)))
        if not verdict.keep:
            log.numbers.remove(number)
            log.appendable = False
            return
    log.sound[number] = sound


def _judge(read: Read, size: int, part: int, applied: int, *, last: bool) -> tuple[Verdict, tuple[int, int]]:
    """Judge one segment, reading as little as possible; say too between which offsets its sections are sound.

    A segment that is not the last one may have been left because of damage, so where the view stopped in its
    middle it is read from the beginning: only then is it known what was read behind a bad section.
    """
    if applied == size or (last and 0 < applied < size):
        try:
            car.store_of(read, part)
        except ValueError:
            pass  # a bad section at 0: judged below
        else:
            verdict = car.examine(read, size, part, applied, applied)
            if verdict.state == "clean":
                return verdict, (applied, EVERYWHERE)
    verdict = car.examine(read, size, part, applied)
    if verdict.state == "damaged" and verdict.first_bad is not None:
        return verdict, (0, verdict.first_bad)
    return verdict, (0, EVERYWHERE)


def _store_of_any(files: Files, directory: str, numbers: list[int]) -> bytes:
    for number in numbers:
        with closing(files.open(segment_path(directory, number), write=False)) as handle:
            try:
                return car.store_of(handle.pread, number)
            except ValueError:
                continue  # its damage is found when the segment is judged
    return b""
