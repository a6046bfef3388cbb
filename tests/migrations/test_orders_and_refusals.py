"""Migrations that contradict each other, the models or the disk are refused, with what to do next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from debros import Field, Migration, MigrationError, Model, field, migration, model
from debros.migrations.files import load
from debros.migrations.graph import ordered
from tests.support.nodes import a_node


@model(name="Note", version="1.2.0")
class Note(Model):
    text: Field[str] = field(default="")
    stars: Field[int] = field(default=0)


def names(*given: Migration) -> list[str]:
    return [each.name for each in ordered(given)]


def test_they_apply_by_version_and_dependencies_before_those_that_need_them() -> None:
    a = migration("a", "1.2.0").add_field("Post", "x")
    b = migration("b", "1.1.0").add_field("Post", "y")
    c = migration("c", "1.1.0").add_field("Post", "z").depends_on("d")
    d = migration("d", "1.1.0").add_field("Post", "w").depends_on("b")
    assert names(a, c, d, b) == ["b", "d", "c", "a"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([migration("a", "1.0.0"), migration("a", "1.1.0")], "two migrations are called 'a'"),
        ([migration("a", "1.0.0").depends_on("befor"), migration("before", "1.0.0")], "did you mean 'before'?"),
        ([migration("a", "1.0.0").depends_on("b"), migration("b", "2.0.0")], "which is of a later version"),
        (
            [migration("a", "1.0.0").depends_on("b"), migration("b", "1.0.0").depends_on("a")],
            "depend on each other in a ring: a -> b -> a",
        ),
        (
            [migration("a", "1.1.0").add_field("Post", "x"), migration("b", "1.1.0").add_field("Post", "y")],
            'a and b are two branches: both bring Post to 1.1.0; give one a later version, or say which comes first: `.depends_on("a")`',
        ),
        (["a"], "is no migration"),
    ],
)
def test_a_set_of_migrations_without_an_order_is_refused(given: list[Any], told: str) -> None:
    with pytest.raises(MigrationError, match=r".") as raised:
        ordered(given)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: migration("", "1.0.0"),
        lambda: migration("a/b", "1.0.0"),
        lambda: migration("a", "1.0"),
        lambda: migration("a", "1.0.1000"),
        lambda: migration("a", "1.0.0").add_field("Post", "id"),
        lambda: migration("a", "1.0.0").add_field(3, "x"),
        lambda: migration("a", "1.0.0").transform("Post", up="no function"),  # type: ignore[arg-type]
        lambda: migration("a", "1.0.0").transform("Post", up=None),  # type: ignore[arg-type]
        lambda: migration("a", "1.0.0").copy_to("Post", "Other", batch=0),
        lambda: migration("a", "1.0.0").add_index("Post", "no name"),
        lambda: migration("a", "1.0.0").depends_on("no name"),
        lambda: migration("a", "1.0.0").run(None),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_declaration_is_refused_where_it_is_written(make: Callable[[], object]) -> None:
    with pytest.raises(MigrationError):
        make()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (migration("a", "1.1.0").add_field("Note", "star"), "declares no field 'star'; did you mean 'stars'?"),
        (migration("a", "1.1.0").remove_field("Note", "stars"), "still declares it"),
        (migration("a", "1.1.0").rename_field("Note", "stars", "text"), "still has a field 'stars'"),
        (migration("a", "1.3.0").add_field("Note", "stars"), 'next: @model(version="1.3.0")'),
    ],
)
async def test_a_migration_that_does_not_fit_its_model_is_refused_at_open(wrong: Migration, told: str) -> None:
    with pytest.raises(MigrationError) as raised:
        async with a_node(Note, migrations=[wrong]):
            pass
    assert told in str(raised.value)


def test_a_folder_gives_its_migrations_and_passes_over_private_files(tmp_path: Path) -> None:
    (tmp_path / "_draft.py").write_text("raise SystemError", encoding="utf-8")
    (tmp_path / "b.py").write_text(
        "from debros import migration\nsecond = migration('b', '1.1.0').depends_on('a')\n_hidden = migration('c', '1.0.0')\n"
    )
    (tmp_path / "a.py").write_text("from debros import migration\nfirst = migration('a', '1.0.0')\nalias = first\n")
    assert [each.name for each in load(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize("text", ["this is no python", "1 / 0", "from debros import migration\nmigration('a', 'x')"])
def test_a_broken_file_is_named_with_what_is_wrong(text: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(text, encoding="utf-8")
    with pytest.raises(MigrationError, match=r"broken\.py cannot be used: .*; correct the file"):
        load(tmp_path)


@pytest.mark.parametrize("source", ["no/such/folder", "no_such_package"])
def test_a_source_that_is_not_there_is_refused(source: str) -> None:
    with pytest.raises(MigrationError):
        load(source)
