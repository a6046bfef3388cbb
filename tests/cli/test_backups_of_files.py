"""A backup holds the files that records refer to, and the pins, and tells what of them is damaged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from debros.cli import copying
from debros.cli.screen import Screen
from tests.support.projects import Project

MORE = "    picture: Field[debros.File | None] = field(default=None)\n"
ADD = """
picture = await debros.File.add(b"x" * 300_000)
await Note.create(id="p", picture=picture)
pinned = await debros.File.add(b"by hand")
_ = await db.pins.pin(pinned.cid)
pinned.cid
"""
READ = "len(await (await Note.get('p')).picture.read())"


@pytest.fixture
def cid(project: Project) -> str:
    """Make a project with a record that has a file, and a file that was pinned by hand; return the CID of that one."""
    project.write_models(more=MORE)
    return str(project.run("shell", "--command", ADD)[0].strip().strip("'"))


def test_files_and_pins_are_restored_with_the_records(project: Project, cid: str) -> None:
    told = project.json("backup", "saved", "--with-key")
    assert (told["whole"], told["blocks"]) == (True, 2)
    project.run("restore", "saved", "--home", "back")
    shutil.rmtree("data")
    assert project.run("shell", "--home", "back", "--command", READ)[0] == "300000\n"
    assert project.run("shell", "--home", "back", "--command", f"await db.pins.is_pinned('{cid}')")[0] == "True\n"
    assert (
        project.run("shell", "--home", "back", "--command", f"(await db.pins.status('{cid}')).state")[0] == "'pinned'\n"
    )


def test_what_was_just_being_added_is_left_out(project: Project, cid: str) -> None:
    with Path("data/content/000001.car").open("ab") as file:
        file.write(b"\xff\xff\x03torn")
    assert project.json("backup", "saved", "--with-key")["whole"] is True
    told = project.json("verify", "data")
    assert (told["whole"], told["blocks"]) == (True, 2)
    project.run("restore", "saved", "--home", "back")
    assert project.run("shell", "--home", "back", "--command", READ)[0] == "300000\n"


def test_a_file_that_has_rotted_is_told_and_the_rest_is_restored(project: Project, cid: str) -> None:
    segment = Path("data/content/000001.car")
    raw = bytearray(segment.read_bytes())
    raw[1000] ^= 1
    segment.write_bytes(raw)
    for command in (["backup", "saved", "--with-key"], ["verify", "data"]):
        assert "content/000001.car:" in project.run(*command, code=1)[0]
    project.run("restore", "saved", "--home", "back")
    assert project.run("shell", "--home", "back", "--command", "await Note.count()")[0] == "1\n"


@pytest.mark.parametrize("name", ["content/000001.car", "pins.sqlite"])
def test_a_backup_whose_files_were_changed_is_not_restored(project: Project, cid: str, name: str) -> None:
    project.run("backup", "saved")
    with Path("saved", name).open("ab") as file:
        file.write(b"more")
    assert f"{name} is missing or damaged" in project.run("restore", "saved", "--home", "back", code=1)[1]


def test_a_segment_that_goes_while_it_is_copied_is_found_where_its_blocks_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for number in (1, 2, 3):
        (source / f"{number:06}.car").write_bytes(bytes([number]) * 10)
    sizes = copying._sizes

    def compacted(directory: Path) -> Iterator[tuple[Path, int]]:
        found = list(sizes(directory))
        second = directory / "000002.car"
        if second.exists():  # after it was listed, and before it is copied
            with (directory / "000003.car").open("ab") as last:
                last.write(second.read_bytes())
            second.unlink()
        yield from found

    monkeypatch.setattr(copying, "_sizes", compacted)
    size = copying.copy_segments(source, target, Screen(False))
    copied = {path.name: path.read_bytes() for path in target.iterdir()}
    assert copied == {"000001.car": b"\1" * 10, "000003.car": b"\3" * 10 + b"\2" * 10}
    assert size == 30


def test_a_backup_of_an_older_debros_that_names_no_files_is_restored(project: Project, cid: str) -> None:
    import json

    project.run("backup", "saved", "--with-key")
    told = json.loads(Path("saved/backup.json").read_text(encoding="utf-8"))
    del told["content"], told["pins"]
    Path("saved/backup.json").write_text(json.dumps(told), encoding="utf-8")
    project.run("restore", "saved", "--home", "back")
    assert project.run("shell", "--home", "back", "--command", "await Note.count()")[0] == "1\n"


def test_a_backup_that_was_cut_off_is_typed_again(project: Project, cid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("debros.cli.backup.check", cut_off)
        project.run("backup", "saved", "--with-key", code=130)
    assert "is no backup" in project.run("restore", "saved", "--home", "back", code=2)[1]
    (stray := Path("saved/content/000002.car")).write_bytes(b"of the one that was cut off")
    told = project.json("backup", "saved", "--with-key")
    assert (told["whole"], told["blocks"], stray.exists()) == (True, 2, False)
    assert "backup.new" not in {path.name for path in Path("saved").iterdir()}
    project.run("restore", "saved", "--home", "back")
    assert project.run("shell", "--home", "back", "--command", READ)[0] == "300000\n"


def test_a_folder_that_holds_anything_else_is_left_alone(project: Project, cid: str) -> None:
    (mine := Path("saved/log/mine")).parent.mkdir(parents=True)
    mine.write_text("mine")
    assert "is there already and not empty" in project.run("backup", "saved", code=2)[1]
    assert mine.read_text() == "mine"
