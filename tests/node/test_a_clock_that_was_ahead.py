"""A home whose clock was far ahead when something was written: peers hold what it writes until then, and its health says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from debros import DeadlineError, Field, Model, model
from debros.net.memory import MemoryNetwork
from debros.testing.environment import SimulatedEnv
from tests.support.peers import in_virtual_time, peer

DAY_US = 86_400_000_000


@model(name="AheadNote")
class Note(Model):
    text: Field[str]


@model(name="AheadDiary", scope="user")
class Diary(Model):
    text: Field[str]


class Ahead(SimulatedEnv):
    """A clock that is 400 days ahead."""

    def now_us(self) -> int:
        return super().now_us() + 400 * DAY_US


@pytest.mark.parametrize("written", [Note, Diary])
@in_virtual_time
async def test_health_says_until_when_peers_hold_what_is_written(tmp_path: Path, written: type[Note]) -> None:
    network = MemoryNetwork()
    async with peer(network, "left", env=Ahead("left"), home=tmp_path, models=[Note, Diary]) as left:
        await written.create(text="when the clock was ahead")
        assert (await left.health()).state == "good"
    async with (
        peer(network, "left", env=SimulatedEnv("left again"), home=tmp_path, models=[Note, Diary]) as left,
        peer(network, "right", models=[Note, Diary], peers=["left"]) as right,
    ):
        with left.current():
            note = await written.create(text="when it was set right")
        await right.follow(left.identity.did)
        await right.synced(timeout_s=60)
        with pytest.raises(DeadlineError):
            await note.settled(replicas=1, timeout_s=10)
        log = (await left.health())["log"]
        assert (log.state, f"{note.meta.updated_at:%Y-%m-%d %H:%M} UTC" in log.reason) == ("degraded", True)
        assert (await right.health())["log"].state == "good"
        peers = (await right.health())["peers"]
        assert (peers.state, "left from 20" in peers.reason) == ("degraded", True)
