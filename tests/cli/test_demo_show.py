"""What the demo looks like: on 80 columns, on fewer, without colour, in a pipe, and when it is interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from debros.cli import main
from debros.cli.demo.edits import change
from debros.cli.demo.generated import generate
from debros.cli.demo.past import TEXT_LIMIT, cut
from debros.cli.units import amount, binary_size, counted, duration
from tests.support.histories import write_history
from tests.support.programs import ROOT, run_python
from tests.support.repositories import Repository

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path / "a project")
    for number in range(20):
        folder = "src" if number % 2 else "a folder with a long name that no table can hold whole"
        repository.write(f"{folder}/module {number % 3}.py", f"x = {number}\n")
        repository.commit(
            f"Number {number}, " + "and so on " * number, f"Somebody With A Rather Long Name {number % 4}"
        )
    return repository


def show(repository: Repository, tmp_path: Path, **variables: str) -> list[str]:
    done = run_python(
        *("-m", "debros.cli", "demo", str(repository.root), "--home", str(tmp_path / "a home")),
        cwd=tmp_path, NO_COLOR="1", **variables,
    )  # fmt: skip
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout.splitlines()


def test_80_columns_hold_every_line_of_code_and_every_column(repository: Repository, tmp_path: Path) -> None:
    lines = show(repository, tmp_path, COLUMNS="80")
    assert max(map(len, lines)) <= 80
    code = [line for line in lines if line.startswith(("  >>> ", "  ... "))]
    assert len(code) > 25
    assert not [line for line in code if line.endswith("…") and "path = 'a folder with a long name" not in line]
    heads = ["author commits lines added lines deleted", "year commits authors", "when commit author subject"]
    heads += ["when files author subject", "entry kind by what changed", "entry by field value"]
    assert [head for head in heads if head not in [" ".join(line.split()) for line in lines]] == []


@pytest.mark.parametrize("columns", [20, 40, 61])
def test_a_narrow_screen_cuts_text_and_keeps_numbers(columns: int, repository: Repository, tmp_path: Path) -> None:
    lines = show(repository, tmp_path, COLUMNS=str(columns))
    assert max(len(line.rstrip()) for line in lines) <= columns
    if columns >= 40:
        (bar,) = [line for line in lines if re.match(r"  2024 +20 +4 ", line)]
        assert set(bar.split()[-1]) == {"▇"}  # a bar that is cut would lie
        assert [line for line in lines if re.search(r"2024-01-\d\d +1 ", line)]


def test_no_colour_means_none(repository: Repository, tmp_path: Path) -> None:
    lines = show(repository, tmp_path, FORCE_COLOR="1", COLUMNS="80")
    colours = re.findall(r"\x1b\[[0-9;]*?\b(?:3[0-7]|9[0-7]|38|4[0-7]|48)[0-9;]*m", "\n".join(lines))
    assert colours == []


def test_a_screen_without_these_characters_shows_others(repository: Repository, tmp_path: Path) -> None:
    lines = show(repository, tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert "In short" in "\n".join(lines)


def test_the_command_to_look_again_can_be_pasted(repository: Repository, tmp_path: Path) -> None:
    assert f"    debros verify '{tmp_path / 'a home'}'" in show(repository, tmp_path, COLUMNS="300")


def test_a_reader_that_leaves_is_no_traceback(repository: Repository, tmp_path: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "debros.cli", "demo", str(repository.root)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert (program.stderr.read(), program.wait()) == (b"", 1)
    assert list(tmp_path.glob("debros-demo-*")) == []


def test_an_interrupt_in_the_middle_ends_cleanly(tmp_path: Path) -> None:
    history = write_history(tmp_path / "long.jsonl", generate(3_000).commits)
    program = subprocess.Popen(
        [sys.executable, "-u", "-m", "debros.cli", "demo", str(history)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with program:
        assert program.stdout is not None
        assert program.stderr is not None
        while "create_many" not in program.stdout.readline():
            assert program.poll() is None
        program.send_signal(signal.SIGINT)
        told = program.stderr.read()
        assert (told, program.wait()) == ("error: interrupted; nothing that was acknowledged is lost\n", 130)
    assert list(tmp_path.glob("debros-demo-*")) == []


def test_a_commit_of_very_many_files_and_a_subject_as_long_as_a_book(tmp_path: Path, capsys: Captured) -> None:
    repository = Repository(tmp_path / "project")
    for number in range(2_500):
        repository.write(f"folder {number % 50}/{number}.txt", "1\n2\n")
    message = tmp_path / "message"
    message.write_text("word " * 300_000, encoding="utf-8")
    repository.git("add", "--all")
    repository.git("-c", "user.name=Ana", "-c", "user.email=a@example.org", "commit", "--quiet", "-F", str(message))
    assert main(["demo", str(repository.root), "--home", str(tmp_path / "home")]) == 0
    told = capsys.readouterr().out
    assert "2,502 records, every value as before" in told
    assert "1 author, 1 commit and 2,500 file changes" in told


@pytest.mark.parametrize("length", [TEXT_LIMIT - 1, TEXT_LIMIT, TEXT_LIMIT + 1, TEXT_LIMIT * 3])
def test_long_text_is_cut_with_a_mark(length: int) -> None:
    text = cut("x" * length)
    assert len(text) == min(length, TEXT_LIMIT)
    assert text.endswith("…") is (length > TEXT_LIMIT)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"a", "b"}, {"b", "c", "d"}, "+c +d -a"),
        (1_234, 1_235, "1,234 -> 1,235"),
        ("old", "new", "now 'new'"),
        (None, 3, "None -> 3"),
    ],
)
def test_a_change_is_told_in_few_words(old: object, new: object, told: str) -> None:
    assert change(old, new) == told


def test_numbers_read_well() -> None:
    assert (counted(1, "entry", "entries"), counted(4_668, "commit")) == ("1 entry", "4,668 commits")
    assert [binary_size(n) for n in (0, 1023, 1024, 5 << 20, 3 << 30)] == [
        "0 B",
        "1,023 B",
        "1.0 KiB",
        "5.0 MiB",
        "3.0 GiB",
    ]
    assert [amount(2048, "bytes"), amount(2048, "records")] == ["2.0 KiB", "2,048 records"]
    assert [duration(s) for s in (0.00812, 0.9999, 1, 1234.5)] == ["8.1 ms", "999.9 ms", "1.00 s", "1,234.50 s"]
