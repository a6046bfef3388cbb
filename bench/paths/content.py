"""Content: adding a file beside SHA-256 alone, a get whose model counts accesses beside one that does not, a million pins.

`File.add` is durable: it hashes, writes and syncs. Compaction rewrites segments of which half is in use.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import trio

import debros
from bench.fresh import in_new_process
from bench.measure import Action, Line, against, in_turns, sync
from bench.setting import Setting
from debros import Field, File, Model, field, model, popularity
from debros.blocks.carstore import CarStore
from debros.blocks.cid import Link
from debros.blocks.files import DiskFiles
from debros.env import SYSTEM
from debros.pinning import ledger as states
from debros.pinning.ledger import Ledger
from debros.testing.blocks import block_of

SIZE: Final = 64 << 20
GETS: Final = 1000
ASKED: Final = 2000


@model(scope="global", name="Plain")
class Plain(Model):
    title: Field[str]
    picture: Field[File | None] = field(default=None)


@model(scope="global", name="Counted", pinning=popularity())
class Counted(Model):
    title: Field[str]
    picture: Field[File | None] = field(default=None)


@model(scope="global", name="Photo", pinning=popularity())
class Photo(Model):
    title: Field[str]  # nothing that a sweep would look at, so what is timed runs alone


async def measure(setting: Setting) -> list[Line]:
    """Return the lines."""
    large = [] if setting.quick else await _large(setting)
    return [*await _adding(setting), *large, *await _pins(setting), await _compaction(setting)]


async def _large(setting: Setting) -> list[Line]:
    told = await in_new_process("carry_gib", setting.homes.place())
    most = told["grown_mb"]
    return [
        Line("memory while 1 GiB comes in and goes out", most, "MB", target="<= 64", met=most <= 64),
        Line("1 GiB in, durable", (1 << 30) / 1e6 / told["in_s"], "MB/s"),
        Line("1 GiB out", (1 << 30) / 1e6 / told["out_s"], "MB/s"),
    ]


async def _adding(setting: Setting) -> list[Line]:
    random = Random(1)
    async with debros.open(setting.homes.place(), models=[Plain, Counted], app="bench", sweep_s=1e6) as db:
        await db.pins.ready()

        async def add(content: bytes | Path) -> None:
            await File.add(content)

        source = setting.homes.place()

        def written(_: object = None) -> Path:
            source.write_bytes(random.randbytes(SIZE))
            return source

        hashing = sync(lambda data: hashlib.sha256(data).digest())
        rounds = max(3, setting.rounds // 3)
        costs = await in_turns(
            [
                Action("add", 1, add, lambda: random.randbytes(SIZE)),
                Action("hash", 1, hashing, lambda: random.randbytes(SIZE)),
                Action("add path", 1, add, written),
                Action("hash path", 1, sync(_hash_file), written),
                Action("raw", 1, sync(lambda data: _hash_and_write(setting, data)), lambda: random.randbytes(SIZE)),
            ],
            rounds,
        )
        file = await File.add(b"x")
        plain = await Plain.create(title="x", picture=file)
        counted = await Counted.create(title="x", picture=file)

        def gets(cls: Any, id: str) -> Any:
            async def run(_: object) -> None:
                for _ in range(GETS):
                    await cls.get(id)

            return run

        got = await in_turns(
            [Action("plain", GETS, gets(Plain, plain.id)), Action("counted", GETS, gets(Counted, counted.id))],
            setting.rounds,
        )
    walls = costs["add"].wall_us, costs["hash"].wall_us
    return [
        against("add a file of 64 MiB, durable", costs["add"], "SHA-256 alone", costs["hash"], 2.5),
        against(
            "add a file of 64 MiB from a path, durable", costs["add path"], "SHA-256 of it", costs["hash path"], 2.5
        ),
        Line("add a file of 64 MiB, durable: time gone by", walls[0], "us", "SHA-256 alone", walls[1]),
        against("add a file of 64 MiB, durable", costs["add"], "SHA-256, write and sync", costs["raw"], 2.0),
        against("get whose model counts accesses", got["counted"], "one that does not", got["plain"], 1.05),
    ]


def _hash_file(path: Path) -> None:
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256")


def _hash_and_write(setting: Setting, data: bytes) -> None:
    hashlib.sha256(data).digest()
    handle = DiskFiles().open(str(setting.homes.place()), create=True)
    for at in range(0, len(data), 4 << 20):
        handle.pwrite(memoryview(data)[at : at + (4 << 20)], at)
    handle.sync()
    handle.close()


async def _pins(setting: Setting) -> list[Line]:
    count = 100_000 if setting.quick else 1_000_000
    home = setting.homes.place()
    async with debros.open(home, models=[Photo], app="bench"):
        pass  # makes the home
    asked, size = await SYSTEM.offload(_fill, str(home / "pins.sqlite"), count)
    took: list[float] = []
    async with debros.open(home, models=[Photo], app="bench") as db:
        await db.pins.ready()
        for cid in asked:
            begun = time.process_time()
            status = await db.pins.status(cid)
            took.append((time.process_time() - begun) * 1e3)
            assert status.state == "pinned"
            assert status.strategy == "popularity"
    p99 = sorted(took)[int(len(took) * 0.99)]
    return [
        Line(f"db.pins.status of one of {count:,} pins, p99 of CPU", p99, "ms", "", None, "<= 1", p99 <= 1),
        Line("bytes of a pin and its reference", size / count, "bytes", "", None, "<= 200", size / count <= 200),
    ]


def _fill(path: str, count: int) -> tuple[list[str], int]:
    """Write so many pins into a ledger; return the CIDs of some, in no order, and how many bytes the file has."""
    ledger = Ledger(path)
    random = Random(2)
    asked: list[str] = []
    with ledger.db:
        model_number = ledger.number("Photo")
        for n in range(count):
            link = Link(0x55, random.randbytes(32))
            item = ledger.add(link, states.PINNED, 1, size=1000, model=model_number)
            ledger.refer(model_number, 1, f"{item.n:036}", [item.n], only=False)
            if n % (count // ASKED) == 0:
                asked.append(str(link))
    ledger.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    [(size,)] = ledger.rows("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
    ledger.close()
    random.shuffle(asked)
    return asked, size


async def _compaction(setting: Setting) -> Line:
    place = str(setting.homes.place())
    store = await SYSTEM.offload(CarStore.open, SYSTEM, DiskFiles(), place, place + ".index")
    random = Random(3)
    blocks = [block_of(random.randbytes(1 << 20)) for _ in range(128)]
    for at in range(0, len(blocks), 4):
        await store.put(blocks[at : at + 4])
    await store.delete([Link(codec, digest) for n, (codec, digest, _) in enumerate(blocks) if n % 5 > 1])
    before = (await store.usage()).file_bytes
    begun = trio.current_time()
    await store.compact()
    speed = before / 1e6 / (trio.current_time() - begun)
    await store.aclose()
    return Line("compaction", speed, "MB/s", "", None, ">= 50", speed >= 50)
