"""Content between peers: it comes on demand from whoever holds it, and leaves only when others hold it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
import trio

from debros import ContentMissingError, Field, File, Model, fixed, model, popularity
from debros.blocks import cid, dagcbor
from debros.blocks.cid import Link
from debros.blocks.dagpb import PBLink, encode
from debros.blocks.unixfs import node as nodes
from debros.errors import ProtocolError, TransportError
from debros.net.memory import Faults, MemoryNetwork
from debros.node import Debros
from debros.pinning.exchange import PROTOCOL
from debros.pinning.receipts import parse_receipt, sign_receipt
from debros.pinning.rules import HOUR_S
from debros.sync import sync
from debros.testing.blocks import block_of
from tests.support.peers import in_virtual_time, peer


@pytest.fixture(autouse=True)
def _seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nodes compare their logs every hour of virtual time, and not four times a minute."""
    monkeypatch.setattr(sync, "PERIOD_S", 3600.0)


def album(**pinning: Any) -> Any:
    @model(scope="global", pinning=popularity(**pinning) if pinning else None, name="Photo")
    class Photo(Model):
        title: Field[str]
        picture: Field[File]

    return Photo


async def picture(n: int, size: int = 3_000_000) -> File:
    return await File.add(Random(n).randbytes(size))


async def is_here(db: Debros, file: File) -> bool:
    return await db.pins.is_held(file.link)


@in_virtual_time
async def test_content_comes_on_demand_from_a_peer_that_holds_it_and_stays() -> None:
    network, Photo = MemoryNetwork(), album()
    async with peer(network, "left", models=[Photo]) as left:
        with left.current():
            photo = await Photo.create(title="x", picture=await picture(1))
        async with peer(network, "right", models=[Photo], peers=["left"]) as right:
            await right.synced(timeout_s=60)
            with right.current():
                found = await Photo.get(photo.id)
                assert not await is_here(right, found.picture)
                assert await found.picture.read() == Random(1).randbytes(3_000_000)
                assert await is_here(right, found.picture)
                assert await right.pins.is_pinned(found.picture.cid)
    with pytest.raises(TransportError):
        async with network.host("left"), network.host("left"):
            pass


@in_virtual_time
async def test_a_range_brings_only_its_blocks() -> None:
    network, Photo = MemoryNetwork(), album()
    async with (
        peer(network, "left", models=[Photo]) as left,
        peer(network, "right", models=[Photo], peers=["left"]) as right,
    ):
        with left.current():
            photo = await Photo.create(title="x", picture=await picture(1, 10_000_000))
        await right.synced(timeout_s=60)
        with right.current():
            chunks = [chunk async for chunk in photo.picture.chunks(5_000_000, 1000)]
            assert b"".join(chunks) == Random(1).randbytes(10_000_000)[5_000_000:5_001_000]
            assert 1 << 20 < (await right.pins.stats()).used_bytes < 3 << 20


@in_virtual_time
async def test_content_that_nobody_who_is_connected_holds_is_reported_and_not_waited_for() -> None:
    network, Photo = MemoryNetwork(), album()
    async with (
        peer(network, "left", models=[Photo]) as left,
        peer(network, "right", models=[Photo], peers=["left"]) as right,
    ):
        await right.synced(timeout_s=60)
        nowhere = File("bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4", None, 12, None)
        begun = trio.current_time()
        with right.current(), pytest.raises(ContentMissingError, match=nowhere.cid):
            await nowhere.read()
        assert trio.current_time() - begun < 5
        with left.current():
            photo = await Photo.create(title="x", picture=await picture(1))
        await right.synced(timeout_s=60)
        network.partition(["left"], ["right"])
        with right.current(), pytest.raises(ContentMissingError):
            await photo.picture.read()
        network.heal()
        await trio.sleep(120)
        with right.current():
            assert await photo.picture.read()


@in_virtual_time
async def test_several_peers_give_at_once_what_each_of_them_has() -> None:
    network, Photo = MemoryNetwork(faults=Faults(delay_s=(0.01, 0.02))), album()
    async with (
        peer(network, "a", models=[Photo]) as a,
        peer(network, "b", models=[Photo], peers=["a"]) as b,
        peer(network, "c", models=[Photo], peers=["a", "b"]) as c,
    ):
        with a.current():
            photo = await Photo.create(title="x", picture=await picture(1, 24_000_000))
        for db in (b, c):
            await db.synced(timeout_s=60)
        with b.current():
            await photo.picture.read()
        for db, parity in ((a, 0), (b, 1)):  # each loses another half
            _, contents = await db.pins.ready()
            blocks = sorted([link async for link in contents.store.scan() if link.codec == cid.RAW])
            await contents.store.delete(blocks[parity::2])
        with c.current():
            assert await photo.picture.read() == Random(1).randbytes(24_000_000)


@in_virtual_time
async def test_what_came_before_a_peer_was_lost_does_not_come_again() -> None:
    network, Photo = MemoryNetwork(), album()
    async with (
        peer(network, "left", models=[Photo]) as left,
        peer(network, "right", models=[Photo], peers=["left"]) as right,
    ):
        with left.current():
            photo = await Photo.create(title="x", picture=await picture(1, 20_000_000))
        await right.synced(timeout_s=60)
        _, contents = await left.pins.ready()
        leaves = [link async for link in contents.store.scan() if link.codec == cid.RAW]
        taken = {link: await contents.store.get(link) for link in leaves[:10]}
        await contents.store.delete(list(taken))
        with right.current(), pytest.raises(ContentMissingError):
            await photo.picture.read()
        await contents.store.put([(link.codec, link.digest, block) for link, block in taken.items()])
        before = network.sent_bytes
        with right.current():
            await photo.picture.read()
        assert network.sent_bytes - before < 12 << 20


@in_virtual_time
async def test_a_network_that_loses_cuts_and_garbles_gives_the_right_bytes_in_the_end() -> None:
    network = MemoryNetwork(Random(5), Faults(loss=0.05, cut=0.1, garble=0.05, duplicate=0.05))
    Photo = album(max_pins=10, copies=(1, 2))
    async with (
        peer(network, "left", models=[Photo]) as left,
        peer(network, "right", models=[Photo], peers=["left"]) as right,
    ):
        with left.current():
            photo = await Photo.create(title="x", picture=await picture(1, 8_000_000))
        for _ in range(400):
            await trio.sleep(60)
            if await is_here(right, photo.picture):
                break
        with right.current():
            assert await photo.picture.read() == Random(1).randbytes(8_000_000)


SLOWLY = {"sweep_s": 900}  # of virtual time, which is not free


class Liar:
    """A host that says of itself what a test lets it say."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def serve(self, peer: str, request: bytes) -> Any:
        for frame in self.answer(dagcbor.decode(request)):
            yield frame


@pytest.mark.parametrize(
    "frames",
    [
        [b"\x00" * 100], [b"\xff" * 100], [b"\x30\x01\x55\x12\x20" + bytes(32) + b"wrong block!"], [b"\x30\x01\x55"],
        [b"\x28\x01\x55\x12\x20" + block_of(b"abcd")[1] + b"abcd"], [b"x" * (1 << 20)] * 12,
    ],
    ids=["zeros", "a length without end", "another block", "cut off", "not asked for", "a flood"],
)  # fmt: skip
@in_virtual_time
async def test_a_peer_that_lies_is_asked_no_more_and_nothing_of_it_is_kept(frames: Sequence[bytes]) -> None:
    network, Photo = MemoryNetwork(), album()
    asked: list[Any] = []
    async with (
        peer(network, "liar", models=[Photo]) as liar,
        peer(network, "left", models=[Photo]) as left,
        peer(network, "right", models=[Photo], peers=["liar", "left"]) as right,
    ):
        assert liar.met.transport is not None
        liar.met.transport.handle(PROTOCOL, Liar(lambda request: asked.append(request) or frames).serve)
        with left.current():
            photos = [await Photo.create(title=str(n), picture=await picture(n, 5000)) for n in range(8)]
        await right.synced(timeout_s=60)
        with right.current():
            for n, photo in enumerate(photos):
                assert await photo.picture.read() == Random(n).randbytes(5000)
            assert (await right.pins.stats()).used_bytes == 8 * 5000
            assert asked


@in_virtual_time
async def test_a_tree_without_end_is_not_fetched_without_end() -> None:
    """A liar whose file has as many further megabytes as it is asked for."""
    network, Photo = MemoryNetwork(), album()

    def answer(request: Any) -> list[bytes]:
        found = []
        for link in request[1]:
            seed = made.get(link)
            if seed is not None and seed < 200:
                block = tree(seed)
                found.append(b"%b%b" % (head(link, block), block))
        return [b"".join(found)] if request[0] == "get" else []

    def tree(seed: int) -> bytes:
        below = tree_of[seed + 1]
        return encode(
            [PBLink(cid.PREFIX[cid.DAG_PB] + below, b"", 1)],
            nodes.file_data(bytes(500_000) + bytes([seed]), 500_001 + 9, [9]),
        )

    from debros.blocks.car import section_head

    def head(link: Link, block: bytes) -> bytes:
        return section_head(link.codec, link.digest, len(block))

    tree_of: dict[int, bytes] = {200: bytes(32)}
    for seed in range(199, -1, -1):
        tree_of[seed] = cid.digest_of(tree(seed))
    made = {Link(cid.DAG_PB, digest): seed for seed, digest in tree_of.items()}
    async with (
        peer(network, "liar", models=[Photo]) as liar,
        peer(network, "right", models=[Photo], peers=["liar"]) as right,
    ):
        assert liar.met.transport is not None
        liar.met.transport.handle(PROTOCOL, Liar(answer).serve)
        await right.synced(timeout_s=60)
        file = File(str(Link(cid.DAG_PB, tree_of[0])), None, 1000, None)
        with right.current():
            await Photo.create(title="x", picture=file)
            with pytest.raises(Exception, match="its record says 1000"):
                await file.read()
        assert (await right.pins.stats()).used_bytes < 10 << 20


def test_receipts_are_for_one_thing_by_one_key_and_cannot_be_changed() -> None:
    from debros import Identity

    device, link = Identity.from_seed(bytes([4]) * 32).device(bytes(16)), Link(cid.RAW, bytes(32))
    raw = sign_receipt(device, link, 1000, 2000)
    found = parse_receipt(raw, link)
    assert (found.by, found.at, found.until) == (device.public, 1000, 2000)
    assert parse_receipt(sign_receipt(device, link, 5), link).until == 0
    with pytest.raises(ProtocolError, match="something else"):
        parse_receipt(raw, Link(cid.RAW, b"\1" * 32))
    for at in range(0, len(raw), 3):
        with pytest.raises(ProtocolError):
            parse_receipt(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], link)
    for wrong in (b"", dagcbor.encode([]), dagcbor.encode({"at": 1})):
        with pytest.raises(ProtocolError):
            parse_receipt(wrong, link)


# -- copies --------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_content_within_a_budget_leaves_when_another_holds_it_and_returns_on_demand() -> None:
    network = MemoryNetwork()
    Photo = album(max_pins=2, copies=(1, 2))
    async with (
        peer(network, "small", models=[Photo]) as small,
        peer(network, "large", models=[album(max_pins=50, copies=(1, 2))], peers=["small"]) as large,
    ):
        with small.current():
            photos = [await Photo.create(title=str(n), picture=await picture(n, 50_000)) for n in range(6)]
        await trio.sleep(3 * HOUR_S)
        assert [await is_here(large, photo.picture) for photo in photos] == [True] * 6
        assert sum([await is_here(small, photo.picture) for photo in photos]) == 2
        status = await small.pins.status(photos[0].picture.cid)
        assert status.copies == 1
        [gone, *_] = [photo for photo in photos if not await is_here(small, photo.picture)]
        with small.current():
            assert await gone.picture.read() == Random(int(gone.title)).randbytes(50_000)
        assert await large.pins.is_pinned(gone.picture.cid)


@in_virtual_time
async def test_two_that_both_want_to_let_go_never_both_do() -> None:
    network = MemoryNetwork()
    Photo = album(max_pins=0, copies=(1, 1))
    async with (
        peer(network, "a", models=[Photo], settings=SLOWLY) as a,
        peer(network, "b", models=[Photo], peers=["a"], settings=SLOWLY) as b,
    ):
        with a.current():
            photos = [await Photo.create(title=str(n), picture=await picture(n, 5000)) for n in range(4)]
        await b.synced(timeout_s=60)
        with b.current():
            for photo in photos:
                await photo.picture.read()
        for _ in range(40):
            await trio.sleep(HOUR_S)
            for photo in photos:
                assert await is_here(a, photo.picture) or await is_here(b, photo.picture)
        for photo in photos:  # and one of them did
            assert not (await is_here(a, photo.picture) and await is_here(b, photo.picture))


@in_virtual_time
async def test_copies_return_to_the_minimum_after_the_loss_of_a_peer() -> None:
    network = MemoryNetwork()

    @model(scope="global", pinning=fixed(copies=(3, 3), max_pins=0), name="Deed")
    class Deed(Model):
        scan: Field[File]

    @model(scope="global", pinning=fixed(copies=(3, 3)), name="Deed")
    class Kept(Model):
        scan: Field[File]

    async with trio.open_nursery() as nursery:

        async def run(name: str, stop: trio.Event, what: Any, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
            async with peer(network, name, models=[what], peers=[n for n in "abcd" if n < name]) as db:
                task_status.started(db)
                await stop.wait()

        stops = {name: trio.Event() for name in "abcd"}
        a = await nursery.start(run, "a", stops["a"], Kept)
        b = await nursery.start(run, "b", stops["b"], Deed)  # these keep no copy by themselves
        c = await nursery.start(run, "c", stops["c"], Deed)
        d = await nursery.start(run, "d", stops["d"], Deed)
        with a.current():
            deed = await Kept.create(scan=await picture(1, 5000))
        await trio.sleep(600)
        others = {"b": b, "c": c, "d": d}
        holders = [name for name, db in others.items() if await is_here(db, deed.scan)]
        assert len(holders) == 2
        stops[holders[0]].set()
        await trio.sleep(600)
        left = [name for name, db in others.items() if name != holders[0] and await is_here(db, deed.scan)]
        assert len(left) == 2
        for stop in stops.values():
            stop.set()


@in_virtual_time
async def test_under_random_uses_writes_restarts_and_partitions_nothing_is_lost_and_ceilings_hold(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    random = Random(11)
    network = MemoryNetwork(Random(3), Faults(loss=0.01, duplicate=0.02))
    Photo = album(max_pins=2, copies=(1, 2))
    names = ["a", "b", "c"]
    homes = {name: tmp_path_factory.mktemp(name) for name in names}
    ceiling = 5 * 4000
    files: list[File] = []

    async with trio.open_nursery() as nursery:

        async def run(name: str, stop: trio.Event, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
            others = [other for other in names if other != name]
            async with peer(network, name, models=[Photo], peers=others, home=homes[name], app="sim", settings={"content_bytes": ceiling, "sweep_s": 3600}, config="testing") as db:  # fmt: skip
                task_status.started(db)
                await stop.wait()

        running: dict[str, tuple[Debros, trio.Event]] = {}
        for name in names:
            stop = trio.Event()
            running[name] = (await nursery.start(run, name, stop), stop)
        for step in range(30):
            name = random.choice(names)
            db, stop = running[name]
            dice = random.random()
            with db.current():
                if dice < 0.3:
                    try:
                        file = await picture(step, 4000)
                    except Exception as error:
                        assert "content_bytes" in str(error)  # noqa: PT017 - the only way it may fail
                    else:
                        await Photo.create(title=str(step), picture=file)
                        files.append(file)
                elif dice < 0.7 and files:
                    try:
                        await random.choice(files).read()
                    except Exception as error:
                        assert "content_bytes" in str(error) or "no connected peer" in str(error)  # noqa: PT017 - as above
                elif dice < 0.8:
                    stop.set()
                    await trio.sleep(1)
                    stop = trio.Event()
                    running[name] = (await nursery.start(run, name, stop), stop)
                elif dice < 0.9:
                    network.partition([name], [other for other in names if other != name])
                else:
                    network.heal()
            await trio.sleep(random.uniform(30, 3 * HOUR_S))
            for db, _ in running.values():
                assert (await db.pins.stats()).used_bytes <= ceiling
            for file in files:
                assert any([await is_here(db, file) for db, _ in running.values()]), (step, file.cid)
        assert len(files) > 4
        evicted = sum([not await is_here(db, file) for file in files for db, _ in running.values()])
        assert evicted > 5  # there was something to decide
        for _, stop in running.values():
            stop.set()
