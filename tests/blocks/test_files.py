"""The contract of `Files`: what the file system in memory does, the operating system's does too."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from debros.blocks.files import DiskFiles, Files, MemoryFiles
from debros.testing.faults import FailingFiles, RecordingFiles


@pytest.fixture(params=["disk", "memory", "recording", "failing"])
def files(request: pytest.FixtureRequest) -> Files:
    made: dict[str, Files] = {
        "disk": DiskFiles(),
        "memory": MemoryFiles(),
        "recording": RecordingFiles(),
        "failing": FailingFiles(MemoryFiles()),
    }
    return made[request.param]


@pytest.fixture
def home(files: Files, tmp_path: Path) -> str:
    path = os.path.join(tmp_path, "home")
    files.makedirs(path)
    return path


def test_what_is_written_reads_back_at_its_offset(files: Files, home: str) -> None:
    handle = files.open(os.path.join(home, "a"), create=True)
    assert handle.pwrite(b"hello", 0) == 5
    assert handle.pwrite(memoryview(b"HE"), 0) == 2
    handle.sync()
    assert (handle.pread(3, 1), handle.size()) == (b"Ell", 5)
    handle.close()


def test_a_read_is_short_only_where_the_file_ends(files: Files, home: str) -> None:
    handle = files.open(os.path.join(home, "a"), create=True)
    handle.pwrite(b"hello", 0)
    assert handle.pread(100, 3) == b"lo"
    assert handle.pread(100, 5) == handle.pread(100, 50) == b""
    handle.close()


def test_a_write_behind_the_end_leaves_zeros_between(files: Files, home: str) -> None:
    handle = files.open(os.path.join(home, "a"), create=True)
    handle.pwrite(b"x", 3)
    assert handle.pread(9, 0) == b"\0\0\0x"
    handle.close()


def test_truncate_cuts_and_grows(files: Files, home: str) -> None:
    handle = files.open(os.path.join(home, "a"), create=True)
    handle.pwrite(b"hello", 0)
    handle.truncate(2)
    handle.truncate(4)
    assert handle.pread(9, 0) == b"he\0\0"
    handle.close()


def test_a_file_that_is_not_there_is_made_only_on_demand(files: Files, home: str) -> None:
    path = os.path.join(home, "a")
    with pytest.raises(FileNotFoundError):
        files.open(path)
    assert not files.exists(path)
    files.open(path, create=True).close()
    assert files.exists(path)
    files.open(path, create=True).close()
    assert files.listdir(home) == ["a"]


def test_a_file_opened_for_reading_cannot_be_written(files: Files, home: str) -> None:
    path = os.path.join(home, "a")
    files.open(path, create=True).close()
    handle = files.open(path, write=False)
    with pytest.raises(OSError):
        handle.pwrite(b"x", 0)
    handle.close()


def test_a_closed_file_cannot_be_used(files: Files, home: str) -> None:
    handle = files.open(os.path.join(home, "a"), create=True)
    handle.close()
    with pytest.raises(OSError):
        handle.pwrite(b"x", 0)


def test_two_handles_of_one_file_see_the_same_bytes(files: Files, home: str) -> None:
    path = os.path.join(home, "a")
    one, two = files.open(path, create=True), files.open(path, write=False)
    one.pwrite(b"hello", 0)
    assert two.pread(9, 0) == b"hello"
    one.close()
    two.close()


def test_replace_takes_the_place_of_what_had_the_name(files: Files, home: str) -> None:
    a, b = os.path.join(home, "a"), os.path.join(home, "b")
    for path, content in ((a, b"new"), (b, b"old")):
        handle = files.open(path, create=True)
        handle.pwrite(content, 0)
        handle.close()
    files.replace(a, b)
    files.sync_dir(home)
    handle = files.open(b)
    assert (handle.pread(9, 0), files.listdir(home)) == (b"new", ["b"])
    handle.close()


def test_a_removed_file_stays_readable_to_who_has_it_open(files: Files, home: str) -> None:
    path = os.path.join(home, "a")
    handle = files.open(path, create=True)
    handle.pwrite(b"hello", 0)
    files.remove(path)
    assert handle.pread(9, 0) == b"hello"
    assert not files.exists(path)
    handle.close()


def test_makedirs_makes_parents_and_does_nothing_the_second_time(files: Files, home: str) -> None:
    path = os.path.join(home, "x", "y")
    files.makedirs(path)
    files.makedirs(path)
    assert files.exists(os.path.join(home, "x"))
    assert files.listdir(os.path.join(home, "x")) == ["y"]


def test_names_that_are_not_there_are_errors(files: Files, home: str) -> None:
    missing = os.path.join(home, "missing")
    with pytest.raises(FileNotFoundError):
        files.listdir(missing)
    with pytest.raises(FileNotFoundError):
        files.remove(missing)
    with pytest.raises(FileNotFoundError):
        files.replace(missing, os.path.join(home, "b"))
    with pytest.raises(FileNotFoundError):
        files.sync_dir(missing)
    with pytest.raises(FileNotFoundError):
        files.open(os.path.join(missing, "a"), create=True)


def test_a_directory_is_not_opened_as_a_file_and_a_file_not_made_a_directory(files: Files, home: str) -> None:
    with pytest.raises(IsADirectoryError):
        files.open(home, create=True)
    path = os.path.join(home, "a")
    files.open(path, create=True).close()
    with pytest.raises(FileExistsError):
        files.makedirs(path)


def test_on_disk_only_the_owner_may_read(tmp_path: Path) -> None:
    files = DiskFiles()
    files.makedirs(str(tmp_path / "home"))
    files.open(str(tmp_path / "home" / "a"), create=True).close()
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "home" / "a").stat().st_mode) == 0o600


def test_parts_are_written_one_behind_the_other(files: Files, home: str) -> None:
    handle = files.open(os.path.join(home, "a"), create=True)
    assert handle.pwritev([b"he", memoryview(b"ll"), b"", b"o"], 2) == 5
    handle.sync()
    handle.release()
    assert handle.pread(9, 0) == b"\0\0hello"
    handle.close()
