"""Another implementation of IPFS is the witness: equal content has equal CIDs there, and CAR files go both ways.

`make test-integration` installs it from npm (`tests/integration/ipfs/package.json`) into `build/ipfs`.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from debros.blocks import car, open_store, unixfs
from debros.blocks.store import MemoryStore
from debros.blocks.unixfs import profiles
from debros.blocks.unixfs.adding import Adder, text_of
from tests.support.programs import ROOT

INSTALLED = ROOT / "build" / "ipfs"
PROFILES = {
    "unixfs-v0-2015": {"version": 0, "rawLeaves": False, "chunk": 1 << 18},
    "kubo-v1-2018": {"version": 1, "rawLeaves": True, "chunk": 1 << 18},
}


def asked(tmp_path: Path, commands: list[dict[str, Any]]) -> list[Any]:
    """Run the witness over commands, and return its answers."""
    (tmp_path / "commands.json").write_text(json.dumps(commands), encoding="utf-8")
    done = subprocess.run(
        ["node", "witness.mjs", str(tmp_path / "repo"), str(tmp_path / "commands.json")],
        cwd=INSTALLED, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[Any] = json.loads(done.stdout)
    return answers


async def test_files_of_many_sizes_have_the_cids_that_the_witness_computes(tmp_path: Path) -> None:
    commands, expected = [], []
    leaf = 1024  # so that a file of two levels is small
    for size in (0, 1, leaf - 1, leaf, leaf + 1, 3 * leaf, 174 * leaf, 175 * leaf + 5):
        path = tmp_path / f"{size}"
        path.write_bytes(Random(size).randbytes(size))
        for name, options in PROFILES.items():
            adder = Adder(MemoryStore(), replace(profiles.named(name), chunk=leaf))
            expected.append(text_of(await adder.add_path(path), profiles.named(name)))
            commands.append({"do": "add", "path": str(path), **options, "chunk": leaf})
    assert asked(tmp_path, commands) == expected


async def test_leaves_of_a_mebibyte_are_those_of_the_witness(tmp_path: Path) -> None:
    """Below 175 leaves the width of nodes does not matter, so the profile of 2025 is what it computes with its chunks."""
    path = tmp_path / "file"
    path.write_bytes(Random(1).randbytes(5_000_000))
    async with open_store("memory://") as store:
        expected = await unixfs.add(store, path)
    assert asked(tmp_path, [{"do": "add", "path": str(path), "version": 1, "rawLeaves": True, "chunk": 1 << 20}]) == [
        expected
    ]


async def test_directories_small_nested_and_sharded_have_the_cids_that_the_witness_computes(tmp_path: Path) -> None:
    trees = [
        {"a.txt": "a\n", "sub/b.txt": "b\n"},
        {"é": "1", "Z": "2", "a": "3", "sub/deep/er": "4"},
        {f"name-{n:05}": str(n) for n in range(7000)},
    ]
    commands, expected = [], []
    for number, files in enumerate(trees):
        top = tmp_path / f"tree{number}"
        for name, text in files.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text, encoding="utf-8")
        for name, options in PROFILES.items():
            async with open_store("memory://") as store:
                expected.append(await unixfs.add(store, top, profile=name))
            commands.append({"do": "directory", "files": files, **options})
    assert asked(tmp_path, commands) == expected


async def test_the_witness_reads_our_car_files_and_we_read_its(tmp_path: Path) -> None:
    content = Random(2).randbytes(3_000_000)
    (tmp_path / "file").write_bytes(content)
    async with open_store(tmp_path / "blocks") as store:
        root = await unixfs.add(store, content)
        await car.export(store, root, tmp_path / "ours.car")
    read, theirs, _ = asked(
        tmp_path,
        [
            {"do": "import", "path": str(tmp_path / "ours.car"), "cat": root},
            {"do": "add", "path": str(tmp_path / "file"), **PROFILES["unixfs-v0-2015"]},
            {"do": "export", "cid": root, "path": str(tmp_path / "theirs.car")},
        ],
    )
    assert read == {"roots": [root], "sha256": hashlib.sha256(content).hexdigest()}
    async with open_store("memory://") as store:
        assert await car.load(store, tmp_path / "theirs.car") == [root]
        assert await unixfs.cat(store, root) == content
        assert await unixfs.add(store, content, profile="unixfs-v0-2015") == theirs
