"""Reading content back: ranges, hostile trees, and files on disk that misbehave."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks import cid, dagpb, open_store, unixfs
from debros.blocks.dagpb import PBLink
from debros.blocks.store import BlockStore, MemoryStore
from debros.blocks.unixfs import directory, node, profiles
from debros.blocks.unixfs.tree import Built, Tree
from debros.errors import ContentError, ContentMissingError, StorageError
from debros.testing.blocks import block_of

SMALL = profiles.Profile("small", 1, 7, 3, raw_leaves=True, by_block=True)
SMALL_PB = profiles.Profile("small-pb", 0, 7, 3, raw_leaves=False, by_block=False)
RAW_CID = cid.PREFIX[cid.RAW]


async def put(store: BlockStore, data: bytes, codec: int = cid.DAG_PB) -> str:
    block = block_of(data, codec)
    await store.put([block])
    return cid.to_text(block[1], codec)


def built(content: bytes, profile: profiles.Profile) -> tuple[str, list[tuple[int, bytes, bytes]]]:
    blocks: list[tuple[int, bytes, bytes]] = []
    tree = Tree(profile, blocks.append)
    for at in range(0, len(content), profile.chunk):
        tree.add(content[at : at + profile.chunk])
    return str(dagpb.link_of(tree.finish().cid)), blocks


@given(
    st.binary(max_size=300), st.integers(0, 320), st.none() | st.integers(0, 320), st.sampled_from([SMALL, SMALL_PB])
)
@settings(max_examples=60)
def test_a_range_is_that_part_of_the_content(
    content: bytes, start: int, length: int | None, p: profiles.Profile
) -> None:
    import trio

    async def check() -> None:
        store = MemoryStore()
        root, blocks = built(content, p)
        await store.put(blocks)
        expected = content[start:] if length is None else content[start : start + length]
        assert await unixfs.cat(store, root, start=start, length=length) == expected
        assert (await unixfs.stat(store, root)).size == len(content)

    trio.run(check)


async def test_only_blocks_of_the_range_are_read() -> None:
    store = MemoryStore()
    content = bytes(range(200))
    root, blocks = built(content, SMALL)
    await store.put([block for block in blocks if block[0] == cid.DAG_PB or block[2] == content[98:105]])
    assert await unixfs.cat(store, root, start=98, length=7) == content[98:105]
    with pytest.raises(ContentMissingError):
        await unixfs.cat(store, root, start=98, length=8)


async def test_a_reader_may_stop_early() -> None:
    store = MemoryStore()
    root, blocks = built(bytes(100), SMALL)
    await store.put(blocks)
    async for chunk in unixfs.cat(store, root):
        assert len(chunk) == 7
        break


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.binary(max_size=20), st.integers(0, 2**64 - 1))),
    st.binary(),
)
@settings(max_examples=60)
def test_a_node_reads_as_it_was_written(links: list[tuple[bytes, bytes, int]], data: bytes) -> None:
    made = [PBLink(*link) for link in links]
    assert dagpb.decode(dagpb.encode(made, data)) == (made, data)


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_are_a_node_or_a_clear_error(data: bytes) -> None:
    for decode in (dagpb.decode, node.decode):
        with suppress(ContentError):
            decode(data)


HASH = RAW_CID + bytes(32)
LINK = dagpb.encode_link(PBLink(HASH, b"a", 1))


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x05abc",  # cut off
        b"\x0a\x80\x00",  # a length that is not minimal
        b"\x0a" + b"\xff" * 10 + b"\x01",  # beyond 64 bits
        b"\x0d\0\0\0\0",  # another wire type
        b"\x1a\x00",  # a field that nodes do not have
        b"\x0a\x01x\x0a\x01x",  # data twice
        LINK + b"\x0a\x01x" + LINK,  # links in two places
        b"\x12\x00",  # a link without a hash
        b"\x12\x02\x0a\x00",  # a link with an empty hash
        b"\x12\x05\x18\x01\x0a\x01x",  # its fields in another order
        b"\x12\x02\x10\x01",  # a name that is a number
    ],
)
def test_what_is_not_dag_pb_is_refused(data: bytes) -> None:
    with pytest.raises(ContentError, match="not "):
        dagpb.decode(data)


def test_data_before_links_is_read_as_old_writers_wrote_it() -> None:
    links, data = dagpb.decode(b"\x0a\x01x" + LINK)
    assert (len(links), data) == (1, b"x")


async def test_a_cid_of_unknown_codec_or_hash_is_a_clear_error() -> None:
    store = MemoryStore()
    for text in ("", "bafy", "zzz", "bafyrei" + "a" * 52 + "!", "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5", "é"):
        with pytest.raises(ContentError, match="not a CID"):
            unixfs.cat(store, text)
    git = b"\x01\x78\x11\x14" + bytes(20)
    holds_git = await put(store, dagpb.encode([PBLink(git, b"", 1)], node.file_data(b"", 1, [1])))
    with pytest.raises(ContentError, match="codecs raw, dag-pb and dag-cbor"):
        await unixfs.cat(store, holds_git)
    record = await put(store, b"\xa0", cid.DAG_CBOR)
    with pytest.raises(ContentError, match="neither a file nor a directory"):
        await unixfs.cat(store, record)


async def test_a_tree_that_lies_about_its_sizes_ends_in_an_error() -> None:
    store = MemoryStore()
    await put(store, b"12345", cid.RAW)
    leaf = PBLink(RAW_CID + cid.digest_of(b"12345"), b"", 5)
    for data in (
        node.file_data(b"", 4, [4]),
        node.file_data(b"", 6, [5]),
        node.file_data(b"", 5, []),
        b"\x08\x09",
        b"",
    ):
        root = await put(store, dagpb.encode([leaf], data))
        with pytest.raises(ContentError):
            await unixfs.cat(store, root)


async def test_a_small_tree_that_claims_a_large_file_is_not_read_into_memory() -> None:
    """Thirty nodes, each of which links twice to the next, are 2**30 leaves."""
    store = MemoryStore()
    below, size = RAW_CID + cid.digest_of(b"x" * 1024), 1024
    await put(store, b"x" * 1024, cid.RAW)
    for _ in range(26):
        data = dagpb.encode([PBLink(below, b"", 1)] * 2, node.file_data(b"", 2 * size, [size, size]))
        await put(store, data)
        below, size = cid.PREFIX[cid.DAG_PB] + cid.digest_of(data), 2 * size
    root = str(dagpb.link_of(below))
    assert (await unixfs.stat(store, root)).size == 1024 << 26
    assert await unixfs.cat(store, root, start=(1 << 35) + 1, length=2000) == b"x" * 2000
    store_reads = 0
    async for _ in unixfs.cat(store, root):
        store_reads += 1
        if store_reads == 100:
            break


async def test_a_file_deeper_than_any_real_one_is_refused() -> None:
    store = MemoryStore()
    await put(store, b"x", cid.RAW)
    below = RAW_CID + cid.digest_of(b"x")
    for _ in range(40):
        data = dagpb.encode([PBLink(below, b"", 1)], node.file_data(b"", 1, [1]))
        await put(store, data)
        below = cid.PREFIX[cid.DAG_PB] + cid.digest_of(data)
    with pytest.raises(ContentError, match="levels"):
        await unixfs.cat(store, str(dagpb.link_of(below)))


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"../up", b"/etc", b"a\0b"])
async def test_a_directory_with_a_name_that_leads_elsewhere_is_neither_listed_nor_made(
    name: bytes, tmp_path: Path
) -> None:
    store = MemoryStore()
    await put(store, b"x", cid.RAW)
    link = PBLink(RAW_CID + cid.digest_of(b"x"), name, 1)
    root = await put(store, dagpb.encode([link], node.DIRECTORY_DATA))
    with pytest.raises(ContentError, match="no name in a directory"):
        await unixfs.ls(store, root)
    with pytest.raises(ContentError, match="no name in a directory"):
        await unixfs.get(store, root, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ContentError, match="no name in a directory"):
        directory.build({name: Built(link.cid, 1, 1)}, profiles.V1_2025, lambda block: None)


async def test_a_name_in_a_shard_that_is_not_its_own_is_refused() -> None:
    store = MemoryStore()
    link = PBLink(RAW_CID + bytes(32), b"00hello", 1)
    root = await put(store, dagpb.encode([link], node.shard_data(b"\x01", 256)))
    with pytest.raises(ContentError, match="not its own"):
        await unixfs.ls(store, root)


async def test_what_is_written_out_is_what_was_added(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "sub" / "empty").mkdir(parents=True)
    (top / "a.txt").write_text("a\n")
    (top / "sub" / "large").write_bytes(os.urandom(3_000_000))
    (top / "sub" / "link").symlink_to("../a.txt")
    (top / ".hidden").write_text("h")
    for profile in unixfs.PROFILES:
        async with open_store("memory://") as store:
            root = await unixfs.add(store, top, profile=profile)
            out = tmp_path / profile
            await unixfs.get(store, root, out)
            assert (out / "sub" / "large").read_bytes() == (top / "sub" / "large").read_bytes()
            assert os.readlink(out / "sub" / "link") == "../a.txt"
            assert (out / ".hidden").read_text() == "h"
            assert await unixfs.add(store, out, profile=profile) == root
            with pytest.raises(StorageError, match="already"):
                await unixfs.get(store, root, out)


@pytest.mark.parametrize("target", ["/etc/passwd", "..", "sub/../../up", ""])
async def test_a_symbolic_link_that_leads_outside_is_not_written(target: str, tmp_path: Path) -> None:
    store = MemoryStore()
    data = dagpb.encode((), node.symlink_data(target.encode()))
    await put(store, data)
    link = PBLink(cid.PREFIX[cid.DAG_PB] + cid.digest_of(data), b"link", 1)
    root = await put(store, dagpb.encode([link], node.DIRECTORY_DATA))
    with pytest.raises(ContentError, match="symbolic link"):
        await unixfs.get(store, root, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


async def test_a_block_that_is_missing_leaves_nothing_half_done(tmp_path: Path) -> None:
    store = MemoryStore()
    content = os.urandom(100)
    root, blocks = built(content, SMALL)
    await store.put(blocks[:5] + blocks[6:])
    with pytest.raises(ContentMissingError):
        await unixfs.get(store, root, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


async def test_paths_that_cannot_be_read_are_clear_errors(tmp_path: Path) -> None:
    async with open_store("memory://") as store:
        with pytest.raises(StorageError, match="No such file"):
            await unixfs.add(store, tmp_path / "nowhere")
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ContentError, match="neither a file"):
            await unixfs.add(store, tmp_path)

        async def wrong() -> AsyncIterator[bytes]:
            yield "text"  # type: ignore[misc]

        with pytest.raises(ContentError, match="gives bytes, not str"):
            await unixfs.add(store, wrong())


async def test_a_file_that_changes_while_it_is_read_is_not_added(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(bytes(9 << 20))

    def change(done: int) -> None:
        if done == 4 << 20:
            with open(path, "ab") as file:
                file.write(b"more")

    async with open_store("memory://") as store:
        with pytest.raises(ContentError, match="changed while it was read"):
            await unixfs.add(store, path, progress=change)
