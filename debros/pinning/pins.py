"""`db.pins` and `db.content`: what stays on this node, why, and for how long.

A sweep runs on a schedule in the node's clock: it writes down what was used and what refers to what, ranks, lets go of
what may go, collects blocks and compacts segments. Between sweeps workers bring what is wanted. Both go on after a kill
where the ledger says they were.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import trio
from trio.lowlevel import enable_ki_protection

from debros.blocks.carstore import CarStore
from debros.blocks.cid import Link
from debros.blocks.unixfs import parse, reading
from debros.blocks.unixfs.adding import Path
from debros.config import Config
from debros.current import check_here
from debros.env import Env
from debros.errors import (
    CeilingError,
    ClosedError,
    ContentError,
    ContentMissingError,
    NotFoundError,
    StorageError,
)
from debros.identity.keys import Device
from debros.net.transport import Transport
from debros.pinning import ledger as states
from debros.pinning.bringing import bring, bring_due
from debros.pinning.contents import Contents, Source
from debros.pinning.deciding import Room
from debros.pinning.departing import Departures
from debros.pinning.ledger import Item, Ledger
from debros.pinning.metering import metrics_of
from debros.pinning.ruling import MS, TRUST_S, Ruling
from debros.pinning.sweeping import carry_out, collect, decided, learn
from debros.pinning.telling import stats_of, status_of, why_of
from debros.pinning.told import Metrics, PinStatus, Stats, Swept
from debros.pinning.tracking import Tracker
from debros.pinning.uses import Uses
from debros.replica.store import Store
from debros.sync.serving import make_durable

THOROUGH: Final = 10  # every so many sweeps blocks are looked for that nothing reaches, even if nothing was let go
GATHER_S: Final = 0.5  # after a record came, before what it wants is fetched: many come at once


def promise_key(log_id: bytes) -> str:
    """Return under which key the ledger keeps until when others rely on a log."""
    return f"promised {log_id.hex()}"


class Pins:
    """The content of one node. All that reads or writes is awaited."""

    def __init__(
        self, env: Env, config: Config, store: Store, open_blocks: Callable[[], CarStore], ledger_path: str
    ) -> None:
        self._env = env
        self._store = store
        self._thread = store.view.thread.number  # that the node lives in
        self._open_blocks = open_blocks
        self._ledger_path = ledger_path
        self.ruling = Ruling(store.models, self._now)
        self._tracker = Tracker(store, frozenset(self.ruling.rules))
        self._room = Room(config.content_bytes, config.content_pins)
        self._period_s = config.sweep_s
        self._opening = trio.Lock()
        self._sweeping = trio.Lock()
        self._ledger: Ledger | None = None
        self._contents: Contents | None = None
        self.uses = Uses(self._tracker.content_of, self._now)
        self._woken = trio.Event()
        self._is_wanted = False  # records came that may want content
        self._has_changed = False  # a peer came, or room was made: what failed may come now
        self._tracker.on_wanted = self._note_wanted
        self._last: Swept | None = None
        self._is_closed = False
        self.source: Source | None = None  # of missing blocks; set once there are peers
        self.departures: Departures | None = None  # of whole logs; a home in memory has none
        self._has_log_ceiling = bool(config.log_bytes)
        self.tend: Callable[[], Awaitable[bool]] | None = None  # learns of copies; whether something may go now

    # -- opening -----------------------------------------------------------------------------------------------

    @property
    def tracker(self) -> Tracker:
        """Who learns of references; the store tells it of entries."""
        return self._tracker

    @property
    def has_work(self) -> bool:
        """Whether there is anything that a node has to look after by itself."""
        return bool(self._tracker.models) or self._has_log_ceiling

    @property
    def counted(self) -> frozenset[str]:
        """The models whose reads count as accesses of their content."""
        return frozenset(self.ruling.rules) & self._tracker.models

    def meet(self, transport: Transport, device: Callable[[], Device], serves: Callable[[str], bool]) -> None:
        """Take content over a transport from now on, and give it to the peers that this node `serves`."""
        from debros.pinning.exchange import Exchange

        exchange = Exchange(self, transport, device, serves, self._now)
        self.source, self.tend = exchange, exchange.tend
        if self.departures is not None:
            self.departures.ask = exchange.ask_for_log
        transport.on_peer.append(lambda _, came: self._note_peer(came=came))

    async def ready(self) -> tuple[Ledger, Contents]:
        """Open what is not open yet, and return it; in another thread than the node's it raises `NoNodeError`."""
        check_here(self._thread)
        async with self._opening:
            self._check_open()
            if self._ledger is None or self._contents is None:
                self._ledger, self._contents = await self._open_both()
            self._contents.source = self.source
            return self._ledger, self._contents

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the node is closed; open it again to use its content")

    async def _open_both(self) -> tuple[Ledger, Contents]:
        async with AsyncExitStack() as opened:
            ledger = await self._env.offload(Ledger, self._ledger_path)
            opened.callback(ledger.close)
            contents = Contents(self._env, await self._env.offload(self._open_blocks), self._room.max_bytes)
            opened.push_async_callback(contents.aclose)
            await contents.measure()
            if ledger.meta("since") is None:
                ledger.set_meta("since", self._now())
                ledger.set_meta("found", contents.used)
            if self.departures is not None and (left := self.departures.leaving.left):
                ledger.forget_logs(left)
                self.departures.leaving.forget()
            await self._tracker.catch_up(ledger, self._check_open)
            self._check_open()
            opened.pop_all()
        contents.make_room = self._make_room
        return ledger, contents

    @enable_ki_protection
    async def aclose(self) -> None:
        """Write down what was learned, and close; again, it does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._woken.set()
        with trio.CancelScope(shield=True):
            async with self._opening:  # whoever opens it just now sees that, and looks at nothing that is closed next
                pass
            try:
                if self._ledger is not None:
                    try:
                        await self._tracker.flush(self._ledger, self._now())
                        self.uses.flush(self._ledger, self.ruling)
                    finally:
                        self._ledger.close()
            finally:
                if self._contents is not None:
                    await self._contents.aclose()

    @enable_ki_protection
    async def run(self) -> None:
        """Sweep and bring what is wanted, as long as the node is open."""
        due = trio.current_time()
        rounds = 0
        while not self._is_closed:
            now = trio.current_time()
            wait_s = self._period_s
            self._woken = trio.Event()
            try:
                if now >= due:
                    due = now + self._period_s
                    await self._sweep(thorough=rounds % THOROUGH == 0)
                    rounds += 1
                    if self.tend is not None and await self.tend():
                        await self._sweep(thorough=False)
                    await self.sweep_logs()
                if self._is_wanted:
                    await trio.sleep(GATHER_S)
                    self._is_wanted = False
                    await self.learn()
                if self._has_changed:
                    self._has_changed = False
                    ledger, _ = await self.ready()
                    ledger.retry(self._now())
                await self.bring_due()
                wait_s = await self._until_due()
            except ClosedError:  # in the middle of it
                if self._is_closed:
                    return
                raise
            except StorageError as error:  # told by `stats`; the next round tries again
                used = 0 if self._contents is None else self._contents.used
                self._last = Swept(0, 0, 0, 0, used, str(error))
            with trio.move_on_after(max(0.0, min(due - trio.current_time(), wait_s))):
                await self._woken.wait()

    def _note_peer(self, *, came: bool) -> None:
        self._has_changed = self._has_changed or came
        self._woken.set()

    def _note_wanted(self) -> None:
        self._is_wanted = True
        self._woken.set()

    async def _until_due(self) -> float:
        ledger, _ = await self.ready()
        next_due = ledger.next_due()
        return self._period_s if next_due is None else max(0.05, (next_due - self._now()) / MS)

    def _now(self) -> int:
        return self._env.now_us() // 1000

    # -- content -----------------------------------------------------------------------------------------------

    async def add(self, data: bytes | Path | AsyncIterable[bytes], /) -> tuple[Link, int]:
        """Add content and return its CID and size; see `File.add`."""
        ledger, contents = await self.ready()
        async with contents.session() as session:
            link, size, total = await contents.add(session, data)
            item, now = ledger.find(link), self._now()
            if item is None:
                ledger.add(link, states.PINNED, now, size=total)
            else:
                ledger.change(item.n, state=states.PINNED, size=total, added=now, used=max(now, item.used), note=None)
        return link, size

    async def open(self, link: Link, start: int = 0, length: int | None = None, *, size: int = -1) -> reading.Content:
        """Return a file's content, brought by peers where it is not here: all of it, or the blocks of a range.

        `size` is what the content is said to have; much more is not fetched.

        Raises:
            ContentMissingError: it is not here, and no connected peer has it.
            ContentError, StorageError: it is damaged, or no file.
        """
        ledger, contents = await self.ready()
        self.uses.touch(link)
        item = ledger.find(link)
        if item is not None and item.state in (states.PINNED, states.UNPINNING):
            self.uses.hits += 1
        elif start == 0 and length is None and not await contents.is_whole(link):
            self.uses.misses += 1
            await bring(ledger, contents, item or ledger.add(link, states.UNPINNED, self._now(), size=size))
        return reading.Content(contents, link, start, length)

    async def is_held(self, link: Link) -> bool:
        """Whether every block of a piece of content is on this node."""
        _, contents = await self.ready()
        return await contents.is_whole(link)

    def touch(self, link: Link, times: int = 1) -> None:
        """Count an access."""
        self.uses.touch(link, times)

    # -- the surface ---------------------------------------------------------------------------------------------

    async def pin(self, cid: str, /) -> PinStatus:
        """Keep content whatever the rules say, and bring it if it is not here.

        Raises:
            ContentError: this is no CID that is known here.
        """
        link = _link(cid)
        ledger, contents = await self.ready()
        now = self._now()
        item = ledger.find(link) or ledger.add(link, states.UNPINNED, now)
        state = item.state
        if state == states.UNPINNING:
            state = states.PINNED
        elif state != states.PINNED:
            state = states.PINNED if await contents.is_whole(link) else states.PENDING
        ledger.change(item.n, hand=states.BY_HAND, state=state, tries=0, due=now, note=None)
        if item.size < 0 and state == states.PINNED:
            ledger.change(item.n, size=await contents.size_of(link))
        self._woken.set()
        return await self.status(cid)

    async def unpin(self, cid: str, /, *, force: bool = False) -> PinStatus:
        """Let content go, as soon as enough others hold it; with `force` at once if anybody else does.

        Raises:
            ContentMissingError: nothing is known of this content.
        """
        ledger, _ = await self.ready()
        item = self._known(ledger, cid)
        here = item.state in (states.PINNED, states.UNPINNING)
        state = states.UNPINNING if here else states.UNPINNED
        ledger.change(item.n, hand=states.AGAINST, state=state, note="unpinned by hand")
        await self.sweep(force=force)
        return await self.status(cid)

    async def is_pinned(self, cid: str, /) -> bool:
        """Whether content is here and stays."""
        ledger, _ = await self.ready()
        item = ledger.find(_link(cid))
        return item is not None and item.state == states.PINNED

    async def status(self, cid: str, /) -> PinStatus:
        """Return how it stands with a piece of content.

        Raises:
            ContentMissingError: nothing is known of it.
        """
        ledger, _ = await self._told()
        return status_of(ledger, self.ruling, self._known(ledger, cid))

    async def why(self, cid: str, /) -> str:
        """Return why content stays, comes or goes, in words."""
        ledger, _ = await self._told()
        item = self._known(ledger, cid)
        verdicts = await decided(self._env, ledger, self.ruling, self._room, force=False)
        return why_of(ledger, self.ruling, item, verdicts.get(item.n))

    async def stats(self) -> Stats:
        """Return pins by state and model."""
        ledger, contents = await self._told()
        return stats_of(ledger, self._room, contents.used, self._last)

    async def metrics(self) -> Metrics:
        """Return the content of this node in numbers."""
        ledger, contents = await self._told()
        usage = await contents.measure()
        return metrics_of(ledger, self.ruling, usage, self._room.max_bytes, self.uses.hits, self.uses.misses)

    # -- sweeping ------------------------------------------------------------------------------------------------

    async def sweep(self, *, force: bool = False) -> Swept:
        """Look at what is worth keeping now, and let go of the rest.

        Args:
            force: let go of protected content too: that used within the hour, often, or worth most.

        Raises:
            CeilingError: what may not go takes more than `content_bytes`. What could go is gone.
            StorageError: the disk refused.
        """
        refused: CeilingError | None = None
        try:
            swept = await self._sweep(force=force, thorough=True)
        except CeilingError as error:
            refused, swept = error, self._last or Swept(0, 0, 0, 0, error.needed)
        if swept.waiting and self.tend is not None and await self.tend():
            return await self._sweep(force=force, thorough=False)  # what waited for promises has them
        if refused is not None:
            raise refused
        return swept

    async def _sweep(self, *, force: bool = False, thorough: bool) -> Swept:
        ledger, contents = await self.ready()
        async with self._sweeping:
            now = self._now()
            await learn(ledger, contents, self._tracker, now)
            self.uses.flush(ledger, self.ruling)
            verdicts = await decided(self._env, ledger, self.ruling, self._room, force=force)
            pinned, evicted, waiting = await carry_out(ledger, self.ruling, self._tracker, verdicts, force=force)
            freed = await collect(ledger, contents, self.ruling, self._tracker) if evicted or thorough else 0
            self._has_changed = self._has_changed or freed > 0
            self._last = Swept(pinned, evicted, waiting, freed, contents.used)
        if contents.used > self._room.max_bytes:
            raise CeilingError(
                contents.used, self._room.max_bytes,
                f"{waiting} pieces wait until others hold them, the rest is pinned by hand, of models without a rule, "
                "protected, or not saved yet",
            )  # fmt: skip
        self._woken.set()
        return self._last

    async def _told(self) -> tuple[Ledger, Contents]:
        """Return what `ready` does, with what was learned since the last sweep written down."""
        ledger, contents = await self.ready()
        if self._tracker.has_news:
            await learn(ledger, contents, self._tracker, self._now())
        if self.uses.has_news:
            self.uses.flush(ledger, self.ruling)
        return ledger, contents

    async def _make_room(self, needed: int) -> None:
        """Let go of what may go, once something does not fit; a sweep that goes on does it anyway."""
        if self._contents is None or self._sweeping.locked():
            return
        limit = self._room
        self._room = Room(max(0, limit.max_bytes - needed), limit.max_pins)
        try:
            await self.sweep()
        except CeilingError:
            return  # whoever needs the room is told
        finally:
            self._room = limit

    # -- bringing --------------------------------------------------------------------------------------------------

    async def bring_due(self) -> None:
        """Try to bring what is wanted and whose time has come; what nobody has is tried again later."""
        ledger, contents = await self.ready()
        await bring_due(ledger, contents, self.ruling)

    async def learn(self) -> None:
        """Write down what entries said of content, and see what of it is here."""
        ledger, contents = await self.ready()
        await learn(ledger, contents, self._tracker, self._now())

    async def adopt(self, link: Link) -> None:
        """Keep content that came by hand, for an hour, or as long as a record refers to it."""
        ledger, contents = await self.ready()
        if await contents.is_whole(link):
            item, size, now = ledger.find(link), await contents.size_of(link), self._now()
            if item is None:
                ledger.add(link, states.PINNED, now, size=size)
            else:
                ledger.change(item.n, state=states.PINNED, size=size, added=now, note=None)

    # -- whole logs ------------------------------------------------------------------------------------------------

    async def log_of(self, digest: bytes) -> bytes | None:
        """Return the log that holds an entry and all before it, synced to disk; `None`: none does here."""
        entry = self._store.entries.find(digest)
        if entry is None:
            return None
        await make_durable(self._store)
        return self._store.by_number[entry.log].log_id

    async def sweep_logs(self) -> int:
        """Give up whole logs of other users where the log takes more than `log_bytes`; return how many.

        They go when the home is opened next.
        """
        ledger, _ = await self.ready()
        if self.departures is None:
            return 0
        return await self.departures.sweep(lambda log_id: int(ledger.meta(promise_key(log_id)) or 0))

    async def give_up(self, did: str, /) -> bool:
        """Let the whole log of another user go when the home is opened next, with its records; `follow` brings it back.

        Returns:
            `False`: too few peers promise to hold it, or one relies on it being here.

        Raises:
            NotFoundError: this node holds no log of this user, or has written to it.
        """
        ledger, _ = await self.ready()
        if self.departures is None:
            raise NotFoundError("log", (did,))
        return await self.departures.give_up(did, lambda log_id: int(ledger.meta(promise_key(log_id)) or 0))

    # -- copies ----------------------------------------------------------------------------------------------------

    async def accept(self, link: Link) -> bool:
        """Say whether this node will keep a copy for a peer: of what its records refer to, where it has room."""
        ledger, contents = await self.ready()
        await learn(ledger, contents, self._tracker, self._now())
        item = ledger.find(link)
        if item is None or item.hand == states.AGAINST or not ledger.referred(item.n):
            return False
        if item.state in (states.PINNED, states.UNPINNING):
            return True
        if contents.used + max(0, item.size) > self._room.max_bytes:
            return False
        promised = self._now() + int(TRUST_S * MS)
        ledger.change(item.n, state=states.PENDING, tries=0, due=self._now(), promised=promised)
        self._woken.set()
        return True

    # -- facts -----------------------------------------------------------------------------------------------------

    def _known(self, ledger: Ledger, cid: str) -> Item:
        item = ledger.find(_link(cid))
        if item is None:
            raise ContentMissingError((cid,))
        return item


def _link(cid: object) -> Link:
    """Return what a CID means.

    Raises:
        ContentError: it is none.
    """
    if not isinstance(cid, str):
        raise ContentError(f"content is named by its CID as text, `file.cid`, not by {cid!r:.80}")
    return parse(cid)
