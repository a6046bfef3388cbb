"""What the settings are, and what a wrong one says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import pytest

from debros.config import PRESETS, Config, load
from debros.errors import ConfigError


def settings(**given: Any) -> Config:
    """Load from one source of the test's choice, in a place that has no others."""
    sources: dict[str, Any] = {"preset": None, "arguments": {}, "environ": {}, "cwd": Path("/")}
    return load(None, **(sources | given))


def test_without_any_source_the_defaults_hold() -> None:
    assert settings() == Config()
    assert Config().durability == "disk"
    assert Config().app == "default"


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Config().durability = "process"


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_made_of_settings(name: str) -> None:
    config = settings(preset=name)
    assert {key: getattr(config, key) for key in PRESETS[name]} == PRESETS[name]  # type: ignore[index]  # a Literal


def test_a_preset_that_does_not_exist_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"'develop' is not a preset; did you mean 'development'\?"):
        settings(preset="develop")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"durability": "tape"}, "durability should be 'disk' or 'process', not 'tape'"),
        ({"row_cache": 0}, "row_cache should be greater than or equal to 1, not 0"),
        ({"row_cache": True}, "row_cache should be a number, not true or false, not True"),
        ({"flush_rows": 100_001}, "flush_rows should be less than or equal to 100000, not 100001"),
        ({"flush_rows": "many"}, "flush_rows should be a valid integer"),
        ({"max_segment_bytes": 1}, "max_segment_bytes should be greater than or equal to 4096, not 1"),
        ({"app": "My Blog"}, "app should be 1 to 64 of a-z, 0-9 and -, not 'My Blog'"),
        ({"app": "x" * 65}, "app should be 1 to 64 of a-z, 0-9 and -"),
        ({"app": ""}, "app should be 1 to 64 of a-z, 0-9 and -, not ''"),
        ({"durabilty": "disk"}, "durabilty is not a setting; did you mean 'durability'?"),
        ({"zzz": 1}, "zzz is not a setting; settings are durability, app, serve, row_cache"),
    ],
)
def test_a_wrong_setting_says_what_would_be_right(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as by_argument:
        settings(arguments=values)
    with pytest.raises(ConfigError) as by_config:
        Config(**values)
    assert str(by_argument.value).startswith(f"debros.open: {told}")
    assert str(by_config.value).startswith(f"debros.Config: {told}")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        settings(arguments={"flush_rows": 0}, environ={"DEBROS_DURABILITY": "tape"})
    assert "debros.open: flush_rows" in str(refused.value)
    assert "environment: DEBROS_DURABILITY" in str(refused.value)
