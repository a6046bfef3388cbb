"""A large view is mapped when a node opens it, as far as it is in memory, so that reads do not wait for pages one by one."""

from __future__ import annotations

import mmap
import resource
from pathlib import Path

import pytest
import trio
import trio.testing

import debros
from debros.replica import resident

MIB = 1 << 20


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt


def test_pages_that_were_entered_are_there_at_the_first_look(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(8 * MIB))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert resident.enter(str(path)) == 8 * MIB
        before = faults()
        assert sum(mapped[at] for at in range(0, 8 * MIB, mmap.PAGESIZE)) == 0
        assert faults() - before < 8  # 128 and more without


def test_all_mappings_of_a_file_are_entered_and_no_other_ones(tmp_path: Path) -> None:
    path, other = tmp_path / "a file", tmp_path / "a file."
    for each in (path, other):
        each.write_bytes(bytes(MIB))
    with path.open("rb") as file, other.open("rb") as beside:
        assert resident.enter(str(path)) == 0
        with (
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ),
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ),
            mmap.mmap(beside.fileno(), 0, prot=mmap.PROT_READ),
        ):
            assert resident.enter(str(path)) == 2 * MIB


def test_a_mapping_that_is_gone_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "_mappings", lambda path: iter([(mmap.PAGESIZE, MIB)]))
    assert resident.enter(str(tmp_path)) == 0


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        (b"", []),
        (b"\1\1\1\1", [(0, 4)]),
        (b"\1\1\0\0\1\1\1", [(0, 2), (4, 3)]),
        (b"\0\1\0\0\1\0\1", [(0, 2), (4, 3)]),
        (b"\0\0\0\0\0", []),
        (b"\1\1\1\1\0", [(0, 4)]),
    ],
)
def test_only_steps_that_are_mostly_in_memory_are_entered(pages: bytes, found: list[tuple[int, int]]) -> None:
    assert list(resident.runs(pages, 2)) == found


@pytest.mark.parametrize("suffices", [True, False])
def test_a_node_that_opens_a_large_view_has_it_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffices: bool
) -> None:
    monkeypatch.setattr(resident, "LEAST", 1 if suffices else 1 << 40)
    entered: list[str] = []
    monkeypatch.setattr(resident, "enter", entered.append)

    async def main() -> None:
        async with debros.open(tmp_path / "home", models=[], app="mapped"):
            await trio.testing.wait_all_tasks_blocked()

    trio.run(main)
    assert entered == [str(tmp_path / "home" / "view.sqlite")] * suffices


def test_what_has_no_file_is_not_worth_it() -> None:
    assert not resident.is_worth_it(":memory:")
