"""What `debros verify` says of a database that is whole, damaged, cut, open, or none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import debros
from debros import Field, Model, model
from debros.cli import main

Captured = pytest.CaptureFixture[str]


@model(scope="global")
class Line(Model):
    text: Field[str]
    likes: Field[int] = debros.field(default=0, merge="counter")


async def write(home: Path, records: int = 6, **settings: Any) -> None:
    async with debros.open(home, models=[Line], **settings):
        for n in range(records):
            line = await Line.create(text=f"number {n}: " + "x" * 900)
            await line.update(likes=n + 1)


def verdict(home: Path, capsys: Captured) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["verify", str(home), "--json"])
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, told


def what(told: dict[str, Any]) -> set[str]:
    return {finding["what"] for finding in told["findings"]}


async def test_a_whole_database_is_whole_with_or_without_its_view(tmp_path: Path, capsys: Captured) -> None:
    await write(tmp_path)
    size = (tmp_path / "log" / "000001.car").stat().st_size
    whole = {"home": str(tmp_path), "whole": True, "entries": 12, "blocks": 0, "bytes": size, "findings": []}
    assert verdict(tmp_path, capsys) == (0, whole)
    (tmp_path / "view.sqlite").unlink()
    assert verdict(tmp_path, capsys) == (0, whole)
    (tmp_path / "view.sqlite").write_bytes(b"no database")
    assert verdict(tmp_path, capsys) == (0, whole)


async def test_people_are_told_what_was_checked(tmp_path: Path, capsys: Captured) -> None:
    await write(tmp_path)
    assert main(["verify", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("whole  12 entries, ")
    assert told.endswith(": every address, signature, clock and link is right\n")


async def test_it_changes_nothing(tmp_path: Path, capsys: Captured) -> None:
    await write(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert verdict(tmp_path, capsys)[0] == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


async def test_it_checks_a_home_while_it_is_open_and_written_to(tmp_path: Path, capsys: Captured) -> None:
    async with debros.open(tmp_path, models=[Line]):
        for n in range(1, 4):
            await Line.create_many({"text": f"{k}"} for k in range(n * 300))  # more rows than wait for the view
            code, told = verdict(tmp_path, capsys)
            assert (code, told["whole"], told["entries"]) == (0, True, n)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import trio

    home = tmp_path_factory.mktemp("whole")
    trio.run(write, home, 3)
    return home / "log" / "000001.car"


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_flipped_bit_is_found_where_it_lies(
    data: st.DataObject, log: Path, tmp_path: Path, capsys: Captured
) -> None:
    content = bytearray(log.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1), label="byte")
    content[at] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    (tmp_path / "log").mkdir(exist_ok=True)
    (tmp_path / "log" / "000001.car").write_bytes(content)
    code, told = verdict(tmp_path, capsys)
    assert (code, told["whole"]) == (1, False)
    places = [int(finding["place"].rpartition(":")[2]) for finding in told["findings"]]
    assert min(places) <= at


async def test_every_shorter_file_is_found(tmp_path: Path, capsys: Captured) -> None:
    await write(tmp_path, 2)
    segment = tmp_path / "log" / "000001.car"
    content = segment.read_bytes()
    for size in [*range(0, len(content), 61), len(content) - 1]:
        segment.write_bytes(content[:size])
        code, told = verdict(tmp_path, capsys)
        assert (code, "lost" in what(told)) == (1, True), size


async def test_a_log_cut_between_two_entries_is_found_by_what_the_view_has_read(
    tmp_path: Path, capsys: Captured
) -> None:
    await write(tmp_path, 3)
    segment = tmp_path / "log" / "000001.car"
    shorter = segment.read_bytes()
    await write(tmp_path, 1)
    segment.write_bytes(shorter)
    code, told = verdict(tmp_path, capsys)
    assert (code, what(told)) == (1, {"lost"})


async def test_missing_segments_are_named(tmp_path: Path, capsys: Captured) -> None:
    await write(tmp_path, 12, max_segment_bytes=4096)
    segments = sorted((tmp_path / "log").glob("*.car"))
    assert len(segments) > 3
    content = segments[1].read_bytes()
    segments[1].unlink()
    code, told = verdict(tmp_path, capsys)
    assert (code, told["findings"][0]) == (
        1,
        {"place": "log/000002.car:0", "what": "missing", "detail": "segment 2 is missing"},
    )
    segments[1].write_bytes(content)
    assert verdict(tmp_path, capsys)[0] == 0

    segments[-1].unlink()
    assert (verdict(tmp_path, capsys)[0], what(verdict(tmp_path, capsys)[1])) == (1, {"lost"})
    for segment in segments[:-1]:
        segment.unlink()
    assert (verdict(tmp_path, capsys)[0], what(verdict(tmp_path, capsys)[1])) == (1, {"lost"})
    os.rmdir(tmp_path / "log")
    assert main(["verify", str(tmp_path)]) == 1
    assert f"the log of {tmp_path} is gone" in capsys.readouterr().err


async def test_segments_that_changed_places_are_found(tmp_path: Path, capsys: Captured) -> None:
    await write(tmp_path, 6, max_segment_bytes=4096)
    first, second = sorted((tmp_path / "log").glob("*.car"))[:2]
    first.rename(tmp_path / "log" / "x")
    second.rename(first)
    (tmp_path / "log" / "x").rename(second)
    code, told = verdict(tmp_path, capsys)
    assert (code, "damage" in what(told)) == (1, True)


@pytest.mark.parametrize("make", ["file", "other"])
def test_what_is_no_home_is_wrong_usage(make: str, tmp_path: Path, capsys: Captured) -> None:
    place = tmp_path / make
    if make == "file":
        place.write_text("mine", encoding="utf-8")
    else:
        (place / "src").mkdir(parents=True)
    assert main(["verify", str(place)]) == 2
    assert f"there is no debros database in {place}" in capsys.readouterr().err


def test_files_that_cannot_be_read_are_told_and_no_traceback(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "log" / "000001.car").mkdir(parents=True)
    assert main(["verify", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"error: {tmp_path / 'log'} cannot be read: Is a directory\n")
