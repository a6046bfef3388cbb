"""`debros.open` asks every source of settings, and the node does what they say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import debros
from debros import Config, Field, Model, model


@model(scope="global")
class Page(Model):
    text: Field[str]


class Stand:
    """A home, and a project folder that the process stands in."""

    def __init__(self, root: Path) -> None:
        self.home, self.project = root / "home", root / "project"
        self.project.mkdir()

    def project_says(self, text: str) -> None:
        (self.project / "pyproject.toml").write_text(f"[tool.debros]\n{text}\n", encoding="utf-8")

    def home_says(self, text: str) -> None:
        self.home.mkdir(exist_ok=True)
        (self.home / "debros.toml").write_text(text, encoding="utf-8")

    async def row_cache(self, home: str | os.PathLike[str] | None = None, **arguments: Any) -> int:
        async with debros.open(home or self.home, models=[Page], **arguments) as db:
            return db.config.row_cache


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    for name in [name for name in os.environ if name.startswith("DEBROS_")]:
        monkeypatch.delenv(name)
    stand = Stand(tmp_path)
    monkeypatch.chdir(stand.project)
    return stand


async def test_each_source_counts_more_than_those_below_it(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await stand.row_cache() == 10_000
    assert await stand.row_cache(config="testing") == 1_000
    stand.home_says("row_cache = 2")
    assert await stand.row_cache(config="testing") == 2
    stand.project_says("row_cache = 3")
    assert await stand.row_cache(config="testing") == 3
    monkeypatch.setenv("DEBROS_ROW_CACHE", "4")
    assert await stand.row_cache(config="testing") == 4
    assert await stand.row_cache(config=Config(row_cache=5)) == 5
    assert await stand.row_cache(config=Config(row_cache=5), row_cache=6) == 6


async def test_a_node_in_memory_asks_the_project_and_the_environment(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.project_says("row_cache = 3")
    assert await stand.row_cache(":memory:") == 3
    monkeypatch.setenv("DEBROS_ROW_CACHE", "4")
    assert await stand.row_cache(":memory:") == 4


async def test_the_name_of_the_application_may_come_from_the_project(stand: Stand) -> None:
    stand.project_says('app = "blog-k3x9q7"')
    async with debros.open(stand.home, models=[Page]) as db:
        assert db.status().app == "blog-k3x9q7"
    async with debros.open(stand.home, app="other", models=[Page]) as db:
        assert db.status().app == "other"


async def test_presets_say_how_durable_a_write_is(stand: Stand) -> None:
    told = []
    for preset in ("development", "testing", "production"):
        async with debros.open(stand.home, models=[Page], config=preset) as db:
            told.append((preset, db.status().durability))
    assert told == [("development", "process"), ("testing", "process"), ("production", "disk")]


@pytest.mark.parametrize(("durability", "synced"), [("disk", True), ("process", False)])
async def test_durability_reaches_the_disk(
    durability: str, synced: bool, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.home_says(f'durability = "{durability}"')
    async with debros.open(stand.home, models=[Page]):
        await Page.create(text="the first one makes the log")
        calls: list[int] = []
        monkeypatch.setattr("os.fdatasync", calls.append)
        await Page.create(text="second")
        assert bool(calls) is synced


async def test_the_size_of_a_segment_reaches_the_log(stand: Stand) -> None:
    stand.home_says("max_segment_bytes = 4096")
    async with debros.open(stand.home, models=[Page]):
        for _ in range(3):
            await Page.create(text="x" * 3_000)
    assert len(list((stand.home / "log").glob("*.car"))) >= 3
    async with debros.open(stand.home, models=[Page]):
        assert await Page.count() == 3


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ({"row_cash": 3}, "debros.open: row_cash is not a setting; did you mean 'row_cache'?"),
        ({"durability": "memory"}, "debros.open: durability should be 'disk' or 'process', not 'memory'"),
        ({"config": "prodution"}, "'prodution' is not a preset; did you mean 'production'?"),
        ({"app": "My App"}, "debros.open: app should be 1 to 64 of a-z, 0-9 and -, not 'My App'"),
    ],
)
async def test_a_wrong_setting_is_told_before_anything_is_made(
    arguments: dict[str, Any], place: str, stand: Stand
) -> None:
    with pytest.raises(debros.ConfigError) as caught:
        await stand.row_cache(**arguments)
    assert place in str(caught.value)
    assert not stand.home.exists()


async def test_a_wrong_setting_of_a_file_names_the_file(stand: Stand) -> None:
    stand.home_says("row_cache = 'many'")
    with pytest.raises(debros.ConfigError) as caught:
        await stand.row_cache()
    assert f"{stand.home / 'debros.toml'}: row_cache" in str(caught.value)
