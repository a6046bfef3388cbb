"""makemigrations, migrate, rollback, showmigrations and check, in a project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.projects import Project

REQUIRED = "    lang: Field[str] = field()"


def changed(project: Project, version: str = "1.1.0", more: str = REQUIRED) -> None:
    """A project with a snapshot and a record, whose model then changed."""
    project.run("makemigrations")
    project.fill()
    project.write_models(version, more)


def test_the_first_makemigrations_takes_a_snapshot_and_the_second_finds_no_changes(project: Project) -> None:
    first = project.json("makemigrations")
    assert (first["changed"], first["written"]) == (True, [])
    assert (project.root / "migrations" / "snapshot.json").is_file()
    assert project.json("makemigrations") == {"changed": False, "written": [], "operations": [], "notes": []}


def test_check_fails_in_ci_while_a_change_has_no_migration(project: Project) -> None:
    project.run("makemigrations")
    assert project.json("makemigrations", "--check")["changed"] is False
    project.write_models("1.1.0", REQUIRED)
    told = project.json("makemigrations", "--check", "--default", 'Note.lang="en"', code=1)
    assert told["changed"] is True
    assert [path.name for path in (project.root / "migrations").iterdir()] == ["snapshot.json"]
    out, _ = project.run("check", code=1)
    assert "Note changed since the last snapshot" in out
    assert "next: debros makemigrations" in out


def test_a_change_is_made_a_migration_applied_listed_and_rolled_back(project: Project) -> None:
    changed(project)
    told = project.json("makemigrations", "--default", 'Note.lang="en"')
    assert told["written"] == ["0001_add_lang"]
    assert told["operations"] == ['.add_field("Note", "lang", default="en")']
    [planned] = project.json("migrate", "--plan")["steps"]
    assert (planned["name"], planned["records"], planned["state"]) == ("0001_add_lang", 2, "pending")
    [dry] = project.json("migrate", "--dry-run")["steps"]
    assert {sample["id"]: sample["after"] for sample in dry["samples"]} == {"a": {"lang": "en"}, "b": {"lang": "en"}}
    out, _ = project.run("migrate")
    assert "applied  0001_add_lang 1.1.0, 2 records" in out
    assert project.json("migrate")["steps"] == []
    assert [step["state"] for step in project.json("showmigrations")["migrations"]] == ["applied"]
    assert "0001_add_lang" in project.run("showmigrations", "--history")[0]
    out, _ = project.run("rollback", "--yes")
    assert "rolled back  0001_add_lang" in out
    assert [event["state"] for event in project.json("showmigrations")["history"]] == ["applied", "rolled back"]
    assert project.json("check")["good"] is True


def test_a_second_migration_depends_on_the_first(project: Project) -> None:
    changed(project)
    project.run("makemigrations", "--default", 'Note.lang="en"')
    project.run("makemigrations", "--empty", "--name", "By hand")
    text = (project.root / "migrations" / "0002_by_hand.py").read_text(encoding="utf-8")
    assert '.depends_on("0001_add_lang")' in text
    assert [step["name"] for step in project.json("migrate")["steps"]] == ["0001_add_lang", "0002_by_hand"]


def test_what_nobody_can_be_asked_about_is_told_with_the_answer_to_type(project: Project) -> None:
    changed(project)
    _, err = project.run("makemigrations", code=2)
    assert "Note.lang is new, required and has no default" in err
    assert "next: debros makemigrations --default Note.lang=VALUE" in err
    project.write_models("1.1.0", '    body: Field[str] = field(default="")')
    models = project.root / project.package / "models.py"
    models.write_text(models.read_text().replace('    text: Field[str] = field(default="")\n', ""))
    _, err = project.run("makemigrations", code=2)
    assert "was Note.text renamed to Note.body?" in err
    assert "--rename Note.text=body, or --no-rename" in err
    assert project.json("makemigrations", "--rename", "Note.text=body")["operations"] == [
        '.rename_field("Note", "text", "body")'
    ]


def test_a_field_that_went_and_one_that_came_are_two_when_they_are_said_to_be(project: Project) -> None:
    changed(project, more='    body: Field[str] = field(default="")')
    models = project.root / project.package / "models.py"
    models.write_text(models.read_text().replace('    text: Field[str] = field(default="")\n', ""))
    told = project.json("makemigrations", "--no-rename")
    assert told["operations"] == ['.remove_field("Note", "text", type=str)']
    assert told["notes"] == ["Note.body is new and has a default: no migration needed"]


def test_a_version_that_was_not_raised_is_refused_with_the_line_to_write(project: Project) -> None:
    changed(project, version="1.0.0")
    _, err = project.run("makemigrations", "--default", 'Note.lang="en"', code=1)
    assert "still declares version '1.0.0'; next: @model(..., version=\"1.1.0\")" in err


def test_a_broken_migration_file_is_named_and_nothing_is_done(project: Project) -> None:
    changed(project)
    (project.root / "migrations" / "0001_broken.py").write_text("1 / 0\n")
    for verb in (["migrate"], ["showmigrations"], ["makemigrations"]):
        _, err = project.run(*verb, code=1)
        assert "0001_broken.py cannot be used: ZeroDivisionError" in err


def test_rolling_back_without_yes_where_nobody_can_be_asked_is_refused(project: Project) -> None:
    changed(project)
    project.run("makemigrations", "--default", 'Note.lang="en"')
    project.run("migrate")
    _, err = project.run("rollback", code=2)
    assert "next: debros rollback --yes" in err
    _, err = project.run("rollback", "nothing", "--yes", code=1)
    assert "there is no migration or version 'nothing'" in err


def test_a_folder_that_cannot_be_written_is_told(project: Project) -> None:
    (project.root / "migrations").write_text("a file where the folder should be")
    _, err = project.run("makemigrations", code=1)
    assert "cannot be made" in err


def test_laws_are_tried_and_what_breaks_them_is_shown(project: Project) -> None:
    changed(project)
    (project.root / "migrations" / "0001_bad.py").write_text(
        "from debros import migration\n"
        "m = (migration('0001_bad', '1.1.0').add_field('Note', 'lang', default='en')\n"
        "     .transform('Note', up=lambda r: {**r, 'text': r['text'].upper()}, down=lambda r: {**r, 'text': r['text'].lower()}))\n"
    )
    told = project.json("check", "--laws", code=1)
    assert any("0001_bad: down does not undo up: text was" in remark["text"] for remark in told["remarks"])


def test_a_database_that_a_newer_program_migrated_still_opens_with_the_older_one(project: Project) -> None:
    changed(project)
    project.run("makemigrations", "--default", 'Note.lang="en"')
    project.run("migrate")
    (project.root / "migrations" / "0001_add_lang.py").unlink()
    project.write_models("1.0.0")
    [step] = project.json("showmigrations")["migrations"]
    assert (step["name"], step["state"]) == ("0001_add_lang", "unknown")
    assert "'Bob'" in project.run("shell", "--command", "(await Note.get('b')).text")[0]


def test_a_changed_sharding_declaration_is_written_applied_and_taken_back(project: Project) -> None:
    def declare(version: str, n: int) -> None:
        project.write_models(version)
        models = project.root / project.package / "models.py"
        text = models.read_text(encoding="utf-8").replace(
            'name="Note"', f'name="Note", sharding=hash_shards("id", {n})'
        )
        models.write_text(
            text.replace("import debros\n", "import debros\nfrom debros import hash_shards\n", 1), "utf-8"
        )

    declare("1.0.0", 2)
    project.run("makemigrations")
    project.fill()
    declare("1.1.0", 3)
    _, err = project.run("shell", "--command", "await Note.count()", code=1)
    assert "next: debros makemigrations" in err
    assert project.json("makemigrations")["operations"] == ['.reshard("Note", 3, was=2)']
    out, _ = project.run("migrate", "--plan")
    assert "reshard Note: 2 to 3 shards" in out
    assert "applied  0001_reshard 1.1.0" in project.run("migrate")[0]
    assert len(project.json("shards")["models"]["Note"]["shards"]) == 5
    assert "rolled back  0001_reshard" in project.run("rollback", "--yes")[0]
    assert project.json("makemigrations")["changed"] is False


def test_a_default_that_is_no_python_is_refused_before_anything_is_written(project: Project) -> None:
    changed(project)
    for wrong in ("en", "en en", "'en", "Locale('en')"):
        told = project.json("makemigrations", "--default", f"Note.lang={wrong}", code=2)
        assert "text stands in quotes" in told["error"]["message"]
    assert [path.name for path in (project.root / "migrations").iterdir()] == ["snapshot.json"]
    price = "Note.lang=str(Decimal('1.5'))"
    assert project.json("makemigrations", "--default", price)["written"] == ["0001_add_lang"]


def test_an_answer_to_nothing_that_is_asked_is_refused(project: Project) -> None:
    changed(project)
    right = ("--default", "Note.lang='en'")
    for wrong in (("--rename", "text=body"), ("--rename", "Note.text=body"), ("--default", "Note.nothing=1")):
        told = project.json("makemigrations", *right, *wrong, code=2)
        assert f"{wrong[0]} {wrong[1].partition('=')[0]}" in told["error"]["message"]
    assert [path.name for path in (project.root / "migrations").iterdir()] == ["snapshot.json"]


def test_migrate_with_nothing_to_apply_says_that_the_models_have_changed(project: Project) -> None:
    changed(project)
    out, _ = project.run("migrate")
    assert "nothing is pending" in out
    assert "Note since the last snapshot; next: debros makemigrations" in out


def test_a_field_that_may_be_null_no_more_and_changes_its_type_has_a_value_for_null(project: Project) -> None:
    project.write_models("1.0.0", "    score: Field[float | None] = field(default=None)")
    project.run("makemigrations")
    project.fill()
    project.write_models("1.1.0", "    score: Field[int] = field(default=0)")
    project.run("makemigrations")
    project.run("migrate")
    assert project.run("shell", "--command", "[note.score for note in await Note.all()]")[0].strip() == "[0, 0]"


def test_makemigrations_that_was_cut_off_is_typed_again_and_writes_nothing_twice(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    changed(project)
    with monkeypatch.context() as patch:
        patch.setattr("debros.migrations.snapshot.write", cut_off)
        project.run("makemigrations", "--default", 'Note.lang="en"', code=130)
    folder = project.root / "migrations"
    assert {path.name for path in folder.glob("*.*")} == {"0001_add_lang.py", "snapshot.json"}
    assert project.json("makemigrations", "--default", 'Note.lang="en"')["written"] == []
    assert project.json("makemigrations")["changed"] is False
    assert [path.name for path in folder.glob("*.py")] == ["0001_add_lang.py"]
    project.run("migrate")
    assert project.json("check")["good"] is True


def test_files_of_a_project_are_on_disk_before_they_take_the_place_of_old_ones(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def note(what: str, path: Path) -> None:
        if path.is_relative_to(project.root.resolve()):  # Python replaces files too, of compiled modules
            done.append(f"{what} {path.name}")

    def noted_sync(descriptor: int) -> None:
        note("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    def noted_replace(old: Path, new: Path) -> None:
        note("replace", Path(new).resolve())
        replace(old, new)

    changed(project)
    monkeypatch.setattr("os.fsync", noted_sync)
    monkeypatch.setattr("os.replace", noted_replace)
    project.run("makemigrations", "--default", 'Note.lang="en"')
    assert done == [
        "sync 0001_add_lang.new", "replace 0001_add_lang.py", "sync migrations",
        "sync snapshot.new", "replace snapshot.json", "sync migrations",
    ]  # fmt: skip
    done.clear()
    (project.root / "pyproject.toml").write_text("[tool.mine]\nkept = true\n")
    project.run("init")
    assert done == ["sync pyproject.new", "replace pyproject.toml", f"sync {project.root.name}"]
    assert "kept = true" in (project.root / "pyproject.toml").read_text()


BY_HAND = """
from debros import migration

m0001 = migration("0001_lang", "1.1.0").add_field("Note", "lang", default="en")
"""


def test_a_migration_that_was_typed_is_noted_and_not_written_again(project: Project) -> None:
    changed(project)
    (project.root / "migrations" / "0001_lang.py").write_text(BY_HAND)
    project.run("migrate")
    out, _ = project.run("check", code=1)
    assert "Note changed since the last snapshot" in out
    assert "with --by-hand" in out
    _, err = project.run("makemigrations", "--default", 'Note.lang="en"', code=2)
    assert "nothing is written" in err
    assert "next: debros makemigrations --by-hand" in err
    assert sorted(path.name for path in (project.root / "migrations").glob("*.py")) == ["0001_lang.py"]
    _, err = project.run("makemigrations", "--by-hand", "--check", code=2)
    assert "takes no other option" in err
    assert project.json("makemigrations", "--by-hand")["changed"] is True
    assert project.json("check")["good"] is True
    assert project.json("makemigrations")["changed"] is False
    assert project.json("migrate")["steps"] == []


def test_migrations_that_contradict_the_models_are_not_noted(project: Project) -> None:
    changed(project)
    (project.root / "migrations" / "0001_lang.py").write_text(BY_HAND.replace("lang", "wrong"))
    _, err = project.run("makemigrations", "--by-hand", code=2)
    assert "the migrations do not fit the models" in err
    assert "wrong" in err
