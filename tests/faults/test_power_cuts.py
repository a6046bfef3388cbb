"""Power cuts between any two calls to the disk, at thousands of disks that may be found then.

The laws: a log always opens; every group whose durable append returned is in it, in order; nothing is in it that
was not written; it takes new groups and keeps them; and what recovery does survives a power cut of its own.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from random import Random

import pytest

from debros.blocks.files import Files, MemoryFiles
from debros.blocks.logfile import LogFile
from debros.errors import StorageError
from debros.testing.faults import CALLS, GROWING, FailingFiles, RecordingFiles
from tests.support.logs import DIRECTORY, blocks_of, contents, is_subsequence, open_log


@dataclass
class Story:
    """What was written, and what was acknowledged, when the disk had done how many ops."""

    disk: RecordingFiles
    written: set[bytes] = field(default_factory=set)
    acknowledged: list[tuple[int, list[bytes], int]] = field(default_factory=list)  # ops, contents, end of the log
    waiting: list[bytes] = field(default_factory=list)  # appended, and not yet acknowledged as durable

    def append(self, log: LogFile, group: list[bytes], *, durable: bool) -> None:
        self.written.update(group)
        log.append(blocks_of(*group), durable=durable)
        self.waiting += group
        if durable:
            self.acknowledge(log)

    def acknowledge(self, log: LogFile) -> None:
        self.acknowledged.append((len(self.disk.ops), self.waiting, log.end))
        self.waiting = []

    def promised(self, ops: int) -> list[bytes]:
        return [content for done, group, _ in self.acknowledged if done <= ops for content in group]

    def applied(self, ops: int, random: Random) -> int:
        """A position up to which a view may have got, and flushed, by then; often none."""
        return random.choice([0, *(end for done, _, end in self.acknowledged if done <= ops)])


def tell(random: Random, files: Files, story: Story, *, groups: int, all_durable: bool = False) -> None:
    """Write groups, sync now and then, and die and come back without closing."""
    log = open_log(files, max_segment=1500)
    for _ in range(groups):
        group = [random.randbytes(random.choice([1, 20, 90, 400])) for _ in range(random.randint(1, 4))]
        story.append(log, group, durable=all_durable or random.random() < 0.6)
        if random.random() < 0.2:
            log.sync()
            story.acknowledge(log)
        if random.random() < 0.15:
            story.waiting = []  # the process dies; opening syncs what it finds
            log = open_log(files, story.applied(len(story.disk.ops), random), max_segment=1500)


def check(story: Story, ops: int, found: MemoryFiles, random: Random) -> None:
    promised = story.promised(ops)
    applied = story.applied(ops, random)
    log = open_log(found, applied, max_segment=1500)
    held = contents(log)
    assert is_subsequence(promised, held)
    assert set(held) <= story.written
    behind = [c for done, group, end in story.acknowledged if done <= ops and end > applied for c in group]
    assert set(behind) <= set(contents(log, applied))
    new = [random.randbytes(30), random.randbytes(300)]
    log.append(blocks_of(*new), durable=True)
    log.close()
    log = open_log(found, max_segment=1500)
    held_then = contents(log)
    log.close()
    assert set(held_then) == {*held, *new}
    assert is_subsequence(promised, held_then)


@pytest.mark.parametrize("seed", range(8))
def test_what_was_acknowledged_survives_a_power_cut_behind_any_op(seed: int) -> None:
    random = Random(seed)
    story = Story(RecordingFiles())
    tell(random, story.disk, story, groups=25)
    states = 0
    for ops, found in story.disk.power_cuts(random, per_boundary=6):
        check(story, ops, found, random)
        states += 1
    assert states >= 250


@pytest.mark.parametrize("seed", range(4))
def test_a_power_cut_during_recovery_takes_nothing_either(seed: int) -> None:
    random = Random(seed)
    story = Story(RecordingFiles())
    tell(random, story.disk, story, groups=10)
    for ops, found in story.disk.power_cuts(random, per_boundary=5):
        again = RecordingFiles(found)
        open_log(again, story.applied(ops, random), max_segment=1500)
        for _, found_again in again.power_cuts(random, per_boundary=2):
            check(story, ops, found_again, random)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("forever", [False, True])
def test_what_was_acknowledged_beside_failing_calls_survives_a_power_cut(seed: int, forever: bool) -> None:
    """Among the calls are syncs that fail, after which the bytes are shown and on no disk."""
    for nth in range(1, 60, 3):
        random = Random(seed * 1000 + nth)
        story = Story(RecordingFiles())
        failing = FailingFiles(story.disk, nth, forever=forever, on=CALLS - {"pread", "size"}, short_writes=random)
        log: LogFile | None = None
        for _ in range(12):
            try:
                if log is None:
                    log = open_log(failing, max_segment=30_000)  # several pages
                group = [random.randbytes(random.choice([1, 90, 5000])) for _ in range(2)]
                story.append(log, group, durable=True)
            except StorageError:
                log = None  # the user starts it again
        if forever:
            log = open_log(story.disk, max_segment=1500)  # and on another day the disk is well
            story.append(log, [b"well"], durable=True)
        states = list(story.disk.power_cuts(random, per_boundary=3))
        for ops, found in [*random.sample(states[:-1], min(4, len(states) - 1)), states[-1]]:
            check(story, ops, found, random)


@pytest.mark.parametrize("seed", range(3))
def test_a_full_disk_takes_nothing_that_was_acknowledged(seed: int) -> None:
    for nth in range(3, 60, 5):
        random = Random(seed)
        story = Story(RecordingFiles())
        full = FailingFiles(story.disk, nth, forever=True, code=errno.ENOSPC, on=GROWING, short_writes=random)
        log = open_log(story.disk, max_segment=1500)
        log.close()
        refused = 0
        try:
            log = open_log(full, max_segment=1500)
        except StorageError:
            continue
        for n in range(30):
            try:
                story.append(log, [random.randbytes(100)], durable=n % 3 > 0)
            except StorageError:
                refused += 1
                assert set(story.promised(len(story.disk.ops))) <= set(contents(log))
        assert refused
        for ops, found in list(story.disk.power_cuts(random, per_boundary=2))[-6:]:
            check(story, ops, found, random)


def found_at_last(disk: RecordingFiles) -> list[MemoryFiles]:
    """Disks that may be found after the last op."""
    return [found for ops, found in disk.power_cuts(Random(0)) if ops == len(disk.ops)]


def test_a_new_home_survives_as_soon_as_it_has_acknowledged_something() -> None:
    """Its directories have names too, and they are synced."""
    disk = RecordingFiles()
    log = open_log(disk)
    log.append(blocks_of(b"first"), durable=True)
    for found in found_at_last(disk):
        assert found.exists(DIRECTORY)
        assert contents(open_log(found)) == [b"first"]


def test_what_a_dead_process_wrote_and_could_not_sync_is_synced_when_it_is_opened() -> None:
    """A failed sync leaves bytes that are shown and on no disk; a second sync alone would not bring them there."""
    disk = RecordingFiles()
    failing = FailingFiles(disk)
    log = open_log(failing)
    shown = [Random(n).randbytes(3000) for n in range(5)]  # over several pages
    log.append(blocks_of(*shown), durable=False)
    failing.arm(on={"sync"})
    with pytest.raises(StorageError):
        log.sync()
    log = open_log(disk)  # the process has died
    assert contents(log) == shown
    log.append(blocks_of(b"behind"), durable=True)
    for found in found_at_last(disk):
        assert contents(open_log(found)) == [*shown, b"behind"]


def test_directories_that_a_dead_process_made_are_synced_when_they_are_used() -> None:
    disk = RecordingFiles()
    with pytest.raises(StorageError):
        open_log(FailingFiles(disk, 2, on={"sync_dir"}))  # the root's is synced, not the one above the log's
    log = open_log(disk)
    log.append(blocks_of(b"first"), durable=True)
    for found in found_at_last(disk):
        assert contents(open_log(found)) == [b"first"]
