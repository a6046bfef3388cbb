"""history, export, import, backup, restore, shell, key, doctor: what they do with a database."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import apsw
import pytest

from tests.support.projects import Project


@pytest.fixture
def filled(project: Project) -> Project:
    project.run("makemigrations")
    project.fill()
    return project


def test_history_tells_who_changed_what(filled: Project) -> None:
    told = filled.json("history", "b")
    assert told["model"] == "Note"
    assert [(version["kind"], version["changes"].get("text")) for version in told["versions"]] == [
        ("create", [None, "Bo"]),
        ("update", ["Bo", "Bob"]),
    ]
    assert told["versions"][0]["author"].startswith("did:key:")
    _, err = filled.run("history", "zz", code=1)
    assert "no record has the id 'zz'" in err


def test_an_export_read_into_another_home_gives_the_same_records(filled: Project) -> None:
    filled.run("export", "all.ndjson")
    lines = [json.loads(line) for line in Path("all.ndjson").read_text(encoding="utf-8").splitlines()]
    assert [(line["model"], line["id"]) for line in lines] == [("Note", "a"), ("Note", "b"), ("Diary", "d")]
    assert lines[0]["values"] == {
        "text": "Ana",
        "price": "1.50",
        "at": "2025-01-02T00:00:00Z",
        "tags": ["x", "y"],
        "data": "_w==",
    }
    told = filled.json("import", "all.ndjson", "--home", "other")
    assert (told["created"], told["skipped"]) == (3, 0)
    filled.run("export", "again.ndjson", "--home", "other")
    again = [json.loads(line) for line in Path("again.ndjson").read_text(encoding="utf-8").splitlines()]
    assert [line["values"] for line in again] == [line["values"] for line in lines]


def test_an_export_goes_to_the_standard_output_and_is_not_written_over_unasked(filled: Project) -> None:
    out, _ = filled.run("export", "-", "--model", "Diary")
    assert json.loads(out)["values"] == {"line": "dear"}
    Path("there").write_text("mine")
    _, err = filled.run("export", "there", code=2)
    assert "next: debros export there --yes" in err
    assert Path("there").read_text() == "mine"
    filled.run("export", "there", "--yes")
    _, err = filled.run("export", "x", "--model", "Nope", code=2)
    assert "there is no model 'Nope'" in err


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("no json", "line 2: "),
        ("[1]", "line 2: it is no object"),
        ('{"text": "x"}', "line 2: no model: give --model NAME"),
        ("[" * 100_000, "line 2: maximum recursion depth"),
        ('{"model": "Nope", "id": "x", "values": {}}', "line 2: no model 'Nope'"),
        ('{"model": "Note", "id": "x", "values": {"text": 3}}', "line 2: Note: text"),
        ('{"model": "Note", "id": "x", "values": {"txt": "x"}}', "did you mean 'text'"),
    ],
)
def test_a_wrong_line_of_an_import_is_named_and_nothing_of_its_batch_is_written(
    line: str, told: str, project: Project
) -> None:
    Path("in.ndjson").write_text('{"model": "Note", "id": "a", "values": {"text": "good"}}\n' + line + "\n")
    _, err = project.run("import", "in.ndjson", code=1)
    assert told in err
    assert project.json("export", "out.ndjson")["records"] == {"Note": 0, "Diary": 0}


def test_a_database_goes_through_a_car_file_with_its_history_and_its_authors(filled: Project) -> None:
    did = filled.json("key")["did"]
    told = filled.json("export", "all.car")
    assert (told["format"], told["missing"]) == ("car", [])
    taken = filled.json("import", "all.car", "--home", "other")
    assert (taken["created"], taken["known"], taken["refused"]) == (told["entries"], 0, 0)
    versions = filled.json("history", "b", "--home", "other")["versions"]
    assert [(version["kind"], version["author"]) for version in versions] == [("create", did), ("update", did)]
    assert filled.json("import", "all.car", "--home", "other")["known"] == told["entries"]


def test_a_record_a_model_a_log_or_content_goes_into_a_car_file_alone(filled: Project) -> None:
    filled.run("shell", "--command", "from debros import File\nprint((await File.add(b'hello world\\n')).cid)")
    hello = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"
    everything = filled.json("export", "all", "--format", "car", "--car-version", "2")["entries"]
    assert filled.json("export", "one.car", "--record", "a")["entries"] < everything
    assert filled.json("export", "notes.car", "--model", "Note")["entries"] < everything
    diary = filled.json("export", "mine.car", "--log", filled.json("key")["did"])
    assert diary["entries"] == 1
    assert filled.json("export", "hello.car", "--content", hello)["blocks"] == 1
    assert filled.json("import", "hello.car", "--home", "third")["roots"] == [hello]


def test_what_cannot_go_into_a_car_file_is_refused(filled: Project) -> None:
    for arguments in (
        ["-", "--format", "car"], ["x.car", "--record", "a", "--log", "did:key:z"], ["x.ndjson", "--record", "a"],
        ["x.car", "--model", "Note", "--model", "Diary"],
    ):  # fmt: skip
        filled.run("export", *arguments, code=2)
        assert not Path(arguments[0]).exists()
    filled.run("export", "x.car", "--record", "zz", code=1)
    filled.run("export", "x.car", "--log", "did:key:zz", code=1)
    filled.run("import", "x.car", "--dry-run", code=2)
    Path("x.car").write_bytes(b"no car")
    filled.run("import", "x.car", code=1)


def test_an_import_of_what_is_there_already_is_refused_or_passed_over(filled: Project) -> None:
    filled.run("export", "all.ndjson")
    _, err = filled.run("import", "all.ndjson", code=1)
    assert "next: debros import FILE --skip-existing" in err
    assert filled.json("import", "all.ndjson", "--skip-existing") == {
        "file": "all.ndjson", "created": 0, "skipped": 3, "dry_run": False,
    }  # fmt: skip


OWNED = """

@model(name="Seat", write="owner")
class Seat(debros.Model):
    row: Field[int] = field(default=0)
"""


def test_an_import_that_is_typed_again_passes_over_records_whose_ids_name_their_owner(project: Project) -> None:
    project.write_models(more=OWNED)
    project.run("shell", "--command", "for n in range(3): await Seat.create(row=n)")
    project.run("export", "seats.ndjson", "--model", "Seat")
    own = project.json("import", "seats.ndjson", "--skip-existing")
    assert (own["created"], own["skipped"]) == (0, 3)
    for created in (3, 0):
        told = project.json("import", "seats.ndjson", "--home", "other", "--skip-existing")
        assert (told["created"], told["skipped"]) == (created, 3 - created)
    assert (
        project.run("shell", "--home", "other", "--command", "sorted([s.row for s in await Seat.all()])")[0]
        == "[0, 1, 2]\n"
    )


def test_plain_objects_are_imported_for_a_named_model_and_a_dry_run_writes_nothing(project: Project) -> None:
    Path("in.ndjson").write_text('{"text": "one"}\n{"text": "two"}\n')
    assert project.json("import", "in.ndjson", "--model", "Note", "--dry-run")["created"] == 2
    assert project.json("export", "o1")["records"]["Note"] == 0
    assert project.json("import", "in.ndjson", "--model", "Note")["created"] == 2
    assert project.json("export", "o2")["records"]["Note"] == 2


def test_a_backup_is_verified_and_restored_it_shows_the_same(filled: Project) -> None:
    told = filled.json("backup", "saved", "--with-key")
    assert told["whole"] is True
    assert not list(Path("saved").rglob("device"))
    assert filled.json("restore", "saved", "--home", "back")["with_key"] is True
    filled.run("export", "one")
    filled.run("export", "two", "--home", "back")
    assert Path("one").read_text() == Path("two").read_text()
    filled.run("shell", "--home", "back", "--command", "await Note.create(id='new')")  # with a device key of its own
    filled.run("verify", "back")


def test_without_the_key_a_backup_holds_none(filled: Project) -> None:
    filled.run("backup", "saved")
    assert {path.name for path in Path("saved").iterdir()} == {"log", "backup.json"}
    assert "the backup holds no key" in filled.run("restore", "saved", "--home", "back")[0]


def test_a_backup_while_something_is_being_written_ends_at_the_last_whole_entry(filled: Project) -> None:
    [segment] = Path("data/log").glob("*.car")
    with segment.open("ab") as file:
        file.write(b"\xff\x01half")
    assert filled.json("backup", "saved")["whole"] is True
    filled.run("verify", "saved")


def test_a_damaged_backup_is_not_restored_and_leaves_nothing(filled: Project) -> None:
    filled.run("backup", "saved")
    [segment] = Path("saved/log").glob("*.car")
    raw = bytearray(segment.read_bytes())
    raw[-100] ^= 1
    segment.write_bytes(raw)
    _, err = filled.run("restore", "saved", "--home", "back", code=1)
    assert "is missing or damaged" in err
    assert not Path("back").exists()


def test_backups_and_restores_write_over_nothing(filled: Project) -> None:
    filled.run("backup", "saved")
    _, err = filled.run("backup", "saved", code=2)
    assert "is there already and not empty" in err
    _, err = filled.run("restore", "saved", code=2)
    assert "next: debros restore saved --home PATH" in err
    _, err = filled.run("restore", "nothing", "--home", "back", code=2)
    assert "is no backup" in err


def test_a_backup_is_restored_into_the_folder_one_stands_in(
    filled: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.run("backup", "saved")
    here = tmp_path / "empty"
    here.mkdir()
    monkeypatch.chdir(here)
    filled.run("restore", "../saved", "--home", ".")
    assert (here / "log" / "000001.car").is_file()
    assert {path.name for path in tmp_path.iterdir()}.isdisjoint({"empty.partial"})


def test_the_shell_runs_statements_and_tells_the_last_value_and_errors(filled: Project) -> None:
    assert filled.run("shell", "--command", "n = await Note.count()\nn + 1")[0] == "3\n"
    out, err = filled.run("shell", "--command", "await Note.get('zz')", code=1)
    assert (out, err.split(":")[0]) == ("", "NotFoundError")
    _, err = filled.run("shell", "--command", "1 +", code=1)
    assert "SyntaxError" in err
    assert filled.json("shell", "--command", "1 / 0", code=1)["error"] == "ZeroDivisionError: division by zero"


def test_keys_are_shown_made_and_exported_but_never_printed(filled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = filled.json("key")
    assert shown["did"].startswith("did:key:z6Mk")
    made = filled.json("key", "new", "other.key")
    assert made["did"] != shown["did"]
    assert Path("other.key").stat().st_mode & 0o777 == 0o600
    assert filled.json("key", "export", "mine.key")["did"] == shown["did"]
    _, err = filled.run("key", "new", "other.key", code=2)
    assert "is there already" in err
    _, err = filled.run("key", "export", code=2)
    assert "next: debros key export PATH" in err
    _, err = filled.run("key", "show", "--home", "nowhere", code=2)
    assert "there is no key" in err


def test_the_doctor_finds_a_healthy_database_healthy(filled: Project) -> None:
    told = filled.json("doctor")
    assert {one["state"] for one in told["findings"]} == {"good"}
    assert {one["what"] for one in told["findings"]} == {
        "installation",
        "project",
        "key",
        "disk",
        "lock",
        "view",
        "log",
    }


def test_the_doctor_tells_what_is_wrong_and_what_to_type(filled: Project) -> None:
    Path("data/identity").chmod(0o644)
    [segment] = Path("data/log").glob("*.car")
    raw = bytearray(segment.read_bytes())
    raw[len(raw) // 2] ^= 1
    segment.write_bytes(raw)
    for name in ("view.sqlite", "view.sqlite-wal"):
        Path("data", name).unlink(missing_ok=True)
    Path("data/view.sqlite").write_bytes(b"no database" * 100)
    out, _ = filled.run("doctor", code=1)
    assert "next: chmod 600 data/identity" in out.replace(str(filled.root) + "/", "")
    assert "bad  log: " in out
    assert "bad  view: " in out


def test_the_doctor_blames_no_view_that_a_home_without_writing_keeps_it_from_reading(
    filled: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **options: object) -> None:
        raise apsw.CantOpenError("unable to open database file")  # the file beside it that SQLite wants

    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("apsw.Connection", refuse)
    out, _ = filled.run("doctor", "--quick", code=1)
    assert "bad  disk: " in out
    assert "warning  view: it cannot be looked at" in out
    assert "rm " not in out


def test_a_bundle_holds_no_values_keys_names_or_paths(filled: Project) -> None:
    filled.run("doctor", "--bundle", "bundle.zip")
    did = filled.json("key")["did"]
    with zipfile.ZipFile("bundle.zip") as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(parts) == {"versions.json", "log.json", "findings.json", "models.json", "migrations.json"}
    text = "".join(parts.values())
    for secret in ("Ana", "Bob", "dear", did, str(filled.root), str(Path.home())):
        assert secret not in text
    assert json.loads(parts["log.json"])["changes"]["Note 1000000 live+put"] == 2
    _, err = filled.run("doctor", "--bundle", "bundle.zip", code=2)
    assert "is there already" in err


def test_verbs_for_a_database_that_is_not_there_say_so(project: Project) -> None:
    for arguments in (["history", "x"], ["export", "x"], ["backup", "x"], ["rollback", "--yes"]):
        _, err = project.run(*arguments, code=2)
        assert "there is no debros database in" in err
    assert not (project.root / "data").exists()


def test_a_home_that_is_open_elsewhere_has_an_exit_code_of_its_own(filled: Project) -> None:
    import trio

    from debros.opening import open as open_node

    async def main() -> None:
        async with open_node("data", models=[], app="test-abc"):
            await trio.to_thread.run_sync(lambda: filled.run("export", "x", code=3))
            await trio.to_thread.run_sync(lambda: filled.run("backup", "saved"))  # this may be done meanwhile

    trio.run(main)
    shutil.rmtree("saved")


def test_a_table_is_told_from_ndjson_by_its_name(filled: Project) -> None:
    (filled.root / "notes.csv").write_text("text\nhello\n", encoding="utf-8")
    told = filled.json("import", "notes.csv", "--model", "Note", code=2)
    assert "`csv.DictReader`" in told["error"]["message"]
