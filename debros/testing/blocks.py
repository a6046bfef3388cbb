"""The contract of block stores: what every implementation does, as checks that other packages run over their own.

    from debros.testing.blocks import STORE_CONTRACT

    @pytest.mark.parametrize("check", STORE_CONTRACT, ids=lambda check: check.__name__)
    async def test_my_store(check): await check(open_my_store)

`open_my_store()` is an async context manager that gives a new, empty store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from typing import Final, TypeAlias

import trio

from debros.blocks import car, cid
from debros.blocks.cid import Link
from debros.blocks.store import BlockStore
from debros.blocks.tail import Block
from debros.errors import ClosedError, ContentError, ContentMissingError, CorruptionError, TooLargeError

Opener: TypeAlias = Callable[[], AbstractAsyncContextManager[BlockStore]]
Check: TypeAlias = Callable[[Opener], Awaitable[None]]


def block_of(data: bytes, codec: int = cid.RAW) -> Block:
    """Return a block that a store takes."""
    return codec, sha256(data).digest(), data


def link_of(block: Block) -> Link:
    """Return what names a block."""
    return Link(block[0], block[1])


async def _raises(kind: type[Exception], action: Callable[[], Awaitable[object]]) -> None:
    try:
        await action()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected")


async def what_was_put_is_given_back(opener: Opener) -> None:
    async with opener() as store:
        blocks = [block_of(bytes([n]) * n) for n in range(50)]
        await store.put(blocks)
        for block in blocks:
            assert await store.has(link_of(block))
            assert await store.get(link_of(block)) == block[2]


async def a_block_of_another_codec_is_another_block(opener: Opener) -> None:
    async with opener() as store:
        await store.put([block_of(b"\xa0", cid.DAG_CBOR)])
        assert not await store.has(link_of(block_of(b"\xa0", cid.RAW)))


async def what_is_not_there_is_told_by_its_cid(opener: Opener) -> None:
    async with opener() as store:
        link = link_of(block_of(b"nowhere"))
        assert not await store.has(link)
        told: tuple[str, ...] = ()
        try:
            await store.get(link)
        except ContentMissingError as error:
            told = error.cids
        assert told == (str(link),)


async def a_block_under_a_wrong_digest_is_never_given_back(opener: Opener) -> None:
    async with opener() as store:
        digest = sha256(b"right").digest()
        await store.put([(cid.RAW, digest, b"wrong")])
        await _raises(CorruptionError, lambda: store.get(Link(cid.RAW, digest)))


async def a_block_that_is_too_large_or_of_a_strange_codec_is_refused_with_its_group(opener: Opener) -> None:
    async with opener() as store:
        good = block_of(b"good")
        await _raises(TooLargeError, lambda: store.put([good, block_of(bytes(car.MAX_BLOCK + 1))]))
        await _raises(ContentError, lambda: store.put([good, block_of(b"x", 0x0129)]))
        assert not await store.has(link_of(good))
        largest = block_of(bytes(car.MAX_BLOCK))
        await store.put([largest])
        assert len(await store.get(link_of(largest))) == car.MAX_BLOCK


async def what_was_deleted_is_gone_and_may_come_again(opener: Opener) -> None:
    async with opener() as store:
        kept, gone = block_of(b"kept"), block_of(b"gone")
        await store.put([kept, gone])
        await store.delete([link_of(gone), link_of(block_of(b"never here"))])
        assert not await store.has(link_of(gone))
        await _raises(ContentMissingError, lambda: store.get(link_of(gone)))
        assert await store.get(link_of(kept)) == b"kept"
        await store.put([gone])
        assert await store.get(link_of(gone)) == b"gone"


async def a_scan_tells_everything_once(opener: Opener) -> None:
    async with opener() as store:
        blocks = [block_of(n.to_bytes(4, "big")) for n in range(1200)]
        await store.put(blocks)
        await store.put(blocks[:100])  # those are here already
        await store.delete([link_of(block) for block in blocks[600:]])
        found = [link async for link in store.scan()]
        assert len(found) == 600
        assert set(found) == {link_of(block) for block in blocks[:600]}


async def tasks_use_it_at_the_same_time(opener: Opener) -> None:
    async with opener() as store, trio.open_nursery() as nursery:

        async def use(n: int) -> None:
            blocks = [block_of(f"{n}/{k}".encode()) for k in range(20)]
            await store.put(blocks)
            for block in blocks:
                assert await store.get(link_of(block)) == block[2]
            await store.delete([link_of(blocks[0])])
            assert not await store.has(link_of(blocks[0]))

        for n in range(8):
            nursery.start_soon(use, n)


async def a_closed_store_says_so(opener: Opener) -> None:
    async with opener() as store:
        await store.put([block_of(b"x")])
    await _raises(ClosedError, lambda: store.get(link_of(block_of(b"x"))))
    await _raises(ClosedError, lambda: store.put([block_of(b"y")]))


STORE_CONTRACT: Final[tuple[Check, ...]] = (
    what_was_put_is_given_back,
    a_block_of_another_codec_is_another_block,
    what_is_not_there_is_told_by_its_cid,
    a_block_under_a_wrong_digest_is_never_given_back,
    a_block_that_is_too_large_or_of_a_strange_codec_is_refused_with_its_group,
    what_was_deleted_is_gone_and_may_come_again,
    a_scan_tells_everything_once,
    tasks_use_it_at_the_same_time,
    a_closed_store_says_so,
)
