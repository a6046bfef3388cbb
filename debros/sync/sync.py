"""Replication: a task for each connected peer, answers to what peers ask, and what both know of each other.

A link greets its peer (which logs do we share?), compares every shared log, and then waits: for new entries here, which it
offers at once, for a hint of the peer, or for the period of repair. Everything that comes is a hint but for the comparison
of heads: replication is correct when every offer is lost. What a peer lacks it fetches itself; so one node never decides
what another has to take.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Final

import trio

from debros.blocks import cid
from debros.errors import ClosedError, DeadlineError, ProtocolError, StorageError, TransportError
from debros.identity.keys import Device
from debros.net.transport import Transport
from debros.replica.receive import Delivery
from debros.replica.replica import Replica
from debros.replica.store import Admitted, Store
from debros.sync import serving
from debros.sync.admitting import Outcome, admit, admit_held
from debros.sync.asking import Asker
from debros.sync.budget import FLOOD_POINTS, PROTOCOL_POINTS, REFUSED_POINTS, Conduct
from debros.sync.dialling import GOOD_S, Dial
from debros.sync.fingerprints import Fingerprints, flush
from debros.sync.forks import Chains, Fork
from debros.sync.held import Held, Pool, Refused
from debros.sync.links import REMEMBERED_PEERS, Account, Link, Lot
from debros.sync.membership import is_member, mark, prove, proven_user
from debros.sync.notices import Notices
from debros.sync.pulling import Pull
from debros.sync.rate import Rate
from debros.sync.receipts import Receipt, parse_receipt, sign_receipt
from debros.sync.remembered import Remembered
from debros.sync.status import LogStatus, Peer
from debros.sync.wire import (
    FRAME_SIZE,
    MAX_HEADS,
    MAX_LOGS,
    MAX_OFFERED_HEADS,
    NONCE,
    NOT_SHARED,
    PROTOCOL,
    Attest,
    Fetch,
    Hello,
    NotSharedError,
    Offer,
    Ranges,
    State,
    Welcome,
    encode_differences,
    encode_receipt,
    encode_state,
    encode_welcome,
    parse_request,
    parse_state,
    parse_welcome,
)
from debros.sync.wire import parse_receipt as parse_receipt_frame

PERIOD_S: Final = 15.0  # between two comparisons of a log with a peer when nothing happens
PATIENCE_S: Final = 0.5  # after which `synced` and `settled` ask again
LAG: Final = 1000  # entries missing that are worth a notice


class Sync:
    """The replication of one node."""

    def __init__(
        self, store: Store, transport: Transport, tasks: trio.Nursery, device: Callable[[], Device],
        keeps: Callable[[Replica], bool], gather: Callable[[], object], remembered: Remembered, notices: Notices, *, members_only: bool,
    ) -> None:  # fmt: skip
        self._store = store
        self._transport = transport
        self._tasks = tasks
        self._device = device
        self._keeps = keeps
        self._gather = gather  # makes the logs that this node should hold known to the store
        self._remembered = remembered
        self._notices = notices
        self._members_only = members_only
        self._prints = Fingerprints(store)
        self._chains = Chains(store)
        self._refused = Refused()
        self._accounts: dict[str, Account] = {}
        self._links: dict[str, Link] = {}
        self._dials: list[Dial] = []
        self._changed = trio.Event()
        self._serial = 0
        self._follows = 0  # how often what is followed changed
        self._rates: dict[int, Rate] = {}
        self.forks: list[Fork] = []
        transport.handle(PROTOCOL, self.serve)
        transport.on_peer.append(self._on_peer)
        store.on_admitted.append(self._on_admitted)

    def start(self, addresses: Iterable[str]) -> None:
        """Dial these addresses, now and whenever their connection is lost."""
        for address in addresses:
            dial = Dial(address)
            self._dials.append(dial)
            self._tasks.start_soon(self._keep_dialled, dial)

    def stop(self) -> None:
        """Hear no more of the store and of the transport."""
        self._store.on_admitted.remove(self._on_admitted)
        self._transport.on_peer.remove(self._on_peer)

    def follows_changed(self) -> None:
        """Greet all peers again: the node keeps other logs now."""
        self._follows += 1
        for link in self._links.values():
            for log_id in [log_id for log_id in link.lots if self._kept(log_id) is None]:
                del link.lots[log_id]
            link.wake()

    # -- what happens ------------------------------------------------------------------------------------------

    def _on_peer(self, peer: str, is_up: bool) -> None:
        if is_up and peer not in self._links:
            link = self._links[peer] = Link(peer, self._account(peer), self._store.env.random_bytes(NONCE))
            self._tasks.start_soon(self._run, link)
            self._notices.tell("peer_joined", peer=peer)
        elif not is_up and (gone := self._links.pop(peer, None)) is not None:
            gone.scope.cancel()
            gone.account.pool = Pool()
            self._notices.tell("peer_left", peer=peer)
        self._note_change()

    def _on_admitted(self, admitted: Sequence[Admitted]) -> None:
        for one in admitted:
            for link in self._links.values():
                link.tell(one.replica.log_id, one.entry if one.origin == "local" else None)
            if one.origin == "remote":
                if any(change.model.startswith("_") for change in one.changes):  # perhaps of shards that are new
                    self._follows += 1
                self._rates.setdefault(one.replica.n, Rate(self._now_s())).add(1, self._now_s())
        if (suspects := self._chains.suspects(admitted)) and not self._store.is_closing:
            self._tasks.start_soon(self._prove_forks, [entry.digest for entry in suspects])
        self._note_change()

    async def _prove_forks(self, digests: Sequence[bytes]) -> None:
        await trio.lowlevel.checkpoint()
        for digest in digests:
            try:
                entry = self._store.entries.find(digest)
                fork = None if entry is None else self._chains.proof(entry)
                if fork is not None and self._remembered.note_fork(fork.headers):
                    self.forks.append(fork)
                    self._notices.tell("fork_detected", fork=fork)
            except (ClosedError, StorageError):
                return  # both entries are in the log, where they prove it to whoever looks later

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _now_s(self) -> float:
        return self._store.env.monotonic_s()

    def _account(self, peer: str) -> Account:
        account = self._accounts.get(peer)
        if account is None:
            if len(self._accounts) >= REMEMBERED_PEERS:
                for name in [name for name in self._accounts if name not in self._links][: REMEMBERED_PEERS // 2]:
                    del self._accounts[name]
            account = self._accounts[peer] = Account(Conduct(self._now_s()))
        return account

    def _fault(self, peer: str, points: float) -> None:
        """Let a peer pay; a ban ends its connection."""
        if self._account(peer).conduct.fault(points, self._now_s()) and (link := self._links.get(peer)) is not None:
            link.scope.cancel()

    # -- dialling ----------------------------------------------------------------------------------------------

    async def _keep_dialled(self, dial: Dial) -> None:
        while True:
            since_s = self._now_s()
            while dial.peer in self._links:
                await self._changed.wait()
            if self._now_s() - since_s >= GOOD_S:
                dial.failures = 0
            try:
                dial.peer = await self._transport.connect(dial.address)
                dial.failures, dial.last_error = dial.failures + 1, ""  # until it has lasted for a while
            except TransportError as error:
                dial.failures += 1
                dial.last_error = error.reason
                self._note_change()
            await trio.sleep(dial.wait_s(self._dice()))

    def _dice(self) -> float:
        return self._store.env.random_bytes(1)[0] / 255

    # -- a link ------------------------------------------------------------------------------------------------

    async def _run(self, link: Link) -> None:
        """Keep one peer's logs and ours together until the connection ends."""
        try:
            with link.scope:
                if not link.account.conduct.is_banned(self._now_s()):
                    await self._keep_together(link)
        except (TransportError, DeadlineError):
            await trio.lowlevel.checkpoint()  # back-off is the dialler's
        except ProtocolError:
            self._fault(link.peer, PROTOCOL_POINTS)
        except (ClosedError, StorageError):
            await trio.lowlevel.checkpoint()  # the node can take nothing more: whoever writes is told
        with trio.CancelScope(shield=True):
            await self._transport.disconnect(link.peer)

    async def _keep_together(self, link: Link) -> None:
        asker = Asker(self._transport, link.peer)
        while True:
            if link.greeted != self._version():
                self._gather()
                version = self._version()
                await self._greet(link, asker)
                link.greeted = version
                self._note_change()
            while link.due:
                log_id = next(iter(link.due))
                del link.due[log_id]
                await self._compare(link, asker, log_id)
            if not await link.wait(PERIOD_S * (0.75 + self._dice() / 2)):
                for replica in self._kept_replicas():
                    await self._retry(replica, all=True)
                link.compare_all()
                link.greeted = -1  # the peer may have proven more, or hold more, since

    def _version(self) -> int:
        """Return what changes whenever the logs that this node keeps do."""
        return len(self._store.by_number) + (self._follows << 32)

    def _kept_replicas(self) -> list[Replica]:
        return [replica for replica in self._store.by_number.values() if self._keeps(replica)]

    def _kept(self, log_id: bytes) -> Replica | None:
        replica = self._store.by_number.find(log_id)
        return replica if replica is not None and self._keeps(replica) else None

    async def _greet(self, link: Link, asker: Asker) -> None:
        replicas = self._kept_replicas()
        for start in range(0, len(replicas), MAX_LOGS):
            some = replicas[start : start + MAX_LOGS]
            nonce = self._store.env.random_bytes(NONCE)
            marks = [mark(nonce, replica.log_id) for replica in some]
            welcome = parse_welcome(await asker.one(Hello(nonce, marks, None)), len(marks))
            if welcome.refused:  # they are for members: say who we are, and only then
                proof = prove(self._device(), self._transport.peer_id, link.peer, welcome.nonce)
                welcome = parse_welcome(await asker.one(Hello(nonce, marks, proof)), len(marks))
            for index in welcome.shared:
                link.lot(some[index].log_id)

    async def _compare(self, link: Link, asker: Asker, log_id: bytes) -> None:
        """Offer what is new here, and fetch what is missing here."""
        replica, lot = self._kept(log_id), link.lots.get(log_id)
        if replica is None or lot is None:
            return
        self._serial += 1
        begun = self._serial
        try:
            state = await self._offer(asker, replica, lot)
            lot.spoken_s, lot.count = self._now_s(), state.size
            lot.heads = frozenset(replica.heads if state.equal else state.heads)
            before = self._store.entries.next_e
            if not state.equal and not self._all_judged(replica, state.heads):
                await self._pull(link, asker, replica, lot)
                if self._store.entries.next_e > before:
                    link.compare(log_id)  # the peer learns so that we have them
            if state.equal or (state.known and self._all_judged(replica, state.heads)):
                self._settle(link, replica, lot, begun)
        except NotSharedError:
            link.lots.pop(log_id, None)
        self._note_change()

    def _settle(self, link: Link, replica: Replica, lot: Lot, serial: int) -> None:
        if lot.pending or not lot.settled:
            self._notices.tell("synced", peer=link.peer, log=replica.manifest.address)
        lot.settled = max(lot.settled, serial)
        lot.pending, lot.is_lagging = 0, False

    async def _offer(self, asker: Asker, replica: Replica, lot: Lot) -> State:
        store = self._store
        await serving.make_durable(store)
        fresh, lot.fresh = lot.fresh, []
        entries: list[Delivery] = []
        size = 0
        for row in fresh:
            delivery = serving.delivery_of(store, row.header, row.body)
            if delivery is not None and (size := size + len(delivery.header) + len(delivery.body or b"")) > FRAME_SIZE:
                break  # the peer fetches what is missing
            entries += [] if delivery is None else [delivery]
        heads = serving.newest(store, replica.heads, MAX_OFFERED_HEADS)
        offer = Offer(replica.log_id, serving.print_of(replica.heads), heads, entries)
        return parse_state(await asker.one(offer))

    def _all_judged(self, replica: Replica, heads: Sequence[bytes]) -> bool:
        """Whether all of these entries are here, were refused, or are held for something that nobody can send.

        An orphan is not judged before its parents are: they are to be asked for.
        """
        if len(heads) > MAX_HEADS:
            return False
        todo, seen = list(heads), set(heads)
        while todo:
            digest = todo.pop()
            if self._refused.has(replica.n, digest) or replica.entry(digest) is not None:
                continue
            held = self._held(replica, digest)
            if held is None:
                return False
            todo += [parent for parent in held.missing if parent not in seen]
            seen.update(held.missing)
        return True

    def _held(self, replica: Replica, digest: bytes) -> Held | None:
        found = (link.account.pool.get(digest) for link in self._links.values())
        return next((held for held in found if held is not None and held.log == replica.n), None)

    def _is_at_hand(self, replica: Replica, digest: bytes) -> bool:
        """Whether nobody has to send this entry: it is here, refused or held."""
        is_refused = self._refused.has(replica.n, digest)
        return is_refused or self._held(replica, digest) is not None or replica.entry(digest) is not None

    async def _pull(self, link: Link, asker: Asker, replica: Replica, lot: Lot) -> None:
        pull = Pull(asker, replica, self._prints, lambda digest: self._is_at_hand(replica, digest))
        missing = await pull.missing()
        lot.pending = len(missing)
        if lot.pending >= LAG and not lot.is_lagging:
            lot.is_lagging = True
            self._notices.tell("lag", peer=link.peer, log=replica.manifest.address, missing=lot.pending)

        async def take(deliveries: Sequence[Delivery]) -> None:
            begun_s = self._now_s()
            outcome = await self._take(link.peer, link.account, replica, deliveries)
            lot.pending = max(0, lot.pending - len(deliveries))
            lot.spoken_s = self._now_s()
            self._note_change()
            if outcome.refused or outcome.held:
                await trio.lowlevel.checkpoint()
            await trio.sleep(min(0.05, (self._now_s() - begun_s) / 4))  # writers here come first

        await pull.fetch(missing, take)
        lot.pending = 0

    async def _take(self, peer: str, account: Account, replica: Replica, deliveries: Sequence[Delivery]) -> Outcome:
        if not self._keeps(replica):
            raise NotSharedError("the log was given up while its entries came")
        outcome = await admit(self._store, replica, deliveries, account.pool, self._refused)
        if outcome.refused:
            self._fault(peer, REFUSED_POINTS * outcome.refused)
        if outcome.admitted:
            await self._retry(replica, all=False)
        return outcome

    async def _retry(self, replica: Replica, *, all: bool) -> None:
        pools = [link.account.pool for link in self._links.values() if len(link.account.pool)]
        if pools:
            await admit_held(self._store, replica, pools, self._refused, all=all)

    # -- answers -------------------------------------------------------------------------------------------------

    async def serve(self, peer: str, body: bytes) -> AsyncGenerator[bytes, None]:
        """Answer one request of a peer.

        Raises:
            TransportError: the peer is banned, or asks too much too fast.
            ProtocolError: it is no request.
        """
        account, now_s = self._account(peer), self._now_s()
        if account.conduct.is_banned(now_s):
            raise TransportError(peer, "banned")
        if not account.conduct.requests.take(1, now_s):
            self._fault(peer, FLOOD_POINTS)
            raise TransportError(peer, "asks too much too fast")
        try:
            request = parse_request(body)
        except ProtocolError:
            self._fault(peer, PROTOCOL_POINTS)
            raise
        self._store.check_open()
        await serving.make_durable(self._store)
        if isinstance(request, Hello):
            yield encode_welcome(self._welcome(peer, request))
            return
        replica = self._served(peer, request.log)
        if replica is None:
            yield NOT_SHARED
            return
        match request:
            case Offer():
                yield encode_state(await self._answer_offer(peer, account, replica, request))
            case Ranges(_, ranges):
                await self._prints.catch_up()
                yield encode_differences(serving.differences(self._prints, replica, ranges))
            case Fetch(_, digests):
                async with aclosing(serving.entries(self._store, replica, digests)) as frames:
                    async for frame in frames:
                        account.conduct.served.take(len(frame), self._now_s())
                        await trio.sleep(account.conduct.served.debt_s())
                        yield frame
            case Attest(log, digest):
                held = replica.entry(digest) is not None
                now_ms = self._store.env.now_us() // 1000
                yield encode_receipt(sign_receipt(self._device(), log, digest, now_ms) if held else None)

    def _welcome(self, peer: str, hello: Hello) -> Welcome:
        link = self._links.get(peer)
        if link is not None and hello.proof is not None:
            link.user = proven_user(hello.proof, peer, self._transport.peer_id, link.nonce)
            link.nonce = self._store.env.random_bytes(NONCE)
        asked = {name: index for index, name in enumerate(hello.marks)}
        shared: list[int] = []
        refused: list[int] = []
        for replica in self._kept_replicas():
            index = asked.get(mark(hello.nonce, replica.log_id))
            if index is None:
                continue
            if self._served(peer, replica.log_id) is None:
                refused.append(index)
            else:
                shared.append(index)
                if link is not None:
                    link.lot(replica.log_id)  # the peer holds it: compare it from here too
        return Welcome(link.nonce if link is not None else bytes(NONCE), sorted(shared), sorted(refused))

    def _served(self, peer: str, log_id: bytes) -> Replica | None:
        """Return a log if this node keeps it and serves it to the peer."""
        replica = self._kept(log_id)
        if replica is None or not self._members_only:
            return replica
        link = self._links.get(peer)
        user = None if link is None else link.user
        granted = replica.rights.grant
        is_in = user is not None and is_member(user, replica.manifest, lambda user: granted(user) is not None)
        return replica if is_in else None

    async def _answer_offer(self, peer: str, account: Account, replica: Replica, offer: Offer) -> State:
        size = sum(len(entry.header) + len(entry.body or b"") for entry in offer.entries)
        if offer.entries and self._keeps(replica) and account.conduct.pushed.take(size, self._now_s()):
            await self._take(peer, account, replica, offer.entries)
            await serving.make_durable(self._store)
        equal = offer.print == serving.print_of(replica.heads)
        known = equal or (len(offer.heads) < MAX_OFFERED_HEADS and self._all_judged(replica, offer.heads))
        link = self._links.get(peer)
        if link is not None and (lot := link.lots.get(replica.log_id)) is not None:
            lot.spoken_s = self._now_s()
            if equal:
                self._serial += 1
                link.due.pop(replica.log_id, None)
                lot.fresh = []
                lot.heads = frozenset(replica.heads)
                self._settle(link, replica, lot, self._serial)
            elif not known:
                link.compare(replica.log_id)
            self._note_change()
        heads = [] if equal else serving.newest(self._store, replica.heads, MAX_HEADS + 1)
        if not equal:
            await self._prints.catch_up()
        return State(equal, known, self._prints.count(replica.n), heads)

    # -- what the node's surface asks --------------------------------------------------------------------------------

    async def synced(self, timeout_s: float | None) -> None:
        """Wait for a comparison of every shared log with every connected peer; see `Debros.synced`."""
        self._serial += 1
        since = self._serial
        for link in self._links.values():
            link.compare_all()
        with trio.move_on_after(float("inf") if timeout_s is None else timeout_s):
            while not self._is_synced(since):
                with trio.move_on_after(PATIENCE_S) as waiting:
                    await self._changed.wait()
                if waiting.cancelled_caught:
                    for link in self._links.values():
                        for log_id, lot in link.lots.items():
                            if lot.settled < since:
                                link.compare(log_id)
            await trio.lowlevel.checkpoint()
            return
        raise DeadlineError(f"not synced after {timeout_s} s: {self._what_lacks(since)}")

    def _is_synced(self, since: int) -> bool:
        if self._dials and not self._links:
            return False
        return all(
            link.greeted == self._version() and all(lot.settled >= since for lot in link.lots.values())
            for link in self._links.values()
        )

    def _what_lacks(self, since: int) -> str:
        if self._dials and not self._links:
            errors = "; ".join(f"{dial.address}: {dial.last_error or 'no answer yet'}" for dial in self._dials)
            return f"no peer is connected ({errors})"
        behind = [link.peer for link in self._links.values() if any(lot.settled < since for lot in link.lots.values())]
        return f"waiting for {', '.join(behind) or 'the first word of a peer'}"

    async def settled(self, replica: Replica, digest: bytes, replicas: int, timeout_s: float | None) -> list[Receipt]:
        """Collect receipts for an entry from so many peers; see `Model.settled`."""
        receipts: dict[str, Receipt] = {}
        with trio.move_on_after(float("inf") if timeout_s is None else timeout_s):
            while True:
                for peer, link in list(self._links.items()):
                    if peer not in receipts and replica.log_id in link.lots and len(receipts) < replicas:
                        receipt = await self._receipt(peer, replica.log_id, digest)
                        if receipt is not None:
                            receipts[peer] = receipt
                if len(receipts) >= replicas:
                    await trio.lowlevel.checkpoint()
                    return list(receipts.values())
                with trio.move_on_after(PATIENCE_S):
                    await self._changed.wait()
        raise DeadlineError(
            f"{len(receipts)} of {replicas} receipts after {timeout_s} s; the write is durable here, and the peers get it "
            "when they can"
        )

    async def _receipt(self, peer: str, log_id: bytes, digest: bytes) -> Receipt | None:
        try:
            raw = parse_receipt_frame(await Asker(self._transport, peer).one(Attest(log_id, digest)))
            return None if raw is None else parse_receipt(raw, log_id, digest)
        except NotSharedError:
            return None
        except ProtocolError:
            self._fault(peer, PROTOCOL_POINTS)
            return None
        except TransportError:
            return None

    def peers(self) -> list[Peer]:
        """Return connected peers, and addresses that were configured and do not answer."""
        now_s, connected = self._now_s(), self._transport.connected
        errors = {dial.peer: dial.last_error for dial in self._dials}
        found = [
            Peer(peer, address, True, len(link.lots), link.account.conduct.is_banned(now_s), errors.get(peer, ""))
            for peer, address in connected.items()
            if (link := self._links.get(peer)) is not None
        ]
        for dial in self._dials:
            if dial.peer not in connected:
                banned = dial.peer in self._accounts and self._accounts[dial.peer].conduct.is_banned(now_s)
                found.append(Peer(dial.peer, dial.address, False, 0, banned, dial.last_error))
        return found

    def status(self) -> list[LogStatus]:
        """Return where every kept log stands."""
        store, now_s = self._store, self._now_s()
        flush(store)
        counts: dict[int, int] = dict(store.view.read("SELECT log, count(*) FROM entries GROUP BY log", ()))
        found: list[LogStatus] = []
        for replica in self._kept_replicas():
            links = {
                peer: link.lots[replica.log_id] for peer, link in self._links.items() if replica.log_id in link.lots
            }
            lots = list(links.values())
            have = counts.get(replica.n, 0)
            pending = max((lot.pending for lot in lots), default=0)
            want = max([have + pending, *(lot.count for lot in lots)])
            spoken_s = max((lot.spoken_s for lot in lots), default=0.0)
            heads = {cid.to_text(head) for head in replica.heads}
            remote = {cid.to_text(head) for lot in lots for head in lot.heads}
            rate = self._rates.get(replica.n)
            found.append(LogStatus(
                address=replica.manifest.address, have=have, want=want, pending=pending,
                held=sum(sum(1 for _ in link.account.pool.of_log(replica.n)) for link in self._links.values()),
                heads=tuple(sorted(heads)), remote_heads=tuple(sorted(remote)), peers=tuple(links),
                progress=have / want if want else 1.0,
                entries_per_s=0.0 if rate is None else rate.per_s(now_s),
                last_contact=self._instant(spoken_s) if spoken_s else None,
                synced=all(lot.settled and not lot.pending and lot.heads == replica.heads for lot in lots),
            ))  # fmt: skip
        return found

    def _instant(self, monotonic_s: float) -> datetime:
        ago_s = self._now_s() - monotonic_s
        now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self._store.env.now_us())
        return now - timedelta(seconds=ago_s)
