"""The CIDs of files and directories are those that IPFS gives: published vectors, and boundaries of the profiles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from debros.blocks import cid, dagpb, open_store, unixfs
from debros.blocks.store import MemoryStore
from debros.blocks.unixfs import directory, node, profiles
from debros.blocks.unixfs.tree import Built
from debros.errors import ContentError

V1, V0, OLD = "unixfs-v1-2025", "unixfs-v0-2015", "kubo-v1-2018"

VECTORS = [
    (b"hello world\n", V0, "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o"),
    (b"hello world\n", OLD, "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"),
    (b"hello world\n", V1, "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"),
    (bytes(1 << 20), V0, "QmVkbauSDEaMP4Tkq6Epm9uW75mWm136n81YH8fGtfwdHU"),
    (bytes(1 << 20), OLD, "bafybeiggzq4ryi7hscq5hzvzcnk4urnxt3asp37dhgvnjilf7exskximla"),
    (bytes(1 << 20), V1, "bafkreibq4fevl27rgurgnxbp7adh42aqiyd6ouflxhj3gzmcxcxzbh6lla"),
    (b"", V0, "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"),
    (b"", V1, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
]


@pytest.mark.parametrize(("content", "profile", "expected"), VECTORS)
async def test_files_have_the_published_cids(content: bytes, profile: str, expected: str) -> None:
    async with open_store("memory://") as store:
        assert await unixfs.add(store, content, profile=profile) == expected
        assert await unixfs.cat(store, expected) == content


async def test_a_directory_has_the_published_cids(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    (top / "a.txt").write_text("a\n")
    (top / "sub" / "b.txt").write_text("b\n")
    async with open_store("memory://") as store:
        assert await unixfs.add(store, top, profile=V0) == "QmU6gJLzou116aQFoUzRmvEkdnoDgECia5C5vAM2ac1nRM"
        for profile in (OLD, V1):
            made = await unixfs.add(store, top, profile=profile)
            assert made == "bafybeidpcbanksrlx2idf35xjn3cccvzligxs65uoutjn6gxujyq2btloi"
        assert [entry.name for entry in await unixfs.ls(store, made)] == ["a.txt", "sub"]
        assert await unixfs.cat(store, await unixfs.resolve(store, made, "sub/b.txt")) == b"b\n"


async def test_an_empty_directory_has_the_published_cid(tmp_path: Path) -> None:
    async with open_store("memory://") as store:
        assert await unixfs.add(store, tmp_path, profile=V0) == "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
        assert await unixfs.ls(store, "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn") == []


async def test_bytes_a_stream_and_a_file_have_one_cid_however_the_stream_is_cut(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)

    async def pieces(size: int) -> AsyncIterator[bytes]:
        for at in range(0, len(content), size):
            yield content[at : at + size]

    for profile in unixfs.PROFILES:
        async with open_store("memory://") as store:
            expected = await unixfs.add(store, content, profile=profile)
            assert await unixfs.add(store, tmp_path / "file", profile=profile) == expected
            for size in (1000, 1 << 18, 1 << 20, len(content)):
                assert await unixfs.add(store, pieces(size), profile=profile) == expected


@pytest.mark.parametrize("profile", unixfs.PROFILES.values(), ids=lambda profile: profile.name)
def test_leaves_lie_at_one_depth_and_nodes_are_full_from_the_left(profile: profiles.Profile) -> None:
    from dataclasses import replace

    from debros.blocks.unixfs.tree import Tree

    small = replace(profile, width=3, chunk=1)
    for count in range(1, 40):
        blocks: dict[bytes, bytes] = {}
        tree = Tree(small, lambda block, blocks=blocks: blocks.__setitem__(block[1], block[2]))  # type: ignore[misc]
        for n in range(count):
            tree.add(bytes([n]))
        root = tree.finish()
        leaves: list[bytes] = []

        def depth(raw: bytes, blocks: dict[bytes, bytes] = blocks, leaves: list[bytes] = leaves) -> int:
            link = dagpb.link_of(raw)
            block = blocks[link.digest]
            found = node.decode(block) if link.codec == cid.DAG_PB else None
            if found is None or not found.links:
                leaves.append(block if found is None else found.data)
                return 0
            depths = {depth(part.cid) for part in found.links}
            assert len(depths) == 1
            return 1 + depths.pop()

        expected = 0
        while 3**expected < count:
            expected += 1
        assert depth(root.cid) == expected
        assert b"".join(leaves) == bytes(range(count))
        assert root.size == count


# -- sharded directories ---------------------------------------------------------------------------------------


def entries(count: int, name: str = "name-{:06}") -> dict[bytes, Built]:
    link = cid.PREFIX[cid.RAW] + cid.digest_of(b"x")
    return {name.format(n).encode(): Built(link, 1, 1) for n in range(count)}


def is_sharded(made: dict[bytes, Built], profile: profiles.Profile) -> bool:
    blocks: list[bytes] = []
    directory.build(made, profile, lambda block: blocks.append(block[2]))
    return node.decode(blocks[-1]).kind == node.SHARD


def test_a_directory_is_sharded_above_256_kib_of_names_and_cids_or_of_its_whole_block() -> None:
    # 11 + 36 bytes of name and CID an entry: 5577 of them make 262,119; one name of 25 more fills it up exactly
    exact = entries(5576)
    exact[b"y" * 36] = Built(cid.PREFIX[cid.RAW] + bytes(32), 1, 1)
    links = sum(len(name) + len(built.cid) for name, built in exact.items())
    assert links == 262144
    assert not is_sharded(exact, profiles.V0_2015)
    assert is_sharded(exact, profiles.KUBO_V1)  # which began at the threshold
    longer = {**exact, b"y" * 37: exact.pop(b"y" * 36)}
    assert is_sharded(longer, profiles.V0_2015)
    assert is_sharded(entries(5576), profiles.V1_2025)  # its block has 262,144 long before

    def block_size(made: dict[bytes, Built]) -> int:
        links = [dagpb.PBLink(built.cid, name, built.total) for name, built in made.items()]
        return len(dagpb.encode(links, node.DIRECTORY_DATA))

    made = entries(4700)
    each = block_size({**made, b"z00000": Built(cid.PREFIX[cid.RAW] + bytes(32), 1, 1)}) - block_size(made)
    for n in range((262144 - 60 - block_size(made)) // each):
        made[b"z%05d" % n] = Built(cid.PREFIX[cid.RAW] + bytes(32), 1, 1)
    rest = 262144 - block_size({**made, b"\x7f": Built(cid.PREFIX[cid.RAW] + bytes(32), 1, 1)})
    fill = 1 + rest
    exact = {**made, b"\x7f" * fill: Built(cid.PREFIX[cid.RAW] + bytes(32), 1, 1)}
    assert block_size(exact) == 262144
    assert not is_sharded(exact, profiles.V1_2025)
    one_more = {**made, b"\x7f" * (fill + 1): Built(cid.PREFIX[cid.RAW] + bytes(32), 1, 1)}
    assert is_sharded(one_more, profiles.V1_2025)


async def test_every_name_of_a_sharded_directory_is_found_and_no_shard_is_large() -> None:
    store = MemoryStore()
    blocks: list[tuple[int, bytes, bytes]] = []
    made = directory.build(entries(20_000), profiles.V1_2025, blocks.append)
    await store.put(blocks)
    link = dagpb.link_of(made.cid)
    names = [entry.name async for entry in unixfs.reading.list_entries(store, link)]
    assert sorted(names) == [f"name-{n:06}" for n in range(20_000)]
    assert max(len(block) for _, _, block in blocks) < 40_000


def test_murmur3_is_that_of_the_specification() -> None:
    # https://github.com/aappleby/smhasher: x64-128 with seed 0, first half
    assert directory.hash_of(b"") == 0
    assert directory.hash_of(b"hello") == 0xCBD8A7B341BD9B02
    assert directory.slot_of(0xCBD8A7B341BD9B02, 0, 256) == 0xCB
    assert directory.slot_of(0xCBD8A7B341BD9B02, 7, 256) == 0x02
    with pytest.raises(ContentError, match="deeper"):
        directory.slot_of(0, 8, 256)


def test_a_profile_that_is_not_known_is_named_with_the_nearest() -> None:
    with pytest.raises(ContentError, match="unixfs-v1-2025"):
        profiles.named("unixfs-v1-2026")
