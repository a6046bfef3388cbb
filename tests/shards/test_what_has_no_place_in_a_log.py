"""What is said in a log where it has no place says nothing: layouts in anybody's own log, migrations in a shard's."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from debros import Field, Identity, Model, field, hash_shards, migration, model
from debros.blocks import dagcbor
from debros.identity.signing import SigningKey
from debros.log.entry import sign_header
from debros.log.manifest import Manifest, manifest_of_user
from debros.node import Debros
from debros.opening import open as open_node
from debros.replica.receive import Delivery, receive

ANA = Identity.from_seed(bytes([1]) * 32)
STRANGER = SigningKey(bytes([9]) * 32)
SHOUT = migration("shout", "1.1.0").transform("Spread", lambda row: {**row, "text": row["text"].upper()})


@model(scope="global", version="1.1.0", sharding=hash_shards("id", 2))
class Spread(Model):
    text: Field[str] = field(default="")


async def say(node: Debros, manifest: Manifest, *ops: Any) -> int:
    """Let a stranger say something in a log; return how many changes were skipped."""
    replica = node.store.replica(manifest)
    body = dagcbor.encode({"ops": list(ops), "salt": bytes(16)})
    header, _ = sign_header(
        STRANGER, body_digest=sha256(body).digest(), length=len(body), log=manifest.log_id, next=(), prev=None, seq=0,
        clock=node.store.env.now_us() // 1000 << 16, certificates=(),
    )  # fmt: skip
    before = replica.skipped
    assert await receive(node.store, replica, [Delivery(header, body)]) == 1
    return replica.skipped - before


async def test_nobody_announces_layouts_in_a_log_of_their_own(tmp_path: Path) -> None:
    layout = {"kind": "hash", "n": 7, "seq": 1}
    async with open_node(tmp_path, models=[Spread], identity=ANA, admins=[ANA.did], open=False) as node:
        await Spread.create(text="one")
        own = manifest_of_user(node.config.app, STRANGER.public)
        said = ["_layouts", 1_000_000, "Spread~admin", {"add": {"layouts": [layout]}, "live": True}]
        assert await say(node, own, said) == 1
        await node.shards[Spread].resize(3)
        assert [one.n for one in node.shards[Spread].layouts] == [2, 3]
        assert await Spread.count() == 1
    async with open_node(tmp_path, models=[Spread], identity=ANA, admins=[ANA.did], open=False) as node:
        assert [one.n for one in node.shards[Spread].layouts] == [2, 3]


async def test_a_shard_follows_the_migrations_of_its_scope_and_none_that_are_told_in_itself(tmp_path: Path) -> None:
    async def shown(node: Debros) -> str:
        [one] = await Spread.all()
        return one.text

    for view in ("grew", "made anew"):
        async with open_node(tmp_path, models=[Spread], identity=ANA, migrations=[SHOUT]) as node:
            if view == "grew":
                old = ["Spread", 1_000_000, "a", {"put": {"text": "low"}, "live": True}]
                shard = node.shards[Spread]
                manifest = node.manifest_of(Spread.__schema__, shard.layouts[0].part(shard.for_key("a")))
                told = [
                    "_migrations",
                    1_000_000,
                    "shout",
                    {"put": {"state": "applied", "version": 1_001_000}, "live": True},
                ]
                assert await say(node, manifest, old, told) == 1
            assert (await shown(node), node.migrations.pending_names()) == ("low", ["shout"])
        for path in tmp_path.glob("view.sqlite*"):
            path.unlink()
    async with open_node(tmp_path, models=[Spread], identity=ANA, migrations=[SHOUT]) as node:
        await node.migrations.apply()
        assert await shown(node) == "LOW"
