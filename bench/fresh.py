"""What has to happen in a new process: imports, memory, a kill. `python -m bench.fresh NAME [HOME]` prints JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any, Final

SAMPLE_S: Final = 0.02
TOUCHES: Final = 2000
UNFLUSHED: Final = 490  # a flush comes when 500 rows or entries wait
BEFORE: Final = 1010  # flushed, so the write-ahead log is not empty


async def in_new_process(name: str, home: Path | None = None, *, fails: bool = False) -> dict[str, float]:
    """Run one of the functions below in a new interpreter and return what it prints."""
    import trio

    command = [sys.executable, "-m", "bench.fresh", name, *([] if home is None else [str(home)])]
    done = await trio.run_process(command, capture_stdout=True, check=not fails)
    if fails:
        if done.returncode != -signal.SIGKILL:
            raise subprocess.CalledProcessError(done.returncode, command)
        return {}
    told: dict[str, float] = json.loads(done.stdout)
    return told


def private_mb() -> float:
    """Return the memory that is this process's alone; mapped files are not."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024
    except (OSError, StopIteration):  # not Linux: the most it ever held, files too
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used / 2**20 if sys.platform == "darwin" else used / 1024


class Watch:
    """The most private memory within a block."""

    def __enter__(self) -> Watch:
        self.before = self.most = private_mb()
        self._done = Event()
        self._thread = Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self.most = max(self.most, private_mb())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.most = max(self.most, private_mb())


def import_debros() -> dict[str, float]:
    """Import the library, and nothing before it but what this module needs; then what a program takes from it."""
    start = time.process_time()
    import debros

    imported = time.process_time()
    assert all((debros.Model, debros.model, debros.field, debros.open))
    return {"import_s": imported - start, "program_s": time.process_time() - start}


async def rebuild(home: Path) -> dict[str, float]:
    """Open a home without its view."""
    from bench.homes import opened

    for suffix in ("", "-wal", "-shm"):
        (home / f"view.sqlite{suffix}").unlink(missing_ok=True)
    with Watch() as watch:
        wall, cpu = time.perf_counter(), time.process_time()
        async with opened(home):
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu_s": cpu, "wall_s": wall, "grown_mb": watch.most - watch.before}


async def touch(home: Path) -> dict[str, float]:
    """Open a home and get some records, spread over all of it."""
    from bench.document import Post
    from bench.homes import opened

    async with opened(home) as node:
        table = node.collection(Post.__schema__).table
        last = node.store.models["Post"].rows.next_doc - 1
        for doc in Random(6).sample(range(1, last + 1), TOUCHES):
            [(id,)] = node.store.view.read(f'SELECT "id" FROM "{table.name}" WHERE "_doc" = ?', (doc,))
            await Post.get(id)
        return {"private_mb": private_mb()}


async def die_writing(home: Path) -> dict[str, float]:
    """Create documents, and be killed with as many as possible not yet in the view."""
    from bench.document import Documents, Post
    from bench.homes import opened

    async with opened(home, durability="process") as node:
        for values in Documents(10_000, seed=7).many(BEFORE):
            await Post.create(**values)
        node.store.flush()
        for values in Documents(10_000, seed=8).many(UNFLUSHED):
            await Post.create(**values)
        assert node.store.view.pending_rows == UNFLUSHED
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


async def carry_gib(home: Path) -> dict[str, float]:
    """Add 1 GiB of content as it comes, and read it back."""
    import debros
    from debros import File

    chunk = Random(9).randbytes(1 << 20)

    async def coming() -> AsyncIterator[bytes]:
        for n in range(1024):
            yield n.to_bytes(8, "big") + chunk[8:]

    async with debros.open(home, models=[], app="bench", sweep_s=1e6) as db:
        await db.pins.ready()
        with Watch() as watch:
            begun = time.perf_counter()
            file = await File.add(coming())
            added = time.perf_counter()
            size = 0
            async for part in file.chunks():
                size += len(part)
            read = time.perf_counter()
    assert size == 1 << 30
    return {"grown_mb": watch.most - watch.before, "in_s": added - begun, "out_s": read - added}


def main(name: str, *homes: str) -> None:
    """Run one function and print what it tells."""
    functions: dict[str, Any] = {"rebuild": rebuild, "touch": touch, "die_writing": die_writing, "carry_gib": carry_gib}
    if name == "import_debros":
        told = import_debros()
    else:
        import trio

        told = trio.run(functions[name], *map(Path, homes))
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
