"""Every call to the disk fails once, or from then on for ever: nothing acknowledged is lost, nothing else is served."""

from __future__ import annotations

import errno
from contextlib import suppress
from random import Random

import pytest

from debros.blocks import car
from debros.blocks.files import MemoryFiles
from debros.errors import CorruptionError, StorageError
from debros.testing.faults import CALLS, GROWING, FailingFiles
from tests.support.logs import DIRECTORY, blocks_of, contents, open_log

ONE, TWO = f"{DIRECTORY}/000001.car", f"{DIRECTORY}/000002.car"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("forever", [False, True])
def test_whatever_call_fails_the_log_keeps_its_promises(forever: bool, code: int) -> None:
    def run(files: FailingFiles) -> tuple[list[bytes], list[bytes]]:
        kept: list[bytes] = []
        tried: list[bytes] = []
        try:
            log = open_log(files, max_segment=700)
        except StorageError:
            return kept, tried
        for n in range(14):
            content = bytes([n]) * 100
            tried.append(content)
            try:
                (position,) = log.append(blocks_of(content), durable=n % 3 == 0)
            except StorageError:
                continue
            kept.append(content)
            with suppress(StorageError):
                assert log.read(position) == content
        log.close()
        return kept, tried

    calls = FailingFiles(MemoryFiles(), on=GROWING if code == errno.ENOSPC else CALLS)
    run(calls)
    assert calls.calls > 30
    for nth in range(1, calls.calls + 1):
        disk = MemoryFiles()
        on = GROWING if code == errno.ENOSPC else CALLS
        kept, tried = run(FailingFiles(disk, nth, forever=forever, code=code, on=on, short_writes=Random(nth)))
        log = open_log(disk, max_segment=700)
        held = contents(log)
        assert set(kept) <= set(held) <= set(tried)
        assert [content for content in dict.fromkeys(held) if content in kept] == kept
        assert set(held) - set(kept) <= set(held[-1:])  # what failed may be there, but nothing was written behind it
        log.close()


def test_short_writes_are_carried_on() -> None:
    disk = MemoryFiles()
    log = open_log(FailingFiles(disk, short_writes=Random(1)), max_segment=3000)
    written = [Random(n).randbytes(n * 9) for n in range(80)]
    for content in written:
        log.append(blocks_of(content), durable=True)
    log.close()
    assert contents(open_log(disk)) == written
    assert open_log(disk).report == ()


def test_a_failed_sync_moves_the_group_to_a_new_segment_and_is_not_retried() -> None:
    disk = MemoryFiles()
    failing = FailingFiles(disk)
    log = open_log(failing)
    log.append(blocks_of(b"before"), durable=True)
    failing.arm(on={"sync"})
    (position,) = log.append(blocks_of(b"group"), durable=True)
    assert failing.calls == 3  # the one that failed, the new segment's, the group's
    assert car.split(position)[0] == 2
    assert log.read(position) == b"group"
    assert log.synced == log.end
    assert contents(log) == [b"before", b"group"]
    log.append(blocks_of(b"after"), durable=True)
    log.close()
    assert contents(open_log(disk)) == [b"before", b"group", b"after"]


def test_a_group_that_could_not_be_cut_from_the_old_segment_is_scanned_once() -> None:
    disk = MemoryFiles()
    failing = FailingFiles(disk)
    log = open_log(failing)
    failing.arm((1, 2), on={"sync", "truncate"})
    log.append(blocks_of(b"group"), durable=True)
    assert b"group" in disk.files[ONE]
    assert b"group" in disk.files[TWO]
    assert contents(log) == [b"group"]
    log.close()
    assert set(contents(open_log(disk))) == {b"group"}


@pytest.mark.parametrize("call", ["sync", "create", "pwrite", "sync_dir"])
def test_when_the_new_segment_fails_too_nothing_more_is_written(call: str) -> None:
    disk = MemoryFiles()
    failing = FailingFiles(disk)
    log = open_log(failing)
    log.append(blocks_of(b"before"), durable=True)
    end = log.end
    failing.arm(2 if call == "pwrite" else 1, on={"sync", call}, forever=True)
    with pytest.raises(StorageError, match="opened again"):
        log.append(blocks_of(b"group"), durable=True)
    failing.arm(())
    for _ in range(2):
        with pytest.raises(StorageError, match="opened again"):
            log.append(blocks_of(b"later"), durable=False)
        with pytest.raises(StorageError, match="opened again"):
            log.sync()
    assert (log.end, contents(log)) == (end, [b"before"])
    log.close()
    log = open_log(disk)
    log.append(blocks_of(b"later"), durable=True)
    assert contents(log) == [b"before", b"later"]
    log.close()


def test_a_group_that_could_neither_be_synced_nor_cut_nor_written_anew_is_not_shown() -> None:
    disk = MemoryFiles()
    failing = FailingFiles(disk)
    log = open_log(failing)
    log.append(blocks_of(b"before"), durable=True)
    failing.arm(forever=True, on={"sync", "truncate", "create"})
    with pytest.raises(StorageError, match="opened again"):
        log.append(blocks_of(b"group"), durable=True)
    assert b"group" in disk.files[ONE]
    assert contents(log) == [b"before"]
    assert [found for found in log.verify() if isinstance(found, car.Damage)] == []
    log.close()
    assert contents(open_log(disk)) == [b"before", b"group"]


def test_when_the_group_cannot_be_written_into_the_new_segment_nothing_more_is_written() -> None:
    disk = MemoryFiles()
    failing = FailingFiles(disk)
    log = open_log(failing)
    failing.arm((2, 5), on={"sync", "pwrite"})  # the group, its sync; the segment's start, its sync, the group
    with pytest.raises(StorageError, match="opened again"):
        log.append(blocks_of(b"group"), durable=True)
    assert not disk.exists(TWO)
    assert contents(log) == []
    log.close()


@pytest.mark.parametrize("by", ["sync", "append"])
def test_a_failed_sync_over_bytes_acknowledged_before_stops_all_writes(by: str) -> None:
    disk = MemoryFiles()
    failing = FailingFiles(disk)
    log = open_log(failing)
    log.append(blocks_of(b"acknowledged"), durable=False)
    end = log.end
    failing.arm(on={"sync"})
    with pytest.raises(StorageError, match="opened again"):
        log.sync() if by == "sync" else log.append(blocks_of(b"group"), durable=True)
    failing.arm(())
    with pytest.raises(StorageError, match="opened again"):
        log.append(blocks_of(b"later"), durable=True)
    with pytest.raises(StorageError, match="opened again"):
        log.sync()
    assert log.synced < log.end == end
    assert contents(log) == [b"acknowledged"]
    log.close()
    assert contents(open_log(disk)) == [b"acknowledged"]


def test_a_failed_sync_before_a_new_segment_stops_all_writes() -> None:
    failing = FailingFiles(MemoryFiles())
    log = open_log(failing, max_segment=300)
    log.append(blocks_of(bytes(120)), durable=False)
    failing.arm(on={"sync"})
    with pytest.raises(StorageError, match="opened again"):
        log.append(blocks_of(bytes(120)), durable=False)
    with pytest.raises(StorageError, match="opened again"):
        log.append(blocks_of(b"later"), durable=False)
    log.close()


@pytest.mark.parametrize("durable", [False, True])
def test_a_write_that_fails_is_taken_back_and_the_next_one_succeeds(durable: bool) -> None:
    disk = MemoryFiles()
    failing = FailingFiles(disk, short_writes=Random(3))
    log = open_log(failing)
    log.append(blocks_of(b"before"), durable=durable)
    before, end = bytes(disk.files[ONE]), log.end
    failing.arm(on={"pwrite"}, code=errno.ENOSPC)
    with pytest.raises(StorageError, match="nothing was written"):
        log.append(blocks_of(b"refused", bytes(900)), durable=durable)
    assert (bytes(disk.files[ONE]), log.end) == (before, end)
    log.append(blocks_of(b"after"), durable=durable)
    assert contents(log) == [b"before", b"after"]
    log.close()


@pytest.mark.parametrize("call", ["truncate", "sync"])
def test_a_write_that_cannot_be_taken_back_stops_all_writes(call: str) -> None:
    failing = FailingFiles(MemoryFiles(), short_writes=Random(3))
    log = open_log(failing)
    log.append(blocks_of(b"before"), durable=True)
    failing.arm((1, 2), on={"pwrite", call})
    with pytest.raises(StorageError, match="opened again"):
        log.append(blocks_of(bytes(900)), durable=False)
    failing.arm(())
    with pytest.raises(StorageError, match="opened again"):
        log.append(blocks_of(b"x"), durable=False)
    assert contents(log) == [b"before"]
    log.close()


def test_an_interrupted_write_is_taken_back() -> None:
    class Interrupted(BaseException):
        """As Ctrl-C would be, in the middle of a call."""

    class Interrupting(FailingFiles):
        def error(self) -> OSError:
            raise Interrupted

    disk = MemoryFiles()
    failing = Interrupting(disk, short_writes=Random(3))
    log = open_log(failing)
    before = bytes(disk.files[ONE])
    for call in ("pwrite", "sync"):
        failing.arm(on={call})
        with pytest.raises(Interrupted):
            log.append(blocks_of(bytes(900)), durable=True)
        assert bytes(disk.files[ONE]) == before
    log.append(blocks_of(b"after"), durable=True)
    assert contents(log) == [b"after"]
    log.close()


def test_a_full_disk_refuses_a_new_segment_until_there_is_room() -> None:
    disk = MemoryFiles()
    failing = FailingFiles(disk)
    log = open_log(failing, max_segment=300)
    log.append(blocks_of(bytes(120)), durable=True)
    for call in ("create", "pwrite", "sync", "sync_dir"):
        failing.arm(on={call}, code=errno.ENOSPC)
        with pytest.raises(StorageError, match="nothing was written"):
            log.append(blocks_of(b"x" * 120), durable=True)
        assert not disk.exists(TWO)
    log.append(blocks_of(b"y" * 120), durable=True)
    assert contents(log) == [bytes(120), b"y" * 120]
    log.close()


def test_a_read_that_fails_says_so_and_the_next_one_succeeds() -> None:
    failing = FailingFiles(MemoryFiles())
    log = open_log(failing)
    (position,) = log.append(blocks_of(b"x"), durable=True)
    for call in (lambda: log.read(position), lambda: contents(log), lambda: list(log.verify())):
        failing.arm(on={"pread"})
        with pytest.raises(StorageError) as raised:
            call()
        assert not isinstance(raised.value, CorruptionError)
        call()
    log.close()


def test_an_end_that_cannot_be_cut_stays_and_nothing_more_is_written() -> None:
    disk = MemoryFiles()
    log = open_log(disk)
    positions = log.append(blocks_of(b"one", b"two"), durable=True)
    log.close()
    for call in ("create", "pwrite", "sync", "sync_dir", "truncate"):
        failing = FailingFiles(disk)
        log = open_log(failing)
        failing.arm(on={call})
        with pytest.raises(StorageError, match="opened again"):
            log.truncate_to(positions[1])
        assert contents(log) == [b"one", b"two"]
        log.close()
    log = open_log(disk)
    assert contents(log) == [b"one", b"two"]
    log.close()
