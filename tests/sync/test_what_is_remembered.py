"""What a home follows is remembered on disk, and written only where it changed: programs follow anew at every start."""

from __future__ import annotations

from pathlib import Path

import pytest

from debros.errors import StorageError
from debros.sync import remembered
from debros.sync.following import Following
from debros.sync.remembered import Remembered

DID = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"


class Disk:
    """Counts what is written, or refuses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes = 0
        self.is_full = False
        self._replace = remembered.replace_file
        monkeypatch.setattr(remembered, "replace_file", self.replace)

    def replace(self, path: Path, content: bytes) -> None:
        if self.is_full:
            raise StorageError("full")
        self.writes += 1
        self._replace(path, content)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def following(home: Path) -> Following:
    return Following(Remembered(home / "peers"), frozenset, lambda manifest: True)


def test_following_again_writes_nothing(tmp_path: Path, disk: Disk) -> None:
    following(tmp_path).change([DID], follow=True)
    for _ in range(2):
        following(tmp_path).change([DID], follow=True)
    assert disk.writes == 1
    assert following(tmp_path).owners == [DID]


def test_a_change_of_mind_is_written(tmp_path: Path, disk: Disk) -> None:
    choice = following(tmp_path)
    choice.change([DID], follow=True)
    choice.change([DID], follow=False)
    assert disk.writes == 2
    assert following(tmp_path).owners == []


def test_what_the_disk_refused_is_written_the_next_time(tmp_path: Path, disk: Disk) -> None:
    choice = following(tmp_path)
    disk.is_full = True
    with pytest.raises(StorageError):
        choice.change([DID], follow=True)
    disk.is_full = False
    choice.change([DID], follow=True)
    assert following(tmp_path).owners == [DID]
