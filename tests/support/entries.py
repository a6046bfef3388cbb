"""Entries for tests: made of plain maps, so that they can be wrong in any way, and signed as what they are."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from debros.blocks import cid, dagcbor
from debros.identity.certificate import Certificate
from debros.identity.signing import SigningKey
from debros.log import entry
from debros.log.body import Body, parse_body
from debros.log.gate import Admission, Known, judge
from debros.log.manifest import Manifest
from debros.log.rights import Fact

NOW = 1_790_000_001_000  # milliseconds
T0 = 1_790_000_000_000 << 16  # a clock one second before


def key(n: int) -> SigningKey:
    return SigningKey(bytes([n]) * 32)


A, D, E, U, U2, B, V, V2 = (key(n) for n in range(1, 9))
"""As in the vectors: A and B are admins, D is a device of A, U2 of U, V2 of V, E is a stranger."""

USER = Manifest("blog-k3x9q7", "user", False, (A.public,))
OPEN = Manifest("open-1", "global", True, (A.public,))
WILD = Manifest("wild-1", "global", True)
TEAM = Manifest("team-1", "global", False, tuple(sorted((A.public, B.public))))


def link(digest: bytes, codec: int = cid.DAG_CBOR) -> cid.Link:
    return cid.Link(codec, digest)


def body(ops: Any = None, *, salt: int = 0, **more: Any) -> bytes:
    """A plain body; `more` may override or add any key."""
    value: dict[str, Any] = {"salt": salt.to_bytes(16, "big")}
    if ops is not None:
        value["ops"] = ops
    return dagcbor.encode({**value, **more})


def post(n: int = 1, **put: Any) -> list[Any]:
    return ["Post", 1, f"d{n}", {"put": put or {"a": n}}]


def fields(author: bytes, log: Manifest, body_raw: bytes, **more: Any) -> dict[str, Any]:
    """A header's map without `sig`, first of its chain unless `more` says else. A `more` of `...` takes the key out."""
    value: dict[str, Any] = {
        "a": author,
        "b": link(sha256(body_raw).digest(), cid.RAW if "e" in more else cid.DAG_CBOR),
        "l": len(body_raw),
        "m": link(log.log_id),
        "n": [],
        "p": None,
        "s": 0,
        "t": T0,
        "v": 1,
    }
    value.update(more)
    return {key: item for key, item in value.items() if item is not ...}


def sign(signer: SigningKey, value: dict[str, Any]) -> bytes:
    """The header's bytes. Works whatever the map holds, as long as no key sorts behind `sig`."""
    return resign(signer, dagcbor.encode({**value, "sig": bytes(64)}))


def resign(signer: SigningKey, raw: bytes) -> bytes:
    """These bytes with another signature at their end, by this key and over the rest."""
    return raw[:-64] + signer.sign(entry.DOMAIN + raw[: -entry.SIG_SIZE])


def first(signer: SigningKey, log: Manifest, body_raw: bytes, **more: Any) -> bytes:
    """A signed first entry of a chain."""
    return sign(signer, fields(signer.public, log, body_raw, **more))


def digest(raw: bytes) -> bytes:
    return sha256(raw).digest()


class MemoryLog:
    """A log in memory, as the gate sees it."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.log_id = manifest.log_id
        self.known: dict[bytes, Known] = {}
        self.facts: dict[bytes, Fact] = {}
        self.bodies: dict[bytes, Body] = {}
        self.raw: list[tuple[bytes, bytes]] = []

    def entry(self, digest: bytes) -> Known | None:
        return self.known.get(digest)

    def judge(self, header: bytes, body_raw: bytes | None, now_ms: int = NOW) -> Admission:
        return judge(header, body_raw, self, now_ms)

    def admit(self, header_raw: bytes, body_raw: bytes, now_ms: int = NOW) -> Admission:
        admission = self.judge(header_raw, body_raw, now_ms)
        if not admission.known:
            header = admission.header
            self.known[header.digest] = Known(header.author, header.seq, header.clock, admission.user)
            self.facts[header.digest] = Fact(
                header.digest, header.author, admission.user, header.prev, header.seq, header.clock
            )
            self.raw.append((header_raw, body_raw))
            if header.epoch is None:
                self.bodies[header.digest] = parse_body(body_raw)
        return admission

    def acts(self) -> dict[bytes, list[Any]]:
        return {digest: body.acts for digest, body in self.bodies.items() if body.acts}


class Writer:
    """One chain in a log. `write` signs the next entry and admits it."""

    def __init__(self, log: MemoryLog, signer: SigningKey, *certificates: Certificate) -> None:
        self.log, self.signer, self.certificates = log, signer, certificates
        self.prev: bytes | None = None
        self.seq = 0

    def write(
        self, ops: list[Any] | None = None, *, acts: list[Any] | None = None, t: int, next: Iterable[bytes] = ()
    ) -> bytes:
        """Return the digest. `t` is the clock, counted from `T0`."""
        more = {} if acts is None else {"act": acts}
        raw = body(ops, salt=len(self.log.raw), **more)
        header, made = entry.sign_header(
            self.signer,
            body_digest=digest(raw),
            length=len(raw),
            log=self.log.log_id,
            next=next,
            prev=self.prev,
            seq=self.seq,
            clock=T0 + t,
            certificates=self.certificates if self.prev is None else (),
        )
        self.log.admit(header, raw)
        self.prev, self.seq = made, self.seq + 1
        return made

    def at(self, prev: bytes) -> Writer:
        """A second branch of the same chain behind an entry: what a copied key would write."""
        fork = Writer(self.log, self.signer)
        fork.prev, fork.seq = prev, self.log.known[prev].seq + 1
        return fork
