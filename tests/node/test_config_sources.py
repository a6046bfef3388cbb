"""Where settings come from, and which source counts most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from debros.config import Config, load
from debros.errors import ConfigError


class Place:
    """A home, and a project folder to stand in."""

    def __init__(self, root: Path) -> None:
        self.home, self.project = root / "home", root / "project"
        self.cwd = self.project / "src" / "deep"
        self.home.mkdir()
        self.cwd.mkdir(parents=True)

    def home_says(self, text: str) -> Path:
        path = self.home / "debros.toml"
        path.write_text(text, encoding="utf-8")
        return path

    def project_says(self, text: str, folder: Path | None = None) -> Path:
        path = (folder or self.project) / "pyproject.toml"
        path.write_text(text, encoding="utf-8")
        return path

    def load(
        self, preset: str | Config | None = None, environ: dict[str, str] | None = None, **arguments: Any
    ) -> Config:
        return load(self.home, preset=preset, arguments=arguments, environ=environ or {}, cwd=self.cwd)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_each_source_counts_more_than_those_below_it(place: Place) -> None:
    assert place.load().row_cache == 10_000
    assert place.load(preset="testing").row_cache == 1_000
    place.home_says("row_cache = 2")
    assert place.load(preset="testing").row_cache == 2
    place.project_says("[tool.debros]\nrow_cache = 3")
    assert place.load(preset="testing").row_cache == 3
    environ = {"DEBROS_ROW_CACHE": "4"}
    assert place.load(preset="testing", environ=environ).row_cache == 4
    assert place.load(preset=Config(row_cache=5), environ=environ).row_cache == 5
    assert place.load(preset=Config(row_cache=5), environ=environ, row_cache=6).row_cache == 6


def test_sources_are_merged_setting_by_setting(place: Place) -> None:
    place.home_says('app = "blog-k3x9q7"')
    place.project_says("[tool.debros]\nflush_rows = 7")
    config = place.load(preset="development", environ={"DEBROS_ROW_CACHE": "9"}, max_segment_bytes=8192)
    assert config == Config(
        durability="process", app="blog-k3x9q7", row_cache=9, flush_rows=7, max_segment_bytes=8192, query_cache=100,
        query_cache_ttl_s=60, auto_migrate=True, environment="development",
    )  # fmt: skip


def test_what_a_config_left_at_its_default_does_not_hide_the_other_sources(place: Place) -> None:
    place.home_says('durability = "process"')
    assert place.load(preset=Config(row_cache=5)).durability == "process"


def test_an_argument_of_none_was_not_given(place: Place) -> None:
    place.home_says('app = "blog"')
    assert place.load(app=None).app == "blog"


def test_other_environment_variables_are_left_alone(place: Place) -> None:
    assert place.load(environ={"HOME": "/root", "XDEBROS_APP": "!", "APP": "?"}) == Config()


def test_the_nearest_pyproject_above_the_working_directory_is_read(place: Place) -> None:
    place.project_says("[tool.debros]\nrow_cache = 3")
    place.project_says("[tool.debros]\nrow_cache = 4", folder=place.cwd.parent)
    assert place.load().row_cache == 4


@pytest.mark.parametrize("text", ["", "tool = 3", '[tool.other]\nrow_cache = "x"\n[project]\nname = "p"'])
def test_a_pyproject_without_our_table_says_nothing(place: Place, text: str) -> None:
    place.project_says(text)
    assert place.load() == Config()


def test_a_home_in_memory_has_no_file(place: Place) -> None:
    place.home_says("row_cache = 2")
    assert load(None, preset=None, arguments={}, environ={}, cwd=place.cwd).row_cache == 10_000


def test_a_wrong_setting_names_the_place_it_stands_in(place: Place) -> None:
    path = place.home_says('durability = "tape"')
    with pytest.raises(ConfigError) as refused:
        place.load()
    assert str(refused.value) == f"{path}: durability should be 'disk' or 'process', not 'tape'"

    place.home_says("")
    path = place.project_says("[tool.debros]\nrow_chache = 1")
    with pytest.raises(ConfigError) as refused:
        place.load()
    assert str(refused.value) == f"{path} [tool.debros]: row_chache is not a setting; did you mean 'row_cache'?"

    place.project_says("")
    with pytest.raises(ConfigError) as refused:
        place.load(environ={"DEBROS_ROW_CACHE": "lots"})
    assert str(refused.value).startswith("environment: DEBROS_ROW_CACHE should be a valid integer")


def test_an_unknown_environment_variable_of_ours_is_an_error(place: Place) -> None:
    with pytest.raises(ConfigError, match="environment: DEBROS_DURABILTY is not a setting; did you mean 'durability'"):
        place.load(environ={"DEBROS_DURABILTY": "disk"})


@pytest.mark.parametrize("text", ["row_cache = ", "row_cache = 1\nrow_cache = 2", "[tool"])
def test_a_file_that_is_not_toml_is_named(place: Place, text: str) -> None:
    path = place.home_says(text)
    with pytest.raises(ConfigError, match="cannot be read") as refused:
        place.load()
    assert str(path) in str(refused.value)


def test_a_mark_that_an_editor_puts_first_is_no_part_of_the_file(place: Place) -> None:
    place.home_says("\ufeffrow_cache = 5\n")
    assert place.load().row_cache == 5


def test_a_directory_in_place_of_the_file_is_named(place: Place) -> None:
    (place.home / "debros.toml").mkdir()
    with pytest.raises(ConfigError, match=r"debros\.toml cannot be read"):
        place.load()


def test_a_table_of_the_environment_that_is_no_json_says_so(place: Place) -> None:
    with pytest.raises(
        ConfigError, match=r"DEBROS_SHARDS should be a table in JSON, which it is not \(.*\), not '\[1'"
    ):
        place.load(environ={"DEBROS_SHARDS": "[1"})


def test_a_file_that_is_not_text_is_named(place: Place) -> None:
    path = place.home_says("")
    path.write_bytes(b"app = \xff")
    with pytest.raises(ConfigError, match="cannot be read") as refused:
        place.load()
    assert str(path) in str(refused.value)


def test_something_else_in_place_of_the_table_is_an_error(place: Place) -> None:
    path = place.project_says("[tool]\ndebros = 3")
    with pytest.raises(ConfigError) as refused:
        place.load()
    assert str(refused.value) == f"{path} [tool.debros] should be a table of settings, not 3"
