"""Large writes past the system's memory give the file that ordinary ones give, wherever they begin and end."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks import direct
from debros.blocks.direct import Direct
from debros.blocks.files import DiskFiles

PAGE = direct.PAGESIZE


@given(
    st.integers(0, 3 * PAGE),
    st.lists(st.integers(0, 40) | st.integers(PAGE - 2, PAGE + 2) | st.integers(3 * PAGE, 9 * PAGE), max_size=6),
    st.integers(0, 1 << 30),
)
@settings(max_examples=60)
def test_what_is_written_is_what_was_given_and_nothing_beside_it_changes(
    offset: int, sizes: list[int], seed: int
) -> None:
    import tempfile

    random = Random(seed)
    before = random.randbytes(20 * PAGE)
    parts = [random.randbytes(size) for size in sizes]
    whole = b"".join(parts)
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct, "_STEP", 4 * PAGE)
        path = os.path.join(place, "a")
        handle = DiskFiles().open(path, create=True)
        handle.pwrite(before, 0)  # not synced: it waits in the system's memory
        assert handle.stream(parts, offset) == len(whole)
        expected = before[:offset] + whole + before[offset + len(whole) :]
        assert handle.pread(100 * PAGE, 0) == expected
        assert handle.stream(parts, len(expected)) == len(whole)  # the file grows
        handle.sync()
        handle.close()
        assert Path(path).read_bytes() == expected + whole


def _file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def test_a_file_system_without_such_a_way_gets_ordinary_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fd = _file(tmp_path / "a")

    def refuse(*_: Any) -> int:
        raise OSError(errno.EINVAL, "no such way")

    monkeypatch.setattr(os, "open", refuse)
    writer = Direct(fd)
    monkeypatch.undo()
    data = bytes(range(256)) * 80
    assert writer.pwritev([data[:9], data[9:]], 7) == len(data)
    writer.close()
    os.close(fd)
    assert (tmp_path / "a").read_bytes() == bytes(7) + data


def test_a_disk_that_asks_for_larger_pages_gets_ordinary_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = _file(tmp_path / "a")
    writer = Direct(fd)
    real = os.pwrite

    def pick(to: int, data: Any, offset: int) -> int:
        if to != fd:
            raise OSError(errno.EINVAL, "not aligned")
        return real(to, data, offset)

    monkeypatch.setattr(os, "pwrite", pick)
    data = bytes(range(256)) * 80
    assert writer.pwritev([data], 0) == len(data)
    monkeypatch.undo()
    writer.close()
    os.close(fd)
    assert (tmp_path / "a").read_bytes() == data


def test_a_disk_that_is_full_is_told_and_one_that_takes_less_says_how_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = _file(tmp_path / "a")
    real = os.pwrite
    data = bytes(range(256)) * 80

    def take_a_page(to: int, given: Any, offset: int) -> int:
        return real(to, given[:PAGE], offset)

    monkeypatch.setattr(os, "pwrite", take_a_page)
    writer = Direct(fd)
    assert writer.pwritev([data], 0) == PAGE

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="no space"):
        writer.pwritev([data], 0)
    monkeypatch.undo()
    writer.close()
    os.close(fd)
