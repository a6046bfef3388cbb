"""Lifecycle, run-time configuration, status, health, metrics: the rows of the framework's table."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

import debros
from debros import ConfigError, Field, Model, StorageError, StoreLockedError, UniqueError, field, migration, model
from debros.histogram import BOUNDS_S, Histogram
from debros.opening import open as open_node
from tests.support.nodes import a_node


@model(version="1.1.0")
class Thing(Model):
    name: Field[str] = field(unique=True)
    size: Field[int] = field(default=0)


# -- lifecycle


async def test_lifecycle_a_node_opens_closes_and_opens_again_with_what_was_written(tmp_path: Path) -> None:
    for n in range(2):
        async with open_node(str(tmp_path / "home"), models=[Thing]) as node:
            await Thing.create(name=f"thing {n}")
            assert await Thing.count() == n + 1
        assert (await node.health()).state == "bad"


async def test_lifecycle_opening_twice_is_an_error_and_a_failing_opening_cleans_up(tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    async with open_node(home, models=[Thing]):
        with pytest.raises(StoreLockedError):
            async with open_node(home, models=[Thing]):
                pass
        await Thing.create(name="a")
    for wrong in ({"app": "another"}, {"durability": "never"}):  # the first takes the lock, then refuses
        with pytest.raises(ConfigError):
            async with open_node(home, models=[Thing], **wrong):  # type: ignore[arg-type]
                pass
    async with open_node(home, models=[Thing]):
        assert await Thing.count() == 1


# -- configuration


async def test_configuration_update_at_run_time_takes_effect_and_is_validated() -> None:
    async with a_node(Thing) as node:
        await Thing.create(name="a")
        assert node.cache.stats().max_entries == 2000
        assert node.configure(query_cache=5, relation_cache=7, slow_query_s=0.5).query_cache == 5
        assert (node.cache.stats().max_entries, node.slow_queries.threshold_s) == (12, 0.5)
        for wrong, told in (
            ({"query_cache": -1}, "query_cache should be"),
            ({"quer_cache": 1}, "did you mean 'query_cache'?"),
            ({"durability": "process"}, "is read when a node is opened"),
        ):
            with pytest.raises(ConfigError, match=re.escape(told)):
                node.configure(**wrong)
        assert node.config.query_cache == 5


@pytest.mark.parametrize(
    ("preset", "query_cache", "auto_migrate"),
    [("development", 100, True), ("production", 10_000, False), ("testing", 0, True)],
)
async def test_presets_set_caches_and_migrations(preset: Any, query_cache: int, auto_migrate: bool) -> None:
    async with a_node(Thing, config=preset) as node:
        assert (node.config.query_cache, node.config.auto_migrate) == (query_cache, auto_migrate)


# -- status and health


async def test_status_tells_version_uptime_and_what_is_open(tmp_path: Path) -> None:
    async with open_node(str(tmp_path / "home"), models=[Thing]) as node:
        status = node.status()
        assert status.version
        assert status.uptime_s >= 0
        assert (status.models, status.entries) == (("Thing",), 0)


async def test_health_of_a_node_that_is_well_has_no_reasons(tmp_path: Path) -> None:
    async with open_node(str(tmp_path / "home"), models=[Thing]) as node:
        health = await node.health()
        assert (health.state, health.is_healthy, health.reasons) == ("good", True, ())
        assert [each.name for each in health.components] == [
            "node",
            "log",
            "stores",
            "view",
            "records",
            "disk",
            "migrations",
            "peers",
        ]


async def test_health_names_pending_migrations_a_failing_view_and_a_closed_node(tmp_path: Path) -> None:
    step = migration("size", "1.1.0").add_field(Thing, "size", default=1)
    async with open_node(str(tmp_path / "home"), models=[Thing], migrations=[step]) as node:
        health = await node.health()
        assert (health.state, health.is_healthy) == ("degraded", True)
        assert health.reasons == ("migrations: size pending; next: debros migrate",)
        node.store.flush_failure = StorageError("no room")
        assert (await node.health())["view"].last_error == "no room"
        assert (await node.health()).state == "bad"
        node.store.flush_failure = None
    assert "node: it is closed" in (await node.health()).reasons[0]


# -- metrics


async def test_metrics_count_writes_reads_failures_and_caches() -> None:
    async with a_node(Thing) as node:
        await Thing.create(name="a")
        await Thing.create_many([{"name": "b"}, {"name": "c"}])
        async with node.transaction():
            await Thing.create(name="d")
        with pytest.raises(UniqueError):
            await Thing.create(name="a")
        for _ in range(3):
            assert len(await Thing.query().cache(60).all()) == 4
        found = node.metrics()
        assert (found.models, found.commits, found.entries) == (1, 3, 3)
        assert found.entries_admitted == {"local": 3, "remote": 0}
        assert found.changes_admitted == {"local": 4, "remote": 0}
        assert found.failed_operations == {"unique": 1}
        assert (found.cache_requests, found.cache_hits) == (3, 2)
        assert found.cache_hit_rate == pytest.approx(2 / 3)
        assert found.queries >= 1
        assert found.query_times.count == found.queries
        assert found.to_dict()["commits"] == 3


async def test_metrics_as_prometheus_reads_them() -> None:
    async with a_node(Thing) as node:
        await Thing.create(name="a")
        text = node.metrics().prometheus()
    lines = text.splitlines()
    assert 'debros_entries_admitted_total{origin="local"} 1' in lines
    assert "# TYPE debros_commit_seconds histogram" in lines
    assert 'debros_commit_seconds_bucket{le="+Inf"} 1' in lines
    assert "debros_commit_seconds_count 1" in lines
    for line in lines:
        assert re.fullmatch(r"# (HELP|TYPE) debros_\w+ .+|debros_\w+(\{\w+=\"[^\"]+\"\})? [-+0-9.e]+", line), line
    typed = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(typed) == len(set(typed))


def test_a_histogram_counts_between_bounds_and_tells_quantiles() -> None:
    histogram = Histogram()
    assert (histogram.mean_s, histogram.quantile_s(0.5)) == (0.0, 0.0)
    for seconds in (0.00005, BOUNDS_S[0], 0.03, 99.0):
        histogram.observe(seconds)
    assert histogram.counts[0] == 2
    assert (histogram.count, histogram.counts[-1]) == (4, 1)
    assert (histogram.quantile_s(0.5), histogram.quantile_s(1.0)) == (BOUNDS_S[0], float("inf"))


async def test_migrations_applied_and_pending_are_counted() -> None:
    step = migration("size", "1.1.0").add_field(Thing, "size", default=1)
    async with a_node(Thing, migrations=[step]) as node:
        assert (node.metrics().migrations_pending, node.metrics().migrations_applied) == (1, 0)
        await node.migrations.apply()
        assert (node.metrics().migrations_pending, node.metrics().migrations_applied) == (0, 1)


# -- caches and slow queries


async def test_caches_are_warmed_and_cleared() -> None:
    async with a_node(Thing) as node:
        await Thing.create(name="a")
        assert await node.cache.warm(Thing.query()) == 1
        assert node.cache.stats().entries == 1
        node.cache.clear()
        assert node.cache.stats().entries == 0
        assert node.metrics().cache_bytes == {"queries": 0, "relations": 0}


async def test_slow_queries_are_kept_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with a_node(Thing) as node:
        node.configure(slow_query_s=1e-9)
        with caplog.at_level(logging.WARNING, "debros.query"):
            await Thing.all()
        assert node.slow_queries.newest()[-1].model == "Thing"
        assert node.metrics().slow_queries >= 1
        assert "slow query" in caplog.text


def test_framework_errors_have_codes_and_data() -> None:
    assert debros.ConfigError("x").code == "config"
    assert debros.MigrationPendingError("Post", "size").migration == "size"
