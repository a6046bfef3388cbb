"""`db.pins` and `db.content`: what stays on this node, why, and for how long.

A sweep runs on a schedule in the node's clock: it writes down what was used and what refers to what, ranks, lets go of
what may go, collects blocks and compacts segments. Between sweeps workers bring what is wanted. Both go on after a kill
where the ledger says they were.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from typing import Final

import trio

from debros.blocks.carstore import CarStore
from debros.blocks.cid import Link
from debros.blocks.unixfs import parse, reading
from debros.blocks.unixfs.adding import Path
from debros.config import Config
from debros.env import Env
from debros.errors import (
    CeilingError,
    ClosedError,
    ContentError,
    ContentMissingError,
    DebrosError,
    NotFoundError,
    StorageError,
)
from debros.identity.keys import Device
from debros.net.transport import Transport
from debros.pinning import ledger as states
from debros.pinning.contents import Contents, Source
from debros.pinning.copies import concerns, short_of_copies
from debros.pinning.deciding import Room, decayed
from debros.pinning.departing import Departures
from debros.pinning.ledger import Item, Ledger
from debros.pinning.metering import metrics_of
from debros.pinning.rules import DAY_S
from debros.pinning.ruling import MS, TRUST_S, Ruling, optimal_copies
from debros.pinning.sweeping import carry_out, decided
from debros.pinning.told import Metrics, PinStatus, Stats, Swept
from debros.pinning.tracking import Tracker
from debros.replica.store import Store
from debros.replica.tables import Row
from debros.sync.serving import make_durable

WORKERS: Final = 3
TRIES: Final = 5  # after which content counts as failed; it is tried once a day from then on
FIRST_RETRY_S: Final = 30.0
THOROUGH: Final = 10  # every so many sweeps blocks are looked for that nothing reaches, even if nothing was let go
GATHER_S: Final = 0.5  # after a record came, before what it wants is fetched: many come at once
LEAST_FETCHED: Final = 8 << 20  # bytes that may come of content that says it is small
_ROWS: Final = 10_000  # reads of rows that are remembered until the next sweep


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
        self._used: dict[Link, list[int]] = {}  # times, last time: accesses since the last sweep
        self._read: dict[str, deque[Row]] = {}  # by model, rows that were read since the last sweep
        self._hits = self._misses = 0
        self._woken = trio.Event()
        self._is_wanted = False  # records came that may want content
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
        transport.on_peer.append(lambda peer, came: self._woken.set())

    async def ready(self) -> tuple[Ledger, Contents]:
        """Open what is not open yet, and return it."""
        async with self._opening:
            if self._is_closed:
                raise ClosedError("the node is closed; open it again to use its content")
            if self._ledger is None or self._contents is None:
                ledger = await self._env.offload(Ledger, self._ledger_path)
                try:
                    contents = Contents(self._env, await self._env.offload(self._open_blocks), self._room.max_bytes)
                    await contents.measure()
                    if ledger.meta("since") is None:
                        ledger.set_meta("since", self._now())
                        ledger.set_meta("found", contents.used)
                    if self.departures is not None and (left := self.departures.leaving.left):
                        ledger.forget_logs(left)
                        self.departures.leaving.forget()
                    await self._tracker.catch_up(ledger)
                except BaseException:
                    ledger.close()
                    raise
                contents.make_room = self._make_room
                self._ledger, self._contents = ledger, contents
            self._contents.source = self.source
            return self._ledger, self._contents

    async def aclose(self) -> None:
        """Write down what was learned, and close."""
        self._is_closed = True
        with trio.CancelScope(shield=True):
            if self._ledger is not None:
                try:
                    await self._tracker.flush(self._ledger, self._now())
                    self._write_uses(self._ledger)
                finally:
                    self._ledger.close()
            if self._contents is not None:
                await self._contents.aclose()

    async def run(self) -> None:
        """Sweep and bring what is wanted, as long as the node is open."""
        due = trio.current_time()
        rounds = 0
        while True:
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
                await self.bring_due()
                wait_s = await self._until_due()
            except StorageError as error:  # told by `stats`; the next round tries again
                used = 0 if self._contents is None else self._contents.used
                self._last = Swept(0, 0, 0, 0, used, str(error))
            with trio.move_on_after(max(0.0, min(due - trio.current_time(), wait_s))):
                await self._woken.wait()

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
        self.touch(link)
        item = ledger.find(link)
        if item is not None and item.state in (states.PINNED, states.UNPINNING):
            self._hits += 1
        elif start == 0 and length is None and not await contents.is_whole(link):
            self._misses += 1
            await self._bring(item or ledger.add(link, states.UNPINNED, self._now(), size=size))
        return reading.Content(contents, link, start, length)

    async def is_held(self, link: Link) -> bool:
        """Whether every block of a piece of content is on this node."""
        return await self._is_whole(link)

    def touch(self, link: Link, times: int = 1) -> None:
        """Count an access."""
        now = self._now()
        entry = self._used.get(link)
        if entry is None:
            self._used[link] = [times, now]
        else:
            entry[0] += times
            entry[1] = now

    def reads_of(self, model: str) -> deque[Row]:
        """Return where rows of a model are put that were read: each counts as an access of the content it refers to.

        Worked out at the next sweep; so a read pays for nothing but the append.
        """
        return self._read.setdefault(model, deque(maxlen=_ROWS))

    # -- the surface ---------------------------------------------------------------------------------------------

    async def pin(self, cid: str, /) -> PinStatus:
        """Keep content whatever the rules say, and bring it if it is not here.

        Raises:
            ContentError: this is no CID that is known here.
        """
        link = _link(cid)
        ledger, _ = await self.ready()
        now = self._now()
        item = ledger.find(link) or ledger.add(link, states.UNPINNED, now)
        state = item.state
        if state == states.UNPINNING:
            state = states.PINNED
        elif state != states.PINNED:
            state = states.PINNED if await self._is_whole(link) else states.PENDING
        ledger.change(item.n, hand=states.BY_HAND, state=state, tries=0, due=now, note=None)
        if item.size < 0 and state == states.PINNED:
            await self._measure(item.n, link)
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
        item = self._known(ledger, cid)
        facts, rule = self.ruling.facts(ledger, item), self.ruling.rule(ledger, item)
        asked = sorted(ledger.asked(item.n).items(), key=lambda entry: (-entry[1], entry[0]))
        waits = item.state in (states.PENDING, states.FAILED)
        return PinStatus(
            cid=cid, state=states.STATES[item.state], is_here=item.state in (states.PINNED, states.UNPINNING),
            size=item.size, model=facts.model, strategy="none" if rule is None else rule.strategy,
            by_hand=item.hand == states.BY_HAND, accesses=facts.accesses, score=facts.score, age_s=facts.age_s,
            idle_s=facts.idle_s, copies=facts.copies, wanted_copies=(0, 0) if rule is None else rule.copies,
            optimal_copies=optimal_copies(rule, len(asked)), recommended_peers=tuple(peer for peer, _ in asked), tries=item.tries,
            next_try_s=max(0, item.due - self._now()) / MS if waits else None, note=item.note or "",
        )  # fmt: skip

    async def why(self, cid: str, /) -> str:
        """Return why content stays, comes or goes, in words."""
        ledger, _ = await self._told()
        item = self._known(ledger, cid)
        status = await self.status(cid)
        verdicts = await decided(self._env, ledger, self.ruling, self._room, force=False)
        verdict = verdicts.get(item.n)
        told = (
            f"{status.state}: {verdict.why}"
            if verdict is not None
            else f"{status.state}: {self.ruling.why_none(ledger, item)}"
        )
        if status.model:
            told += f"; rule {status.strategy} of {status.model}, used {status.accesses} times"
        if item.state == states.UNPINNING:
            told += f"; held by {status.copies} others"
        return told + (f"; {item.note}" if item.note else "")

    async def stats(self) -> Stats:
        """Return pins by state and model."""
        ledger, contents = await self._told()
        by_state: dict[states.State, int] = {name: ledger.count(n) for n, name in enumerate(states.STATES)}
        models = dict(ledger.rows("SELECT model, count(*) FROM items WHERE state = ? GROUP BY model", (states.PINNED,)))
        failed = [str(item.link) for item in ledger.items(states.FAILED)]
        return Stats(
            states=by_state, models={ledger.name(n).decode(): count for n, count in models.items() if n},
            used_bytes=contents.used, max_bytes=self._room.max_bytes, max_pins=self._room.max_pins,
            wanted_and_held_by_nobody=tuple(failed[:100]), last_sweep=self._last,
        )  # fmt: skip

    async def metrics(self) -> Metrics:
        """Return the content of this node in numbers."""
        ledger, contents = await self._told()
        usage = await contents.measure()
        return metrics_of(ledger, self.ruling, usage, self._room.max_bytes, self._hits, self._misses)

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
            await self._learn(ledger, contents, now)
            self._write_uses(ledger)
            verdicts = await decided(self._env, ledger, self.ruling, self._room, force=force)
            pinned, evicted, waiting = await carry_out(ledger, self.ruling, verdicts, force=force)
            freed = await self._collect(ledger, contents) if evicted or thorough else 0
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
            await self._learn(ledger, contents, self._now())
        if self._used or any(self._read.values()):
            self._write_uses(ledger)
        return ledger, contents

    async def _learn(self, ledger: Ledger, contents: Contents, now: int) -> None:
        new = await self._tracker.flush(ledger, now)
        for item in new:
            if await contents.is_whole(item.link):  # the ledger is younger than the content
                ledger.change(item.n, state=states.PINNED, size=await contents.size_of(item.link))

    async def _collect(self, ledger: Ledger, contents: Contents) -> int:
        kept = [states.PINNED, states.UNPINNING]
        if (
            contents.used <= self._room.max_bytes
        ):  # else what is not whole goes too: a power cut may bring back what went
            kept += [states.PENDING, states.FAILED]
        if ledger.meta("found") and self._now() - ledger.meta("since") < DAY_S * MS:
            return 0  # the ledger was lost, and what was pinned by hand with it: a day to say so again
        freed = await contents.collect(lambda: [item.link for item in ledger.items(*kept)])
        if freed:
            await contents.store.compact()
        for item in list(ledger.items(states.UNPINNED)):
            if item.hand == 0 and not ledger.referred(item.n):
                ledger.remove(item.n)
        return freed

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
        ledger, _ = await self.ready()
        while due := ledger.due(self._now(), 50):
            limit = trio.CapacityLimiter(WORKERS)
            async with trio.open_nursery() as nursery:
                for item in due:
                    nursery.start_soon(self._work, item, limit)

    async def _work(self, item: Item, limit: trio.CapacityLimiter) -> None:
        ledger, _ = await self.ready()
        async with limit:
            try:
                await self._bring(item)
            except (DebrosError, OSError) as error:
                tries = item.tries + 1
                wait_s = min(DAY_S, FIRST_RETRY_S * 2.0**item.tries) if tries < TRIES else DAY_S
                state = states.PENDING if tries < TRIES else states.FAILED
                due = self._now() + int(wait_s * MS)
                ledger.change(item.n, tries=tries, due=due, state=state, note=str(error)[:200])

    async def _bring(self, item: Item) -> None:
        """Bring the blocks of a piece of content that are not here. What has come stays, so it goes on where it was."""
        ledger, contents = await self.ready()
        link = item.link
        most = LEAST_FETCHED + 2 * item.size if item.size >= 0 else self._room.max_bytes
        async with contents.session() as session:
            while missing := await contents.missing_of(link):
                if contents.source is None:
                    raise ContentMissingError(tuple(map(str, missing)))
                await contents.source.bring(missing, session.put)
                if session.new_bytes > most:
                    raise ContentError(
                        f"{link} has more than {session.new_bytes} bytes, and its record says {item.size}"
                    )
            await session.put([], durable=True)
            state = states.UNPINNED if item.hand == states.AGAINST else states.PINNED
            ledger.change(item.n, state=state, tries=0, note=None, size=await contents.size_of(link))

    async def learn(self) -> None:
        """Write down what entries said of content, and see what of it is here."""
        ledger, contents = await self.ready()
        await self._learn(ledger, contents, self._now())

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

    async def concerns(self) -> tuple[list[Link], list[Link]]:
        """Return what is here and whose copies count, and what is to go once others promise to hold it."""
        ledger, _ = await self.ready()
        return concerns(ledger, self.ruling)

    async def stay(self, link: Link) -> None:
        """Keep what was to go: others rely on it."""
        ledger, _ = await self.ready()
        item = ledger.find(link)
        if item is not None and item.state == states.UNPINNING:
            ledger.change(item.n, note="is to go, and stays until a promise to others ends")

    async def accept(self, link: Link) -> bool:
        """Say whether this node will keep a copy for a peer: of what its records refer to, where it has room."""
        ledger, contents = await self.ready()
        await self._learn(ledger, contents, self._now())
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

    async def short_of_copies(
        self, links: Sequence[Link], peers: Sequence[str], keys: Mapping[str, bytes]
    ) -> dict[str, list[Link]]:
        """Return, by connected peer, of what it should be asked to keep a copy: those who used it most come first."""
        ledger, _ = await self.ready()
        return short_of_copies(ledger, self.ruling, links, peers, keys)

    async def _is_whole(self, link: Link) -> bool:
        _, contents = await self.ready()
        return await contents.is_whole(link)

    async def _measure(self, n: int, link: Link) -> None:
        ledger, contents = await self.ready()
        ledger.change(n, size=await contents.size_of(link))

    # -- facts -----------------------------------------------------------------------------------------------------

    def _write_uses(self, ledger: Ledger) -> None:
        for model, rows in self._read.items():
            while rows:
                for link, _ in self._tracker.content_of(model, rows.popleft()):
                    self.touch(link)
        used, self._used = self._used, {}
        with ledger.db:
            for link, (times, at) in used.items():
                item = ledger.find(link)
                if item is not None:
                    rule = self.ruling.rule(ledger, item)
                    half_life_s = DAY_S if rule is None else rule.half_life_s
                    score = decayed(item.score, (at - item.used) / MS, half_life_s) + times
                    ledger.change(item.n, uses=item.uses + times, score=score, used=max(at, item.used))

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
