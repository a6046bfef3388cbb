"""Replication: a task for each connected peer, answers to what peers ask, and what both know of each other.

A link greets its peer (which logs do we share?), compares every shared log, and then waits: for new entries here, which it
offers at once, for a hint of the peer, or for the period of repair. Everything that comes is a hint but for the comparison
of heads: replication is correct when every offer is lost. What a peer lacks it fetches itself; so one node never decides
what another has to take.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Final

import trio
from trio.lowlevel import enable_ki_protection

from debros.errors import ClosedError, DeadlineError, DebrosError, ProtocolError, StorageError, TransportError
from debros.identity.keys import Device
from debros.net.transport import Transport
from debros.replica.changes import note_models
from debros.replica.receive import Batch, Delivery, check_apart
from debros.replica.replica import Replica
from debros.replica.store import Admitted, Store
from debros.sync import serving
from debros.sync.admitting import Outcome, admit, admit_held
from debros.sync.answering import serve, served
from debros.sync.asking import Asker
from debros.sync.budget import PROTOCOL_POINTS, REFUSED_POINTS, Conduct
from debros.sync.dialling import GOOD_S, Dial
from debros.sync.fingerprints import Fingerprints
from debros.sync.forks import Chains, Fork
from debros.sync.held import Held, Pool, Refused
from debros.sync.links import REMEMBERED_PEERS, Account, Link, Lot
from debros.sync.membership import mark, prove
from debros.sync.notices import Notices
from debros.sync.pulling import Pull
from debros.sync.rate import Rate
from debros.sync.remembered import Remembered
from debros.sync.wire import (
    MAX_COMPARED,
    MAX_HEADS,
    MAX_LOGS,
    MAX_OFFERED_HEADS,
    NONCE,
    OFFERED_SIZE,
    PRINT,
    PROTOCOL,
    Compare,
    Hello,
    NotSharedError,
    Offer,
    State,
    parse_state,
    parse_verdict,
    parse_welcome,
)

PERIOD_S: Final = 15.0  # between two comparisons of a log with a peer when nothing happens
WRITING_S: Final = 1.0  # how long after a write here what peers send gets half of the time, and not all
LONGEST_YIELD_S: Final = 0.25  # that it stands back after a batch
LAG: Final = 1000  # entries missing that are worth a notice


class Sync:
    """The replication of one node."""

    def __init__(
        self, store: Store, transport: Transport, tasks: trio.Nursery, device: Callable[[], Device],
        keeps: Callable[[Replica], bool], gather: Callable[[], object], remembered: Remembered, notices: Notices, *, members_only: bool,
    ) -> None:  # fmt: skip
        self.store = store
        self.transport = transport
        self.tasks = tasks
        self.device = device
        self._wants = keeps
        self.gather = gather  # makes the logs that this node should hold known to the store
        self.remembered = remembered
        self.notices = notices
        self.members_only = members_only
        self.prints = Fingerprints(store)
        self._chains = Chains(store)
        self.refused = Refused()
        self.accounts: dict[str, Account] = {}
        self.links: dict[str, Link] = {}
        self.dials: list[Dial] = []
        self.changed = trio.Event()
        self.serial = 0
        self.awaited = 0  # the number from which on comparisons count for who came last to wait for all of them
        self._written_s = -WRITING_S  # when somebody last wrote here
        self._follows = 0  # how often what is followed changed
        self.rates: dict[int, Rate] = {}
        self.forks: list[Fork] = []
        transport.handle(PROTOCOL, partial(serve, self))
        transport.on_peer.append(self._on_peer)
        store.on_admitted.append(self._on_admitted)

    def start(self, addresses: Iterable[str]) -> None:
        """Dial these addresses, now and whenever their connection is lost."""
        for address in addresses:
            dial = Dial(address)
            self.dials.append(dial)
            self.tasks.start_soon(self._keep_dialled, dial)

    def stop(self) -> None:
        """Hear no more of the store and of the transport."""
        self.store.on_admitted.remove(self._on_admitted)
        self.transport.on_peer.remove(self._on_peer)

    def follows_changed(self) -> None:
        """Greet all peers again: the node keeps other logs now."""
        self._follows += 1
        for link in self.links.values():
            for log_id in [log_id for log_id in link.lots if self.kept(log_id) is None]:
                del link.lots[log_id]
            link.wake()

    # -- what happens ------------------------------------------------------------------------------------------

    def _on_peer(self, peer: str, is_up: bool) -> None:
        if is_up and peer not in self.links:
            link = self.links[peer] = Link(peer, self.account(peer), self.store.env.random_bytes(NONCE))
            self.tasks.start_soon(self._run, link)
            self.notices.tell("peer_joined", peer=peer)
        elif not is_up and (gone := self.links.pop(peer, None)) is not None:
            gone.scope.cancel()
            gone.account.pool = Pool()
            self.notices.tell("peer_left", peer=peer)
        self.note_change()

    def _on_admitted(self, admitted: Sequence[Admitted]) -> None:
        came: dict[Replica, int] = {}  # from peers
        models: set[str] = set()
        for replica, entry, changes, origin in admitted:
            if origin == "local":
                self._written_s = self.now_s()
                for link in self.links.values():
                    link.tell(replica.log_id, entry)
                continue
            came[replica] = came.get(replica, 0) + 1
            note_models(changes, models)
        if any(name.startswith("_") for name in models):  # perhaps of shards that are new
            self._follows += 1
        version = self.version()
        for link in self.links.values():
            if link.greeted != version:  # a log is new here: the peer may wait for it
                link.wake()
        for replica, count in came.items():
            for link in self.links.values():
                link.tell(replica.log_id, None)
            self.rates.setdefault(replica.n, Rate(self.now_s())).add(count, self.now_s())
        if (suspects := self._chains.suspects(admitted)) and not self.store.is_closing:
            self.tasks.start_soon(self._prove_forks, [entry.digest for entry in suspects])
        self.note_change()

    @enable_ki_protection
    async def _prove_forks(self, digests: Sequence[bytes]) -> None:
        await trio.lowlevel.checkpoint()
        for digest in digests:
            try:
                entry = self.store.entries.find(digest)
                fork = None if entry is None else self._chains.proof(entry)
                if fork is not None and self.remembered.note_fork(fork.headers):
                    self.forks.append(fork)
                    self.notices.tell("fork_detected", fork=fork)
            except (ClosedError, StorageError):
                return  # both entries are in the log, where they prove it to whoever looks later

    def note_change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def now_s(self) -> float:
        return self.store.env.monotonic_s()

    def account(self, peer: str) -> Account:
        account = self.accounts.get(peer)
        if account is None:
            if len(self.accounts) >= REMEMBERED_PEERS:
                for name in [name for name in self.accounts if name not in self.links][: REMEMBERED_PEERS // 2]:
                    del self.accounts[name]
            account = self.accounts[peer] = Account(Conduct(self.now_s()))
        return account

    def asker(self, peer: str) -> Asker:
        """Return a peer to be asked, no faster than it would bear."""
        account = self.account(peer)
        asked = account.conduct.asked

        async def pace() -> None:
            while not asked.take(1, self.now_s()):  # noqa: ASYNC110 - time is what brings tokens
                await trio.sleep(1 / asked.per_s)

        return Asker(self.transport, peer, pace, account.asking)

    async def stand_back(self, begun_s: float) -> None:
        """Leave a writer here as much time as something that brings or asks had since it began."""
        if begun_s - self._written_s < WRITING_S:
            await trio.sleep(min(LONGEST_YIELD_S, self.now_s() - begun_s))

    def fault(self, peer: str, points: float) -> None:
        """Let a peer pay; a ban ends its connection."""
        if self.account(peer).conduct.fault(points, self.now_s()) and (link := self.links.get(peer)) is not None:
            link.scope.cancel()

    # -- dialling ----------------------------------------------------------------------------------------------

    @enable_ki_protection
    async def _keep_dialled(self, dial: Dial) -> None:
        while True:
            since_s = self.now_s()
            while dial.peer in self.links:
                await self.changed.wait()
            if self.now_s() - since_s >= GOOD_S:
                dial.failures = 0
            try:
                dial.peer = await self.transport.connect(dial.address)
                dial.failures, dial.last_error = dial.failures + 1, ""  # until it has lasted for a while
            except TransportError as error:
                dial.failures += 1
                dial.last_error = error.reason
                self.note_change()
            await trio.sleep(dial.wait_s(self._dice()))

    def _dice(self) -> float:
        return self.store.env.random_bytes(1)[0] / 255

    # -- a link ------------------------------------------------------------------------------------------------

    @enable_ki_protection
    async def _run(self, link: Link) -> None:
        """Keep one peer's logs and ours together until the connection ends."""
        try:
            with link.scope:
                if not link.account.conduct.is_banned(self.now_s()):
                    await self._keep_together(link)
        except (TransportError, DeadlineError):
            await trio.lowlevel.checkpoint()  # back-off is the dialler's
        except ProtocolError:
            self.fault(link.peer, PROTOCOL_POINTS)
        except (ClosedError, StorageError):
            await trio.lowlevel.checkpoint()  # the node can take nothing more: whoever writes is told
        with trio.CancelScope(shield=True):
            await self.transport.disconnect(link.peer)

    async def _keep_together(self, link: Link) -> None:
        asker = self.asker(link.peer)
        repair_s = self.now_s() + self._period_s()
        while True:
            if link.greeted != self.version():
                self.gather()
                version, link.is_outdated = self.version(), False
                await self._greet(link, asker)
                link.greeted = -1 if link.is_outdated else version
                self.note_change()
            due, have_news = link.next_due(MAX_COMPARED)
            if len(due) == 1:
                await self._compare(link, asker, due[0])
            elif have_news:
                await self._compare_each(link, asker, due)
            elif due:
                await self._compare_many(link, asker, due)
            else:
                await link.wait(max(0.0, repair_s - self.now_s()))
            if self.now_s() >= repair_s:  # however much there is to compare, and however much the peer talks
                repair_s = self.now_s() + self._period_s()
                for replica in self.kept_replicas():
                    await self._retry(replica, all=True)
                link.compare_all()
                link.greeted = -1  # the peer may have proven more, or hold more, since

    def _period_s(self) -> float:
        return PERIOD_S * (0.75 + self._dice() / 2)

    def version(self) -> int:
        """Return what changes whenever the logs that this node keeps do."""
        return len(self.store.by_number) + (self._follows << 32)

    def _keeps(self, replica: Replica) -> bool:
        """Whether a log is kept up with peers: not while its store is away, for it can be neither read nor written."""
        return replica.log_id not in self.store.away and self._wants(replica)

    def kept_replicas(self) -> list[Replica]:
        return [replica for replica in self.store.by_number.values() if self._keeps(replica)]

    def kept(self, log_id: bytes) -> Replica | None:
        replica = self.store.by_number.find(log_id)
        return replica if replica is not None and self._keeps(replica) else None

    async def _greet(self, link: Link, asker: Asker) -> None:
        replicas = self.kept_replicas()
        for start in range(0, len(replicas), MAX_LOGS):
            some = replicas[start : start + MAX_LOGS]
            await asker.may_ask()
            nonce = self.store.env.random_bytes(NONCE)
            marks = [mark(nonce, replica.log_id) for replica in some]
            welcome = parse_welcome(await asker.one(Hello(nonce, marks, None)), len(marks))
            if welcome.refused:  # they are for members: say who we are, and only then
                await asker.may_ask()
                proof = prove(self.device(), self.transport.peer_id, link.peer, welcome.nonce)
                welcome = parse_welcome(await asker.one(Hello(nonce, marks, proof)), len(marks))
            for index in welcome.shared:
                if self._keeps(some[index]):  # still
                    link.lot(some[index].log_id)
            held = {some[index].log_id for index in (*welcome.shared, *welcome.refused)}
            link.doubted -= {replica.log_id for replica in some} - held  # what it does not keep it need not compare
            link.withheld -= {replica.log_id for replica in some}
            link.withheld |= {some[index].log_id for index in welcome.refused}

    async def _compare_many(self, link: Link, asker: Asker, log_ids: Sequence[bytes]) -> None:
        """Ask which of many logs differ; those are compared one by one."""
        await asker.may_ask()
        await serving.make_durable(self.store)
        self.serial += 1
        begun = self.serial
        asked: list[tuple[Replica, Lot, frozenset[bytes]]] = []
        for log_id in log_ids:
            replica, lot = self.kept(log_id), link.lots.get(log_id)
            if replica is None or lot is None:
                link.lots.pop(log_id, None)
            else:
                asked.append((replica, lot, frozenset(replica.heads)))
        if not asked:
            return
        prints = [serving.print_of(heads)[:PRINT] for _, _, heads in asked]
        compare = Compare([replica.log_id for replica, _, _ in asked], prints)
        verdict = parse_verdict(await asker.one(compare), len(asked))
        different, absent = set(verdict.different), set(verdict.absent)
        for n, (replica, lot, heads) in enumerate(asked):
            if n in absent:
                self._not_shared(link, replica.log_id)
                continue
            lot.spoken_s = self.now_s()
            link.doubted.discard(replica.log_id)
            if n in different:
                lot.differs = True
                link.compare(replica.log_id)
            else:
                lot.heads, lot.count = heads, self.prints.count(replica.n)
                self.settle(link, replica, lot, begun)
        self.note_change()

    def _not_shared(self, link: Link, log_id: bytes) -> None:
        """Give up a log that a peer does not serve; ask whether it withholds it, or does not keep it any more."""
        link.lots.pop(log_id, None)
        if log_id in link.doubted:
            link.withheld.add(log_id)
        else:
            link.doubted.add(log_id)
            link.greeted = -1
            link.wake()

    async def _compare_each(self, link: Link, asker: Asker, log_ids: Sequence[bytes]) -> None:
        """Compare a few logs at once, each by itself: one after the other, many new users would wait for as many round trips."""
        failures: list[DebrosError] = []

        async def compare(log_id: bytes) -> None:
            try:
                await self._compare(link, asker, log_id)
            except DebrosError as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for log_id in log_ids:
                nursery.start_soon(compare, log_id)
        if failures:
            raise failures[0]

    async def _compare(self, link: Link, asker: Asker, log_id: bytes) -> None:
        """Offer what is new here, and fetch what is missing here."""
        replica, lot = self.kept(log_id), link.lots.get(log_id)
        if replica is None or lot is None:
            link.lots.pop(log_id, None)
            return
        lot.differs = False
        self.serial += 1
        begun = self.serial
        try:
            state, told = await self._offer(asker, replica, lot)
            lot.spoken_s, lot.count = self.now_s(), state.size
            lot.heads = told if state.equal else frozenset(state.heads)
            if not state.equal and not self.all_judged(replica, state.heads):
                await self._pull(link, asker, replica, lot)
            is_known = state.known or served(self, link.peer, log_id) is None  # what it may not have is not waited for
            if state.equal or (is_known and self.all_judged(replica, state.heads)):
                self.settle(link, replica, lot, begun)
            link.doubted.discard(log_id)
        except NotSharedError:
            self._not_shared(link, log_id)
        self.note_change()

    def settle(self, link: Link, replica: Replica, lot: Lot, serial: int) -> None:
        if lot.pending or not lot.settled:
            self.notices.tell("synced", peer=link.peer, log=replica.manifest.address)
        lot.settled = max(lot.settled, serial)
        lot.pending, lot.is_lagging = 0, False

    async def _offer(self, asker: Asker, replica: Replica, lot: Lot) -> tuple[State, frozenset[bytes]]:
        """Tell a peer of our heads, and return what it says and which heads these were: writers go on meanwhile."""
        store = self.store
        await asker.may_ask()
        await serving.make_durable(store)
        fresh, lot.fresh = lot.fresh, []
        if served(self, asker.peer, replica.log_id) is None:  # a stranger learns that there is something, not what
            fresh = []
        entries: list[Delivery] = []
        size = 0
        for row in fresh:
            delivery = serving.delivery_of(store, row.header, row.body)
            if delivery is None:
                continue
            size += len(delivery.header) + len(delivery.body or b"")
            if size > OFFERED_SIZE:
                break  # the peer fetches what is missing
            entries.append(delivery)
        told = frozenset(replica.heads)
        offer = Offer(replica.log_id, serving.print_of(told), serving.newest(store, told, MAX_OFFERED_HEADS), entries)
        return parse_state(await asker.one(offer)), told

    def all_judged(self, replica: Replica, heads: Sequence[bytes]) -> bool:
        """Whether all of these entries are here, were refused, or are held for something that nobody can send.

        An orphan is not judged before its parents are: they are to be asked for.
        """
        if len(heads) > MAX_HEADS:
            return False
        todo, seen = list(heads), set(heads)
        while todo:
            digest = todo.pop()
            if self.refused.has(replica.n, digest) or replica.entry(digest) is not None:
                continue
            held = self.held(replica, digest)
            if held is None:
                return False
            todo += [parent for parent in held.missing if parent not in seen]
            seen.update(held.missing)
        return True

    def held(self, replica: Replica, digest: bytes) -> Held | None:
        found = (link.account.pool.get(digest) for link in self.links.values())
        return next((held for held in found if held is not None and held.log == replica.n), None)

    def lacking(self, replica: Replica, digests: Collection[bytes]) -> set[bytes]:
        """Return those of these entries that somebody has to send: they are not here, nor refused, nor held."""
        left = set(digests).difference(replica.known_among(frozenset(digests)))
        if len(self.refused):
            left = {digest for digest in left if not self.refused.has(replica.n, digest)}
        if any(len(link.account.pool) for link in self.links.values()):
            left = {digest for digest in left if self.held(replica, digest) is None}
        return left

    async def _pull(self, link: Link, asker: Asker, replica: Replica, lot: Lot) -> None:
        pull = Pull(asker, replica, self.prints, partial(self.lacking, replica))
        missing = await pull.missing()
        lot.pending = len(missing)
        if lot.pending >= LAG and not lot.is_lagging:
            lot.is_lagging = True
            self.notices.tell("lag", peer=link.peer, log=replica.manifest.address, missing=lot.pending)

        async def take(batch: Batch) -> None:
            await self.take(link.peer, link.account, replica, batch)
            lot.pending = max(0, lot.pending - len(batch.digests))
            lot.spoken_s = self.now_s()
            self.note_change()

        await pull.fetch(missing, partial(check_apart, self.store, replica), take)
        lot.pending = 0

    async def take(self, peer: str, account: Account, replica: Replica, batch: Batch) -> Outcome:
        if not self._keeps(replica):
            raise NotSharedError("the log was given up while its entries came")
        begun_s = self.now_s()
        outcome = await admit(self.store, replica, batch, account.pool, self.refused)
        if outcome.refused:
            self.fault(peer, REFUSED_POINTS * outcome.refused)
        if outcome.admitted:
            await self._retry(replica, all=False)
        await self.stand_back(begun_s)
        return outcome

    async def _retry(self, replica: Replica, *, all: bool) -> None:
        pools = [link.account.pool for link in self.links.values() if len(link.account.pool)]
        if pools:
            await admit_held(self.store, replica, pools, self.refused, all=all)
