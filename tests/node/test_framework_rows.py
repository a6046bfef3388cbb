"""The framework's table, row by row: each test is named after its row, or after one thing that its row names."""

from __future__ import annotations

import logging
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

import debros
from debros import (
    ConfigError,
    DeadlineError,
    Field,
    File,
    Identity,
    IdentityError,
    Model,
    ModelError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
    StoreLockedError,
    field,
    health,
    migration,
    model,
)
from debros.identity.did import did_of
from debros.net.memory import MemoryNetwork
from debros.opening import open as open_node
from tests.support.nodes import a_node
from tests.support.peers import in_virtual_time, peer
from tests.support.versions import meet


@model(version="1.1.0", name="Crate")
class Crate(Model):
    name: Field[str] = field(index=True)
    size: Field[int] = field(default=0)
    photo: Field[File | None] = field(default=None)


@model(name="Rule", write="admins")
class Rule(Model):
    text: Field[str] = field(default="")


# -- lifecycle ---------------------------------------------------------------------------------------------------------


async def test_lifecycle(tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    for n in range(2):  # create, start, stop, and once more
        async with open_node(home, models=[Crate], row_cache=77) as node:
            assert node.config.row_cache == 77, "overridden"
            await Crate.create(name=f"crate {n}")
            with pytest.raises(StoreLockedError):
                async with open_node(home, models=[Crate]):
                    pass
        assert (await node.health()).state == "bad"
    with pytest.raises(ConfigError):
        async with open_node(home, models=[Crate], app="another"):
            pass
    async with open_node(home, models=[Crate]):  # the failure has left nothing behind
        assert await Crate.count() == 2


# -- configuration -----------------------------------------------------------------------------------------------------


async def test_configuration_features_are_switched_off_and_on() -> None:
    async with a_node(Crate, query_cache=0, relation_cache=0, content_pins=0, auto_migrate=False) as node:
        await Crate.create(name="a")
        await Crate.query().cache(60).all()
        await Crate.query().cache(60).all()
        assert node.metrics().cache_hits == 0
        node.configure(query_cache=10, auto_migrate=True)
        for _ in range(2):
            await Crate.query().cache(60).all()
        assert node.metrics().cache_hits == 1
        assert node.config.auto_migrate


async def test_configuration_a_query_is_given_up_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(str(tmp_path), models=[Crate]) as node:
        assert node.config.query_timeout_s == 30, "the default"
        await Crate.create(name="a")
        _stalled(node, monkeypatch)
        node.configure(query_timeout_s=0.01)
        with pytest.raises(DeadlineError, match=r"a query of Crate took more than query_timeout_s=0.01"):
            await Crate.where(Crate.name == "a").all()


def _stalled(node: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every query goes on beside the program, and never ends by itself; how many are at work."""
    at_work = [0]

    async def stalled(*_: Any) -> Any:
        at_work[0] += 1
        try:
            await trio.sleep_forever()
        finally:
            at_work[0] -= 1

    monkeypatch.setattr(node.store.reader, "quick", lambda *_: None)
    monkeypatch.setattr(node.store.reader, "_together", stalled)
    return at_work


async def test_configuration_so_many_long_queries_run_at_once_and_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_node(Crate, concurrent_queries=3) as node:
        at_work = _stalled(node, monkeypatch)
        async with trio.open_nursery() as nursery:
            for n in range(7):
                nursery.start_soon(Crate.where(Crate.size == n).all)
            await trio.testing.wait_all_tasks_blocked()
            assert at_work == [3]
            node.configure(concurrent_queries=5)
            await trio.testing.wait_all_tasks_blocked()
            assert at_work == [5]
            nursery.cancel_scope.cancel()
        assert at_work == [0]
        assert node.store.reader.places.borrowed_tokens == 0
    assert debros.Config().concurrent_queries == 100


async def test_configuration_a_migration_is_given_up_after_its_time_and_stays_pending(tmp_path: Path) -> None:
    async def stuck(_: Any) -> None:
        await trio.sleep_forever()

    step = migration("stuck", "1.1.0").run(stuck, undo=lambda db: None, models=("Crate",))
    async with open_node(str(tmp_path), models=[Crate], migrations=[step], migration_timeout_s=0.01) as node:
        with pytest.raises(DeadlineError, match=r"migration_timeout_s=0.01.*next: debros showmigrations"):
            await node.migrations.apply()
        assert node.migrations.pending_names() == ["stuck"]
        assert not node.migrations.is_running
    assert debros.Config().migration_timeout_s is None, "one that is given up would begin anew, for ever"


async def test_configuration_update_at_run_time_is_validated() -> None:
    async with a_node(Crate) as node:
        for wrong in (
            {"health_check_s": 0},
            {"concurrent_queries": True},
            {"query_timeout_s": -1},
            {"environment": "x"},
        ):
            with pytest.raises(ConfigError):
                node.configure(**wrong)
        assert node.config == debros.Config(**node.config.model_dump())


async def test_configuration_mock_mode_is_a_node_in_memory() -> None:
    async with open_node(":memory:", models=[Crate]) as node:
        await Crate.create(name="a")
        assert (node.home, await Crate.count()) == (":memory:", 1)


# -- presets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "cache", "ttl_s", "migrates"),
    [("development", 100, 60, True), ("production", 10_000, 600, False), ("testing", 0, 300, True)],
)
async def test_presets(preset: Any, cache: int, ttl_s: float, migrates: bool) -> None:
    async with a_node(Crate, config=preset) as node:
        found = node.config
        assert (found.query_cache, found.query_cache_ttl_s, found.auto_migrate) == (cache, ttl_s, migrates)
        assert node.status().environment == preset


# -- status and health -------------------------------------------------------------------------------------------------


async def test_status(tmp_path: Path) -> None:
    async with open_node(str(tmp_path), models=[Crate], environment="staging") as node:
        status = node.status()
        assert (status.environment, status.models, status.app) == ("staging", ("Crate",), "default")
        assert status.version == metadata.version("debros")
        assert status.uptime_s >= 0


def test_health_is_looked_at_every_30_s_and_a_change_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert debros.Config().health_check_s == 30
    told: list[tuple[str, str]] = []

    clock = trio.testing.MockClock()

    async def pass_s(seconds: float) -> None:
        await trio.testing.wait_all_tasks_blocked()
        clock.jump(seconds)
        await trio.testing.wait_all_tasks_blocked()

    async def main() -> None:
        async with open_node(str(tmp_path), models=[Crate]) as node:
            node.on_notice.append(lambda kind, data: told.append((kind, data.get("state", ""))))
            await pass_s(29)
            assert node.checks.last is None
            await pass_s(2)
            assert node.checks.last is not None
            assert (node.checks.last.state, told) == ("good", [])
            monkeypatch.setattr(health.shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
            for _ in range(2):
                await pass_s(30)
            assert told == [("health", "bad")], "told once"
            assert "1 MiB are free" in node.checks.last.reasons[0]
            monkeypatch.undo()
            node.configure(health_check_s=5)
            await pass_s(30)  # the one that was begun before
            assert told[1:] == [("health", "good")]

    with caplog.at_level(logging.INFO, "debros.audit"):
        trio.run(main, clock=clock)
    states = [record.facts["state"] for record in caplog.records if record.event == "health"]  # type: ignore[attr-defined]  # `extra=`
    assert states == ["bad", "good"]


async def test_health_names_each_component_with_its_last_error(tmp_path: Path) -> None:
    async with open_node(str(tmp_path), models=[Crate]) as node:
        assert [each.name for each in (await node.health()).components] == [
            "node", "log", "stores", "view", "records", "disk", "migrations", "peers",
        ]  # fmt: skip
        node.store.flush_failure = StorageError("no room")
        assert node.checks.check()["view"].last_error == "no room"
        node.store.flush_failure = None


# -- metrics -----------------------------------------------------------------------------------------------------------


async def test_metrics() -> None:
    async with a_node(Crate) as node:
        await Crate.create(name="a")
        await Crate.query().cache(60).all()
        assert await node.cache.warm(Crate.where(Crate.size == 0)) == 1
        found = node.metrics()
        assert (found.models, found.logs, found.shards, found.commits) == (1, 1, 0, 1)
        assert found.uptime_s >= 0
        assert found.query_mean_s > 0
        assert found.commit_mean_s > 0
        assert found.cache_bytes["queries"] > 0
        assert (found.slow_queries, found.failed_operations, found.migrations_pending) == (0, {}, 0)
        node.cache.clear()
        assert node.metrics().cache_bytes["queries"] == 0


# -- events and errors -------------------------------------------------------------------------------------------------


async def test_events_opened_and_closed_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "debros.audit"):
        async with open_node(str(tmp_path), models=[Crate], app="shop") as node:
            assert [record.event for record in caplog.records] == ["opened"]  # type: ignore[attr-defined]  # `extra=`
    assert [record.event for record in caplog.records] == ["opened", "closed"]  # type: ignore[attr-defined]  # as above
    assert caplog.records[0].facts == {"home": str(tmp_path), "app": "shop", "did": node.identity.did}  # type: ignore[attr-defined]  # as above


def test_errors_have_codes_and_data() -> None:
    for error, code in (
        (ConfigError("x"), "config"),
        (StorageError("x"), "storage"),
        (NotFoundError("Crate", ("a",)), "not_found"),
        (PermissionDeniedError("x"), "permission_denied"),
        (debros.TransportError("x", "gone"), "transport"),
        (debros.QueryError("x"), "query"),
    ):
        assert error.code == code
        assert isinstance(error, debros.DebrosError)
    assert NotFoundError("Crate", ("a",)).ids == ("a",)


# -- security ----------------------------------------------------------------------------------------------------------


async def test_security_permissions_are_checked_and_a_refusal_is_in_the_audit_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    admin, guest = Identity.generate(), Identity.generate()
    async with open_node(":memory:", models=[Rule], identity=guest, admins=[admin.did]) as node:
        with caplog.at_level(logging.INFO, "debros.audit"), pytest.raises(PermissionDeniedError):
            await Rule.create(text="mine")
        [record] = caplog.records
        assert record.event == "refused"  # type: ignore[attr-defined]  # `extra=`
        assert record.facts["by"] == guest.did  # type: ignore[attr-defined]  # as above
        async with node.acting_as(admin):
            await Rule.create(text="ours")


async def test_security_the_audit_log_is_signed_and_tells_who_gave_and_took_which_right(tmp_path: Path) -> None:
    admin, guest = Identity.generate(), Identity.generate()
    options: dict[str, Any] = {"models": [Crate], "admins": [admin.did], "open": False, "identity": admin}
    async with open_node(str(tmp_path), **options) as node:
        assert await node.audit() == []
        await node.grant(guest.did)
        async with node.acting_as(guest):
            await Crate.create(name="by a guest")
        await node.revoke(guest.did)
        found = await node.audit()
        assert [(one.kind, one.whom, one.by, one.counts) for one in found] == [
            ("grant", guest.did, admin.did, True),
            ("restore", guest.did, admin.did, True),
            ("revoke", guest.did, admin.did, True),
        ]
        assert {one.address for one in found} == {node.shared.manifest.address}
        assert all(one.cid.startswith("bafyrei") for one in found)
        assert found[0].at <= found[-1].at
    (tmp_path / "view.sqlite").unlink()
    async with open_node(str(tmp_path), **options) as node:
        assert await node.audit() == found, "it is in the log"


async def test_security_a_passphrase_encrypts_a_key_at_rest(tmp_path: Path) -> None:
    identity = Identity.generate()
    identity.save(tmp_path / "key", passphrase="correct horse")
    assert identity._key.seed() not in (tmp_path / "key").read_bytes()
    with pytest.raises(IdentityError):
        Identity.load(tmp_path / "key", passphrase="wrong")
    assert Identity.load(tmp_path / "key", passphrase="correct horse").did == identity.did


async def test_security_keys_are_rotated_without_a_new_identity() -> None:
    owner = Identity.generate()
    phones = [owner.new_device(), owner.new_device()]
    async with (
        open_node(":memory:", models=[Crate], identity=owner) as home,
        open_node(":memory:", models=[Crate], identity=phones[0]) as lost,
        open_node(":memory:", models=[Crate], identity=phones[1]) as new,
    ):
        with lost.current():
            await Crate.create(id="a", name="by the old key")
        await meet(home, lost)
        with home.current():
            await home.revoke(did_of(lost.device().public))  # what it wrote so far stays
        await meet(home, lost, new)
        with lost.current(), pytest.raises(PermissionDeniedError):
            await Crate.create(name="by a revoked key")
        with new.current():
            await Crate.create(id="b", name="by the new key")
        await meet(home, new)
        with home.current():
            assert {crate.id: crate.meta.created_by for crate in await Crate.all()} == {"a": owner.did, "b": owner.did}


# -- network -----------------------------------------------------------------------------------------------------------


def test_network_speaks_noise_and_yamux_over_tcp_and_nothing_else() -> None:
    pytest.importorskip("libp2p")
    from debros.net.libp2p import host

    assert str(host.NOISE_ID) == "/noise"
    assert str(host.YAMUX_ID) == "/yamux/1.0.0"


@in_virtual_time
async def test_network_connected_peers_and_content_pinned_by_a_peer() -> None:
    network = MemoryNetwork()
    async with (
        peer(network, "left", models=[Crate]) as left,
        peer(network, "right", models=[Crate], peers=["left"]) as right,
    ):
        with left.current():
            photo = await File.add(b"a picture", name="a.png")
            await Crate.create(name="a", photo=photo)
        await right.synced(timeout_s=60)
        assert [one.connected for one in right.peers] == [True]
        with right.current():
            await right.pins.pin(photo.cid)
            await trio.sleep(60)
            assert await right.pins.is_pinned(photo.cid)
            crate = (await Crate.all())[0]
            assert crate.photo is not None
            assert await crate.photo.read() == b"a picture"


# -- collections and files ---------------------------------------------------------------------------------------------


async def test_collections_by_name() -> None:
    async with a_node(Crate) as node:
        crates: Any = node.model("Crate")
        made = await crates.create(name="a", size=3)
        assert (await crates.get(made.id)).size == 3
        await made.update(size=4)
        assert [each.id for each in await crates.query().where("size", ">", 3).all()] == [made.id]
        assert [index.fields for index in crates.__schema__.indexes] == [(("name", False),)]
        await made.delete()
        assert await crates.all() == []
        with pytest.raises(ModelError, match="no open model is called 'Crat'; did you mean 'Crate'"):
            node.model("Crat")


async def test_files_by_content_id_and_several_operations_in_one_transaction(tmp_path: Path) -> None:
    async with open_node(str(tmp_path), models=[Crate]) as node:
        photo = await File.add(b"bytes", name="a.png")
        async with node.transaction():
            one = await Crate.create(name="a", photo=photo)
            await Crate.create(name="b")
        assert node.status().entries == 1
        assert await photo.read() == b"bytes"
        with pytest.raises(ZeroDivisionError):
            await _half(node)
        assert await Crate.count() == 2
        await one.update(photo=None)
        await node.pins.unpin(photo.cid, force=True)
        await node.pins.sweep(force=True)
        assert not await node.pins.is_pinned(photo.cid)


async def _half(node: Any) -> None:
    async with node.transaction():
        await Crate.create(name="c")
        raise ZeroDivisionError
