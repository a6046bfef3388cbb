"""Bringing wanted content from peers: workers over the ledger's durable queue, which try again later what nobody has.

What has come stays, so after a kill it goes on where it was.
"""

from __future__ import annotations

from typing import Final

import trio

from debros.errors import ContentError, ContentMissingError, DebrosError
from debros.pinning import ledger as states
from debros.pinning.contents import Contents
from debros.pinning.ledger import Item, Ledger
from debros.pinning.rules import DAY_S
from debros.pinning.ruling import MS, Ruling

WORKERS: Final = 3
TRIES: Final = 5  # after which content counts as failed; it is tried once a day from then on
FIRST_RETRY_S: Final = 30.0
LEAST_FETCHED: Final = 8 << 20  # bytes that may come of content that says it is small
_AT_ONCE: Final = 50  # that are taken from the queue


async def bring_due(ledger: Ledger, contents: Contents, ruling: Ruling) -> None:
    """Try to bring what is wanted and whose time has come; what nobody has is tried again later."""
    while due := ledger.due(ruling.now(), _AT_ONCE):
        limit = trio.CapacityLimiter(WORKERS)
        async with trio.open_nursery() as nursery:
            for item in due:
                nursery.start_soon(_work, ledger, contents, ruling, item, limit)


async def _work(ledger: Ledger, contents: Contents, ruling: Ruling, item: Item, limit: trio.CapacityLimiter) -> None:
    async with limit:
        try:
            await bring(ledger, contents, item)
        except (DebrosError, OSError) as error:
            tries = item.tries + 1
            wait_s = min(DAY_S, FIRST_RETRY_S * 2.0**item.tries) if tries < TRIES else DAY_S
            state = states.PENDING if tries < TRIES else states.FAILED
            due = ruling.now() + int(wait_s * MS)
            ledger.change(item.n, tries=tries, due=due, state=state, note=str(error)[:200])


async def bring(ledger: Ledger, contents: Contents, item: Item) -> None:
    """Bring the blocks of a piece of content that are not here.

    Raises:
        ContentMissingError: nobody who is connected has them.
        ContentError: it has much more than its record says.
        CeilingError, StorageError: there is no room for it; the disk refused.
    """
    link = item.link
    most = LEAST_FETCHED + 2 * item.size if item.size >= 0 else contents.max_bytes
    async with contents.session() as session:
        while missing := await contents.missing_of(link):
            if contents.source is None:
                raise ContentMissingError(tuple(map(str, missing)))
            await contents.source.bring(missing, session.put)
            if session.new_bytes > most:
                raise ContentError(f"{link} has more than {session.new_bytes} bytes, and its record says {item.size}")
        await session.put([], durable=True)
        state = states.UNPINNED if item.hand == states.AGAINST else states.PINNED
        ledger.change(item.n, state=state, tries=0, note=None, size=await contents.size_of(link))
