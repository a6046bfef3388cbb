"""Content between peers: blocks by their CIDs, receipts, promises, and requests to keep a copy.

One request, one answer, over `/debros/content/1`. A request is DAG-CBOR `[what, [links]]` of at most 256 links:

- `get`: the sections (length, CID, block) of those that are there, in the order asked, as a stream cut into frames; it
  ends early when it is long, and what did not come is asked for again.
- `have`: for each a receipt, or null. `hold`: likewise with a promise to keep it for a day. `keep`: true where the peer
  will fetch it and keep a copy.

Who wants to let content go asks for promises first, and makes none for it meanwhile: so two that rely on each other never
let go of the last two copies at once. Where both want to, the one whose name is smaller stays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import aclosing
from hashlib import sha256
from typing import Any, Final

import trio

from debros.blocks import car, cid, dagcbor
from debros.blocks.cid import Link
from debros.blocks.tail import Block
from debros.errors import ContentMissingError, CorruptionError, DebrosError, ProtocolError, TransportError
from debros.identity.keys import Device
from debros.net.transport import Transport
from debros.pinning import copies
from debros.pinning import ledger as states
from debros.pinning.pins import Pins, promise_key
from debros.pinning.receipts import parse_receipt, sign_receipt
from debros.pinning.rules import DAY_S

PROTOCOL: Final = "/debros/content/1"
MAX_LINKS: Final = 256
MAX_ANSWER: Final = 8 << 20  # bytes of blocks, after which an answer ends
FRAME: Final = 1 << 20
AT_ONCE: Final = 8  # blocks in one request
PEERS: Final = 4  # that are asked at the same time
DEADLINE_S: Final = 30.0
PROMISE_MS: Final = int(DAY_S * 1000)


class Exchange:
    """One node's content among its peers. A `debros.pinning.contents.Source`."""

    def __init__(
        self, pins: Pins, transport: Transport, device: Callable[[], Device], serves: Callable[[str], bool],
        now_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._pins = pins
        self._transport = transport
        self._device = device
        self._serves = serves
        self._now_ms = now_ms
        self._leaving: set[Link] = set()
        self._keys: dict[str, bytes] = {}  # the key that a peer signs with
        transport.handle(PROTOCOL, self.serve)

    # -- answering ---------------------------------------------------------------------------------------------

    async def serve(self, peer: str, request: bytes) -> AsyncGenerator[bytes, None]:
        """Answer a peer; see `debros.net.transport.Serve`.

        Raises:
            ProtocolError: the request has not the form.
            TransportError: this node serves members only, and the peer has not proven to be one.
        """
        what, links = _parse_request(request)
        if not self._serves(peer):
            raise TransportError(peer, "this node serves members only")
        if what == "get":
            async with aclosing(self._sections(peer, links)) as frames:
                async for frame in frames:
                    yield frame
        elif what in ("have", "hold"):
            yield dagcbor.encode([await self._receipt(peer, link, promise=what == "hold") for link in links])
        else:
            yield dagcbor.encode([await self._pins.accept(link) for link in links])

    async def _sections(self, peer: str, links: Sequence[Link]) -> AsyncGenerator[bytes, None]:
        ledger, contents = await self._pins.ready()
        waiting = bytearray()
        sent = 0
        for link in links:
            if sent > MAX_ANSWER:
                break
            try:
                block = await contents.store.get(link)
            except (ContentMissingError, CorruptionError):
                continue
            item = ledger.find(link)
            if item is not None:
                self._pins.touch(link)
                ledger.note_asked(item.n, peer)
            sent += len(block)
            waiting += car.section_head(link.codec, link.digest, len(block)) + block
            while len(waiting) >= FRAME:
                yield bytes(waiting[:FRAME])
                del waiting[:FRAME]
        if waiting:
            yield bytes(waiting)

    async def _receipt(self, peer: str, link: Link, *, promise: bool) -> bytes | None:
        if link.codec == cid.DAG_CBOR:
            return await self._entry_receipt(peer, link, promise=promise)
        ledger, contents = await self._pins.ready()
        item = ledger.find(link)
        if item is None or item.state not in (states.PINNED, states.UNPINNING) or not await contents.is_whole(link):
            return None
        now = self._now_ms()
        if not promise:
            return sign_receipt(self._device(), link, now)
        if link in self._leaving and self._transport.peer_id > peer:
            return None
        self._leaving.discard(link)
        item = ledger.find(link)
        if item is None or item.state not in (states.PINNED, states.UNPINNING):
            return None  # it went while its blocks were looked at
        until = now + PROMISE_MS
        ledger.change(item.n, promised=until)  # on disk before it is said
        return sign_receipt(self._device(), link, now, until)

    async def _entry_receipt(self, peer: str, link: Link, *, promise: bool) -> bytes | None:
        """Return a receipt for an entry and all before it; `promise`: that its log stays here for a day."""
        ledger, _ = await self._pins.ready()
        log_id = await self._pins.log_of(link.digest)
        if log_id is None:
            return None
        now = self._now_ms()
        if not promise:
            return sign_receipt(self._device(), link, now)
        departures = self._pins.departures
        if departures is not None and departures.is_leaving(log_id):
            if departures.leaving.has(log_id) or self._transport.peer_id > peer:
                return None
            departures.stay(log_id)
        until = now + PROMISE_MS
        with ledger.transaction():
            ledger.set_meta(promise_key(log_id), until)  # on disk before it is said
        return sign_receipt(self._device(), link, now, until)

    # -- asking ------------------------------------------------------------------------------------------------

    async def bring(self, links: Collection[Link], take: Callable[[Sequence[Block]], Awaitable[None]]) -> None:
        """Fetch blocks from several peers at once; see `Source.bring`."""
        hunt = _Hunt(links)
        async with trio.open_nursery() as nursery:
            for peer in list(self._transport.connected)[:PEERS]:
                nursery.start_soon(self._fetch, peer, hunt, take, nursery.cancel_scope)
        if hunt.failure is not None:
            raise hunt.failure
        if hunt.open:
            raise ContentMissingError(tuple(map(str, hunt.open)))

    async def _fetch(
        self, peer: str, hunt: _Hunt, take: Callable[[Sequence[Block]], Awaitable[None]], scope: trio.CancelScope
    ) -> None:
        while some := await hunt.next_for(peer):
            try:
                blocks, cut_short = await self._blocks(peer, some)
                if blocks:
                    await take(blocks)
            except (TransportError, ProtocolError, trio.TooSlowError):
                hunt.give_back(some)
                return  # this peer is asked no more
            except DebrosError as error:  # of `take`: there is no room, or the disk refused
                hunt.failure = error
                scope.cancel()
                return
            hunt.note(peer, some, {Link(codec, digest) for codec, digest, _ in blocks}, cut_short)

    async def _blocks(self, peer: str, links: Sequence[Link]) -> tuple[list[Block], bool]:
        """Return the blocks that a peer gives, each hashed, and whether there may be more of them."""
        raw = bytearray()
        found: list[Block] = []
        total = 0
        wanted = set(links)
        most = MAX_ANSWER + car.MAX_BLOCK + MAX_LINKS * 64
        with trio.fail_after(DEADLINE_S):
            async with self._transport.request(peer, PROTOCOL, _request("get", links), max_bytes=most) as frames:
                async for frame in frames:
                    raw += frame
                    while (block := _take_section(raw)) is not None:
                        link = Link(block[0], block[1])
                        if link not in wanted:
                            raise ProtocolError(f"{peer} sent a block that was not asked for")
                        wanted.remove(link)
                        found.append(block)
                        total += len(block[2])
        if raw:
            raise ProtocolError(f"{peer} sent a block that its end cuts off")
        return found, total > MAX_ANSWER

    async def tend(self) -> bool:
        """Learn who holds what is here, ask for promises and copies; return whether something may go now."""
        peers = list(self._transport.connected)
        if not peers:
            return False
        ledger, _ = await self._pins.ready()
        wanted, leaving = copies.concerns(ledger, self._pins.ruling)
        for some in _batches(wanted):
            for peer in peers:
                await self._note(peer, some, await self._answers(peer, "have", some))
            await self._ask_for_copies(some)
        promised = False
        for some in _batches(leaving):
            self._leaving.update(some)
            try:
                for peer in peers:
                    still = [link for link in some if link in self._leaving]
                    promised |= await self._note(peer, still, await self._answers(peer, "hold", still))
                for link in set(some) - self._leaving:  # promised to another meanwhile
                    copies.stay(ledger, link)
            finally:
                self._leaving.difference_update(some)
        return promised

    async def ask_for_log(self, log_id: bytes, heads: Sequence[Link]) -> dict[bytes, int]:
        """Ask all peers to hold a log up to these heads; see `departing.Ask`."""
        found: dict[bytes, int] = {}
        own = self._device().public
        for peer in list(self._transport.connected):
            answers = await self._answers(peer, "hold", heads[:MAX_LINKS]) if len(heads) <= MAX_LINKS else []
            try:
                receipts = [parse_receipt(answer, head) for answer, head in zip(answers, heads, strict=True)]
            except (ProtocolError, TypeError, ValueError):
                continue  # it does not hold all of it, or cannot say it right
            by = {receipt.by for receipt in receipts}
            if len(by) == 1 and own not in by:
                ends = min(receipt.until for receipt in receipts)
                found[by.pop()] = min(ends, self._now_ms() + PROMISE_MS)
        return found

    async def _ask_for_copies(self, links: Sequence[Link]) -> None:
        ledger, _ = await self._pins.ready()
        peers = list(self._transport.connected)
        for peer, some in copies.short_of_copies(ledger, self._pins.ruling, links, peers, self._keys).items():
            await self._answers(peer, "keep", some)

    async def _answers(self, peer: str, what: str, links: Sequence[Link]) -> list[Any]:
        """Return what a peer answers to each, nothing where it does not."""
        if not links:
            return []
        try:
            with trio.fail_after(DEADLINE_S):
                request = self._transport.request(peer, PROTOCOL, _request(what, links), max_bytes=FRAME)
                async with request as frames:
                    raw = b"".join([frame async for frame in frames])
            found = dagcbor.decode(raw)
        except (TransportError, trio.TooSlowError, ValueError):
            return []
        return found if type(found) is list and len(found) == len(links) else []

    async def _note(self, peer: str, links: Sequence[Link], answers: Sequence[Any]) -> bool:
        ledger, _ = await self._pins.ready()
        promised = False
        own = self._device().public
        for link, answer in zip(links, answers, strict=False):  # no answers: nothing is known
            item = ledger.find(link)
            if item is None:
                continue
            if answer is None:
                if peer in self._keys:
                    ledger.drop_copy(item.n, self._keys[peer])
                continue
            try:
                receipt = parse_receipt(answer, link)
            except (ProtocolError, TypeError):
                continue  # a peer that cannot say it right holds nothing
            if receipt.by == own:
                continue
            self._keys[peer] = receipt.by
            now = self._now_ms()
            until = min(receipt.until, now + PROMISE_MS)
            ledger.note_copy(item.n, receipt.by, now, until, receipt.raw)
            promised |= until > now
        return promised


class _Hunt:
    """Blocks that several peers are asked for at once: who is asked for what, and who does not have it."""

    def __init__(self, links: Iterable[Link]) -> None:
        self.open = dict.fromkeys(links)  # not here yet
        self.failure: DebrosError | None = None  # why it was given up
        self._free = deque(self.open)
        self._lacking: dict[Link, set[str]] = {}
        self._asked = 0
        self._changed = trio.Event()

    async def next_for(self, peer: str) -> list[Link]:
        """Return what to ask a peer for next; nothing once it cannot help any more."""
        while True:
            some = [link for link in self._free if peer not in self._lacking.get(link, ())][:AT_ONCE]
            if some:
                for link in some:
                    self._free.remove(link)
                self._asked += 1
                return some
            if not self._asked:
                return []
            await self._changed.wait()  # what another is asked for may come back

    def note(self, peer: str, asked: Sequence[Link], came: set[Link], cut_short: bool) -> None:
        """Take an answer."""
        for link in asked:
            if link in came:
                self.open.pop(link, None)
            else:
                if not cut_short:
                    self._lacking.setdefault(link, set()).add(peer)
                self._free.append(link)
        self._turn()

    def give_back(self, asked: Sequence[Link]) -> None:
        """A peer did not answer."""
        self._free.extend(asked)
        self._turn()

    def _turn(self) -> None:
        self._asked -= 1
        self._changed.set()
        self._changed = trio.Event()


def _request(what: str, links: Sequence[Link]) -> bytes:
    return dagcbor.encode([what, list(links)])


def _parse_request(raw: bytes) -> tuple[str, list[Link]]:
    try:
        value = dagcbor.decode(raw)
    except ValueError as error:
        raise ProtocolError(f"a request that is not strict DAG-CBOR: {error}") from error
    if type(value) is not list or len(value) != 2 or value[0] not in ("get", "have", "hold", "keep"):
        raise ProtocolError("a request is [get, have, hold or keep, links]")
    what, links = value
    if type(links) is not list or len(links) > MAX_LINKS or not all(type(link) is Link for link in links):
        raise ProtocolError(f"a request names at most {MAX_LINKS} links")
    return what, links


def _take_section(raw: bytearray) -> Block | None:
    """Take a whole section off the beginning; `None` if it is not all there yet.

    Raises:
        ProtocolError: it is no section, or its block does not hash to its CID.
    """
    head = bytes(raw[:48])
    length = 0
    for width, byte in enumerate(head[:4], 1):
        length |= (byte & 127) << 7 * (width - 1)
        if byte < 128:
            break
    else:
        if len(head) < 4:
            return None
        raise ProtocolError("a section of a length that no block has")
    if not cid.SIZE <= length <= car.MAX_LENGTH:
        raise ProtocolError(f"a section of {length} bytes")
    if len(raw) < width + length:
        return None
    try:
        link = cid.from_bytes(bytes(raw[width : width + cid.SIZE]))
    except ValueError as error:
        raise ProtocolError(f"a section without a CID: {error}") from error
    block = bytes(raw[width + cid.SIZE : width + length])
    if sha256(block).digest() != link.digest:
        raise ProtocolError("a block that does not hash to its CID")
    del raw[: width + length]
    return link.codec, link.digest, block


def _batches(links: Sequence[Link]) -> Iterable[Sequence[Link]]:
    return (links[at : at + MAX_LINKS] for at in range(0, len(links), MAX_LINKS))
