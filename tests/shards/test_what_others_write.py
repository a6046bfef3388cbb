"""What peers write into a shard: in the wrong one it is left out and counted; of twins the older one shows."""

from __future__ import annotations

from typing import Any

import pytest

from debros import Field, Model, field, hash_shards, model
from tests.support.copying import carry, logs_of
from tests.support.nodes import a_node


@model(name="Twin", sharding=hash_shards("author", 4))
class Twin(Model):
    author: Field[str]
    email: Field[str | None] = field(default=None, unique=True)


def placed_by(offset: int) -> Any:
    """Return a model whose nodes agree on everything but where a record belongs."""

    class Offset:
        name, key, n = "offset", "n", 3

        def shard_of(self, value: int, n: int) -> int:
            return (value + offset) % n

    @model(name="Placed", sharding=Offset())
    class Placed(Model):
        n: Field[int]
        text: Field[str] = field(default="")

    return Placed


async def test_a_document_in_the_wrong_shard_is_left_out_and_counted() -> None:
    honest, strange = placed_by(0), placed_by(1)
    async with a_node(strange) as there, a_node(honest) as here:
        with there.current():
            wrong = await strange.create(id="wrong", n=1)
        with here.current():
            await honest.create(id="right", n=1)
            await carry(there, here)
            assert [one.id for one in await honest.all()] == ["right"]
            assert await honest.get_or_none("wrong") is None
            stats = await here.shards[honest].stats()
            assert [shard.left_out for shard in stats] == [0, 0, 1]
            assert [shard.records for shard in stats] == [0, 1, 0]
        with there.current():
            await wrong.update(text="still wrong")
        with here.current():
            await carry(there, here)
            assert await honest.count() == 1


async def test_of_twins_the_older_one_shows_whatever_came_first() -> None:
    async with a_node(Twin) as one, a_node(Twin) as other:
        with one.current():
            await Twin.create(id="twin", author="ana", email="a@x")
        with other.current():
            before = await Twin.create(
                id="before", author="eve", email="b@x"
            )  # so that what follows is later, in any case
            await before.delete()
            younger = await Twin.create(id="twin", author="eve", email="e@x")
        await carry(one, other)
        await carry(other, one)
        for node in (one, other):
            with node.current():
                assert [each.author for each in await Twin.all()] == ["ana"]
                assert (await Twin.get("twin")).author == "ana"
                assert await Twin.where(Twin.author == "eve").count() == 0
                assert sum(shard.left_out for shard in (await node.shards[Twin].stats())) == 1
        assert await one.fingerprint() == await other.fingerprint()
        with other.current():
            await younger.update(email="new@x")
            assert [each.author for each in await Twin.all()] == ["ana"], "an edit does not bring it back"
            await Twin.create(id="free", author="ana", email="e@x")
            await (await Twin.get("twin")).delete()
            assert [each.author for each in await Twin.where(Twin.id == "twin").all()] == ["eve"], (
                "the id is free again"
            )
        await carry(other, one)
        assert await one.fingerprint() == await other.fingerprint()


@pytest.mark.parametrize("reverse", [False, True])
async def test_twins_converge_in_any_order_of_logs(reverse: bool) -> None:
    nodes = []
    async with a_node(Twin) as one, a_node(Twin) as other, a_node(Twin) as third:
        for node, author in ((one, "ana"), (other, "eve")):
            with node.current():
                for n in range(5):
                    record = await Twin.create(id=f"t{n}", author=author, email=f"{n}@x")
                    if n == 3:
                        await record.delete()
            nodes.append(node)
        for node in reversed(nodes) if reverse else nodes:
            await carry(node, third, sorted(logs_of(node), key=lambda replica: replica.log_id, reverse=reverse))
        await carry(one, other)
        assert await third.fingerprint() == await other.fingerprint()
        with third.current():
            shown = await Twin.all()
            assert [each.id for each in shown] == ["t0", "t1", "t2", "t4"]
            assert not any(each.meta.flagged for each in shown), "what does not show claims nothing"


async def test_documents_of_a_sharded_model_in_another_log_are_skipped() -> None:
    @model(name="Placed")
    class Plain(Model):
        n: Field[int]
        text: Field[str] = field(default="")

    honest = placed_by(0)
    async with a_node(Plain) as there, a_node(honest) as here:
        with there.current():
            await Plain.create(n=1)
        await carry(there, here)
        with here.current():
            assert await honest.count() == 0
            assert here.status().skipped == 1
