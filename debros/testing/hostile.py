"""Peers that lie: one that may write and abuses it, and one that may not and tries.

They speak the protocol, so what they send gets as far as it can: forged signatures, entries of other logs, chains that jump,
clocks that go back, bodies that are others', orphans, the future, newer formats, garbage, and answers that contradict
themselves. A member also forks its own chain and shows each half to somebody else; both halves are valid, and must converge.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from hashlib import sha256
from random import Random
from typing import Any, Final

import trio

from debros.blocks import dagcbor
from debros.errors import EntryHeldError, EntryRefusedError, ProtocolError, TransportError
from debros.identity.certificate import Certificate, issue
from debros.identity.signing import SigningKey
from debros.log.entry import parse_header, sign_header
from debros.log.manifest import Manifest
from debros.net.memory import MemoryTransport
from debros.replica.receive import Delivery
from debros.sync.asking import Asker
from debros.sync.wire import (
    MAX_HEADS,
    NONCE,
    PRINT,
    PROTOCOL,
    RECORD,
    Compare,
    Fetch,
    Hello,
    NotSharedError,
    Offer,
    Ranges,
    State,
    Verdict,
    Welcome,
    encode_differences,
    encode_entries,
    encode_state,
    encode_verdict,
    encode_welcome,
    parse_entries,
    parse_request,
    parse_state,
)
from debros.testing.world import World

FORGERIES: Final = (
    "signature", "log", "rights", "jump", "stolen chain", "clock", "form", "body", "orphan", "future", "newer", "no body",
)  # fmt: skip
HELD: Final = frozenset(
    ("orphan", "future", "newer", "no body", "body")
)  # not forged: not to be judged, or not the entry


class Hostile:
    """A lying peer. `is_member`: its key was granted the right to write."""

    def __init__(self, world: World, name: str, *, is_member: bool) -> None:
        self.name = name
        self.is_member = is_member
        self.world = world
        self.random = Random(f"{name} {world.seed}")  # noqa: S311 - a simulation
        self.key = SigningKey(self.random.randbytes(32))
        self.transport: MemoryTransport = world.network.host(name)
        self.made: list[Delivery] = []  # valid ones
        self._records: list[bytes] = []  # clock and digest of each
        self._last: tuple[bytes, int, int] | None = None  # digest, number and clock of its last valid entry
        self._heads: list[tuple[bytes, int]] = []  # that honest nodes told of, with their clocks

    def manifest(self) -> Manifest:
        """Return the global log that it attacks."""
        manifest: Manifest = next(life for life in self.world.everybody if life.is_up).db.shared.manifest
        return manifest

    async def run(self, until_s: float) -> None:
        """Lie until a moment of virtual time."""
        async with self.transport:
            self.transport.handle(PROTOCOL, self.serve)
            while trio.current_time() < until_s:
                await trio.sleep(self.random.uniform(0.2, 3))
                victim = self.random.choice(self.world.everybody)
                # what it learns may come garbled, too
                with suppress(TransportError, ProtocolError, EntryRefusedError, EntryHeldError, StopIteration):
                    await self._attack(victim.name)

    async def _attack(self, victim: str) -> None:
        if victim not in self.transport.connected:
            await self.transport.connect(f"/memory/{victim}")
        asker = Asker(self.transport, victim)
        manifest = self.manifest()
        await self._learn(asker, manifest)
        if self.is_member and self.random.random() < 0.4:
            for_one, for_other = self._fork(manifest)
            await self._offer(asker, manifest, [for_one])
            others = [life.name for life in self.world.everybody if life.name != victim]
            other = self.random.choice(others)
            if other not in self.transport.connected:
                await self.transport.connect(f"/memory/{other}")
            await self._offer(Asker(self.transport, other), manifest, [for_other])
            return
        if self.random.random() < 0.1:
            body = self.random.randbytes(self.random.randint(0, 200))
            async with self.transport.request(victim, PROTOCOL, body, max_bytes=1 << 20) as frames:
                async for _ in frames:
                    break
            return
        kind = self.random.choice(FORGERIES)
        await self._offer(asker, manifest, [self.forge(kind, manifest)])

    async def _learn(self, asker: Asker, manifest: Manifest) -> None:
        state = parse_state(await asker.one(Offer(manifest.log_id, bytes(32), [], [])))
        async with asker.frames(Fetch(manifest.log_id, state.heads[:8])) as frames:
            async for frame in frames:
                headers = [parse_header(delivery.header) for delivery in parse_entries(frame)]
                self._heads = [(header.digest, header.clock) for header in headers] or self._heads

    async def _offer(self, asker: Asker, manifest: Manifest, entries: list[Delivery]) -> None:
        heads = [sha256(entry.header).digest() for entry in entries]
        with suppress(NotSharedError):
            parse_state(await asker.one(Offer(manifest.log_id, self.random.randbytes(32), heads, entries)))

    # -- entries -----------------------------------------------------------------------------------------------

    def _body(self) -> bytes:
        change = ["Doc", 1_000_000, f"evil{self.random.randrange(5)}", {"put": {"title": self.name}, "live": True}]
        return dagcbor.encode({"ops": [change], "salt": self.random.randbytes(16)})

    def _grant(self, manifest: Manifest) -> tuple[Certificate, ...]:
        root = self.world.admin.root
        assert root is not None
        return (issue(root, self.key.public, manifest.log_id, "write"),) if self.is_member and not manifest.open else ()

    def _sign(self, manifest: Manifest, body: bytes, key: SigningKey | None = None, **other: Any) -> bytes:
        key = key or self.key
        prev, seq, clock = (None, 0, 0) if self._last is None or key is not self.key else self._last
        heads = [head for head in self._heads if head[0] != prev][:8]
        known = max([clock, *(clock for _, clock in heads)])
        given: dict[str, Any] = {
            "body_digest": sha256(body).digest(), "length": len(body), "log": manifest.log_id,
            "next": [digest for digest, _ in heads], "prev": prev, "seq": seq + 1 if prev else 0,
            "clock": max(known + 1, (self._now_ms() << 16)), "certificates": () if prev else self._grant(manifest),
        }  # fmt: skip
        return sign_header(key, **given | other)[0]

    def _now_ms(self) -> int:
        return next(iter(self.world.everybody)).env.now_us() // 1000

    def _fork(self, manifest: Manifest) -> tuple[Delivery, Delivery]:
        """Return two valid entries with one number, and go on from the first."""
        one, other = ((body := self._body(), self._sign(manifest, body)) for _ in range(2))
        headers = parse_header(one[1]), parse_header(other[1])
        self._last = headers[0].digest, headers[0].seq, headers[0].clock
        self._records += [header.clock.to_bytes(8, "big") + header.digest for header in headers]
        self.made += [Delivery(one[1], one[0]), Delivery(other[1], other[0])]
        return self.made[-2], self.made[-1]

    def forge(self, kind: str, manifest: Manifest) -> Delivery:
        """Return an entry that nobody may admit, now or ever; the world's witness knows of those."""
        body = self._body()
        if kind == "rights" or (kind in ("jump", "clock") and not self.is_member):
            stranger = SigningKey(self.random.randbytes(32))
            header = self._sign(manifest, body, stranger, certificates=())
            kind = "rights"
        elif kind == "log":
            header = self._sign(manifest, body, log=self.random.randbytes(32))
        elif kind == "jump":
            prev, seq, _ = self._last or (self.random.randbytes(32), 0, 0)
            header = self._sign(manifest, body, prev=prev, seq=seq + 2, certificates=())
        elif kind == "stolen chain":
            prev = self._heads[0][0] if self._heads else self.random.randbytes(32)
            header = self._sign(manifest, body, prev=prev, next=[], seq=7, certificates=())
        elif kind == "clock":
            header = self._sign(manifest, body, clock=1)
        elif kind == "orphan":
            header = self._sign(manifest, body, next=[self.random.randbytes(32)])
        elif kind == "future":
            header = self._sign(manifest, body, clock=(self._now_ms() + 86_400_000) << 16)
        else:
            header = self._sign(manifest, body)
        if kind == "signature":
            header = header[:-1] + bytes([header[-1] ^ 1])
        elif kind == "form":
            header += b"\0"
        elif kind == "newer":
            at = header.index(b"av\x01") + 2
            header = header[:at] + b"\x02" + header[at + 1 :]
        delivery = Delivery(header, None if kind == "no body" else self._body() if kind == "body" else body)
        has_parents = bool(self._heads) or self._last is not None
        if kind not in HELD and not (kind in ("clock", "jump", "stolen chain") and not has_parents):
            self.world.witness.forged[sha256(header).digest()] = kind
        return delivery

    # -- answers -------------------------------------------------------------------------------------------------

    async def serve(self, peer: str, body: bytes) -> AsyncGenerator[bytes, None]:
        """Answer anything, and mostly nonsense."""
        random = self.random
        await trio.lowlevel.checkpoint()
        if random.random() < 0.05:
            yield random.randbytes(random.randint(0, 300))
            return
        match parse_request(body):
            case Hello(_, marks, _):
                yield encode_welcome(Welcome(random.randbytes(NONCE), list(range(len(marks))), []))
            case Offer():
                mine = [sha256(entry.header).digest() for entry in self.made[-4:]]
                lies = [random.randbytes(32) for _ in range(random.choice([0, 1, 3]))]
                yield encode_state(State(False, random.random() < 0.5, 10**6, sorted({*mine, *lies})[:MAX_HEADS]))
            case Compare(logs, _):
                told = [random.choice(("equal", "different", "different", "absent")) for _ in logs]
                yield encode_verdict(
                    Verdict(*([n for n, one in enumerate(told) if one == what] for what in ("different", "absent")))
                )
            case Ranges(_, ranges):
                yield encode_differences([self._difference(range.prefix) for range in ranges])
            case Fetch(_, digests):
                held = {sha256(entry.header).digest(): entry for entry in self.made}
                entries = [held[digest] for digest in digests if digest in held]
                if random.random() < 0.3 and self.world.everybody[0].is_up:
                    entries.append(self.forge(random.choice(FORGERIES), self.manifest()))
                yield encode_entries(entries)
            case _:
                yield random.randbytes(8)

    def _difference(self, prefix: str) -> list[tuple[int, bytes]] | bytes | None:
        random = self.random
        if random.random() < 0.1:
            return None
        if random.random() < 0.3 and len(prefix) < 6:
            return [(random.randrange(4), random.randbytes(PRINT)) for _ in range(16)]
        fakes = [
            random.randbytes(RECORD - 32) + bytes.fromhex(prefix.ljust(64, "0")) for _ in range(random.randrange(3))
        ]
        return b"".join([*(record for record in self._records if record[8:].hex().startswith(prefix)), *fakes])
