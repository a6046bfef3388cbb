"""Receipts are of peers that hold an entry on disk, each with a key of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import debros
from debros import DeadlineError, Field, Model, TransactionError, model
from debros.net.memory import MemoryNetwork
from debros.sync import answering
from debros.sync.receipts import sign_receipt
from debros.sync.wire import Attest
from tests.support.peers import in_virtual_time, peer


@model(scope="global")
class Deed(Model):
    title: Field[str]


@in_virtual_time
async def test_who_passes_on_the_receipt_of_another_peer_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    network = MemoryNetwork()
    async with (
        peer(network, "left", models=[Deed]) as left,
        peer(network, "right", models=[Deed], peers=["left"]) as right,
        peer(network, "other", models=[Deed], peers=["left"]),
    ):
        with left.current():
            made = await Deed.create(title="new")
            assert len({receipt.by for receipt in await made.settled(2, timeout_s=60)}) == 2
            monkeypatch.setattr(answering, "sign_receipt", lambda _, *said: sign_receipt(right.device(), *said))
            with pytest.raises(DeadlineError, match="1 of 2 receipts"):
                await made.settled(2, timeout_s=5)


@in_virtual_time
async def test_nor_does_our_own_that_comes_back_to_us(monkeypatch: pytest.MonkeyPatch) -> None:
    network = MemoryNetwork()
    async with peer(network, "left", models=[Deed]) as left, peer(network, "right", models=[Deed], peers=["left"]):
        with left.current():
            made = await Deed.create(title="new")
            monkeypatch.setattr(answering, "sign_receipt", lambda _, *said: sign_receipt(left.device(), *said))
            with pytest.raises(DeadlineError, match="0 of 1 receipts"):
                await made.settled(1, timeout_s=5)


@in_virtual_time
async def test_nothing_is_attested_before_it_is_on_disk(tmp_path: Path) -> None:
    network, options = MemoryNetwork(), dict[str, Any](models=[Deed], settings={"durability": "process"})
    async with (
        peer(network, "left", home=tmp_path, **options) as left,
        peer(network, "right", peers=["left"], **options),
    ):
        await left.synced(timeout_s=60)
        with left.current():
            made = await Deed.create(title="new")
        sync, replica = left.met.sync, left.shared
        assert not left.store.log.is_synced
        # as one that waited for its turn while the entry came
        asked = Attest(replica.log_id, left.store.entries.digest_of(made._row[made._home.table.e_at]))
        assert await answering._answer(sync, "right", sync.account("right"), asked)
        assert left.store.log.is_synced


async def test_inside_the_transaction_that_wrote_it_there_is_no_receipt_to_wait_for() -> None:
    async with debros.open(":memory:", models=[Deed]) as db:
        there = await Deed.create(title="there")
        async with db.transaction():
            made = await Deed.create(title="new")
            with pytest.raises(TransactionError, match="behind its end"):
                await made.settled()
            with pytest.raises(DeadlineError, match="no peers"):
                await there.settled(timeout_s=1)
