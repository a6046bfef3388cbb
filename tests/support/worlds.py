"""Random histories of one log: several authors, concurrent branches, every kind of change, good and bad, and acts."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any

from hypothesis import strategies as st

from debros.blocks import cid, dagcbor
from debros.identity.certificate import Certificate, issue
from debros.identity.did import tag
from debros.identity.signing import SigningKey
from debros.log import entry
from debros.log.manifest import Manifest
from tests.support.entries import OPEN, T0, TEAM, U2, USER, V2, A, B, D, E, U, V

UNKNOWN = bytes(range(32))  # a digest that no entry has
KEYS = (A, B, D, E, U, U2, V, V2)


@dataclass(frozen=True)
class Author:
    """A chain: the key that signs, its user, and what its first entry has to show."""

    key: SigningKey
    user: bytes
    certificates: tuple[Certificate, ...] = ()


@dataclass(frozen=True)
class Made:
    """A signed entry of a history."""

    header: bytes
    body: bytes
    digest: bytes
    author: int
    seq: int
    clock: int
    parents: tuple[bytes, ...]


@dataclass
class World:
    """A log and entries that the gate admits, each behind its parents."""

    manifest: Manifest
    authors: tuple[Author, ...]
    entries: list[Made] = field(default_factory=list)

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        return [(made.header, made.body) for made in self.entries]

    @property
    def heads(self) -> set[bytes]:
        linked = {parent for made in self.entries for parent in made.parents}
        return {made.digest for made in self.entries} - linked

    def shuffled(self, seed: int) -> list[Made]:
        """The same entries in another order that respects parents."""
        random, left, done, order = Random(seed), list(self.entries), set[bytes](), list[Made]()
        while left:
            made = random.choice([made for made in left if done.issuperset(made.parents)])
            left.remove(made)
            done.add(made.digest)
            order.append(made)
        return order

    def write(
        self, author: int, ops: list[Any] | None = None, *, acts: list[Any] | None = None, ahead: int = 1,
        prev: Made | None = None, next: list[Made] | None = None, encrypted: bool = False, **more: Any,
    ) -> Made:  # fmt: skip
        """Sign the author's next entry: behind `prev`, or the author's last, and beside `next`.

        Its clock is `ahead` of the greatest of its parents.
        """
        who = self.authors[author]
        own = [made for made in self.entries if made.author == author]
        prev = prev or (own[-1] if own else None)
        links = sorted({made.digest for made in next or ()} - {prev.digest if prev else b""})
        value = {"salt": len(self.entries).to_bytes(16, "big"), **more}
        value |= {} if ops is None else {"ops": ops}
        value |= {} if acts is None else {"act": acts}
        body = b"\xff" + dagcbor.encode(value) if encrypted else dagcbor.encode(value)  # ciphertext is no DAG-CBOR
        before = [made.clock for made in [*(next or ()), *([prev] if prev else ())]]
        clock = max(before, default=T0) + ahead
        header, digest = entry.sign_header(
            who.key, body_digest=sha256(body).digest(), length=len(body), log=self.manifest.log_id, next=links,
            prev=prev.digest if prev else None, seq=prev.seq + 1 if prev else 0, clock=clock,
            certificates=() if prev else who.certificates, epoch=bytes(16) if encrypted else None,
        )  # fmt: skip
        parents = (*links, prev.digest) if prev else tuple(links)
        made = Made(header, body, digest, author, prev.seq + 1 if prev else 0, clock, parents)
        self.entries.append(made)
        return made


def _device(root: SigningKey, key: SigningKey) -> Certificate:
    return issue(root, key.public, None, "device")


def _open_log() -> World:
    of = [Author(key, key.public) for key in (A, U, V, E)]
    return World(OPEN, (*of, Author(D, A.public, (_device(A, D),)), Author(U2, U.public, (_device(U, U2),))))


def _team_log() -> World:
    def grant(admin: SigningKey, user: SigningKey) -> Certificate:
        return issue(admin, user.public, TEAM.log_id, "write")

    return World(TEAM, (
        Author(A, A.public), Author(B, B.public), Author(D, A.public, (_device(A, D),)),
        Author(U, U.public, (grant(A, U),)), Author(U2, U.public, (_device(U, U2), grant(B, U))),
        Author(V, V.public, (grant(B, V),)),
    ))  # fmt: skip


def _user_log() -> World:
    granted = issue(A, V.public, USER.log_id, "write")
    return World(USER, (Author(A, A.public), Author(D, A.public, (_device(A, D),)), Author(V, V.public, (granted,))))


LOGS = (_open_log, _team_log, _user_log)

# -- changes ------------------------------------------------------------------------------------------------------

IDS = ("d1", "d2", "d3", f"d1~{tag(U.public)}", f"d2~{tag(A.public)}", "d1~admin", "d~x")
_VALUES = st.sampled_from([
    None, "a", "b", "", "2.50", "2.5", 0, 1, 200, -5, 2**64 - 1, True, False, 1.5, -0.0, b"\1", [], ["a"], {"k": 1},
    cid.Link(cid.RAW, UNKNOWN),
])  # fmt: skip
_GOOD: dict[str, st.SearchStrategy[Any]] = {
    "title": st.sampled_from(["a", "b", "long title"]),
    "body": st.sampled_from([None, "a", "b"]),
    "n": st.sampled_from([0, 1, 50, 200, -1]),
    "score": st.sampled_from([None, 0.5, -0.0, 2.0]),
    "flag": st.sampled_from([None, True, False]),
    "price": st.sampled_from([None, "1.5", "1.50", "-3"]),
    "about": st.sampled_from([{}, {"k": 1}]),
    "slug": st.sampled_from([None, "s", "t"]),
    "cat": st.sampled_from([None, "c", "d"]),
    "lang": st.sampled_from(["en", "fr"]),
}
_FIELDS = (*_GOOD, "likes", "tags", "nums", "note", "unheard_of")
_TAGS = st.sampled_from(["x", "y", 3])
_NUMS = st.sampled_from([0.0, -0.0, 1.5, "x"])
_BAD = st.sampled_from([
    5, [], ["Post", 1, "d1"], ["1Post", 1, "d1", {}], ["Post", -1, "d1", {}], ["Post", True, "d1", {}],
    ["Post", 1, "", {}], ["Post", 1, "a\nb", {}], ["Post", 1, "x" * 129, {}], ["Post", 1, "d1", []],
    ["Post", 1, "d1", {"live": 1}], ["Post", 1, "d1", {"put": {"a b": 1}}], ["Post", 1, "d1", {"put": []}],
    ["Post", 1, "d1", {"inc": {"likes": 2**63}}], ["Post", 1, "d1", {"inc": {"likes": True}}],
    ["Post", 1, "d1", {"add": {"tags": "x"}}], ["Post", 1, "d1", {"rem": {"tags": [["x", []]]}}],
    ["Post", 1, "d1", {"rem": {"tags": [["x", [UNKNOWN, UNKNOWN]]]}}], ["Post", 1, "d1", {"keep": {"note": ["x"]}}],
])  # fmt: skip


def _ascending(dots: list[bytes]) -> list[bytes]:
    return sorted(set(dots))


@st.composite
def changes(draw: st.DrawFn, digests: list[bytes]) -> dict[str, Any]:
    """A change of good form; `digests` are those of entries before it, concurrent ones too."""
    made: dict[str, Any] = {}
    shape = draw(st.integers(0, 5))
    if shape <= 1:  # a create as this library writes it, or nearly so
        made["put"] = {name: draw(values) for name, values in _GOOD.items()}
        made["live"] = True
    elif shape == 2:
        made["live"] = draw(st.booleans())
    elif shape <= 4:
        made["put"] = {name: draw(_GOOD[name]) for name in draw(st.lists(st.sampled_from([*_GOOD]), max_size=2))}
    else:
        made["put"] = draw(st.dictionaries(st.sampled_from(_FIELDS), _VALUES, max_size=3))
    known = st.sampled_from([*digests, UNKNOWN])
    dots = st.lists(known, max_size=3).map(_ascending)
    some_dots = st.lists(known, min_size=1, max_size=3).map(_ascending)
    for kind in draw(st.lists(st.sampled_from(["inc", "add", "rem", "keep", "unheard_of"]), max_size=2)):
        if kind == "inc":
            amounts = st.sampled_from([1, -1, 0, 2**63 - 1, -(2**63)])
            made["inc"] = {draw(st.sampled_from(["likes", "likes", "title"])): draw(amounts)}
        elif kind == "add":
            name = draw(st.sampled_from(["tags", "nums", "body"]))
            made["add"] = {name: draw(st.lists(_NUMS if name == "nums" else _TAGS, max_size=3))}
        elif kind == "rem":
            name = draw(st.sampled_from(["tags", "nums"]))
            pairs = st.tuples(_NUMS if name == "nums" else _TAGS, some_dots).map(list)
            made["rem"] = {name: draw(st.lists(pairs, max_size=2))}
        elif kind == "keep":
            made["keep"] = {"note": [draw(st.sampled_from(["k", "l", None, 3])), draw(dots)]}
        else:
            made["unheard_of"] = 1
    return made


@st.composite
def operations(draw: st.DrawFn, digests: list[bytes]) -> Any:
    """One item of `ops`."""
    if draw(st.integers(0, 9)) == 0:
        return draw(_BAD)
    model = draw(st.sampled_from(["Post", "Post", "Post", "Post", "Own", "Adm", "Event", "Unheard"]))
    version = draw(st.sampled_from([1_000_000, 1, 2_000_000]))
    return [model, version, draw(st.sampled_from(IDS)), draw(changes(digests))]


@st.composite
def cuts(draw: st.DrawFn, digests: list[bytes]) -> Any:
    if draw(st.integers(0, 7)) == 0:
        return draw(st.sampled_from([["zap"], ["cut", b"short", None], ["cut", A.public, [UNKNOWN]]]))
    ends = st.lists(st.sampled_from([*digests, UNKNOWN]), max_size=2)
    links = draw(st.none() | ends)
    key = draw(st.sampled_from(KEYS)).public
    return ["cut", key, None if links is None else [cid.Link(cid.DAG_CBOR, digest) for digest in links]]


@st.composite
def worlds(draw: st.DrawFn, size: int = 10, acts: bool = True) -> World:
    world = draw(st.sampled_from(LOGS))()
    for _ in range(draw(st.integers(1, size))):
        author = draw(st.integers(0, len(world.authors) - 1))
        own = [made for made in world.entries if made.author == author]
        fork = own and draw(st.integers(0, 7)) == 0
        prev = draw(st.sampled_from(own)) if fork else None
        links = draw(st.lists(st.sampled_from(world.entries), max_size=2, unique_by=id)) if world.entries else []
        digests = [made.digest for made in world.entries]
        said: dict[str, Any] = {"ops": draw(st.lists(operations(digests), max_size=3))}
        if acts and draw(st.integers(0, 2)) == 0:
            said["acts"] = draw(st.lists(cuts(digests), min_size=1, max_size=2))
        if draw(st.integers(0, 15)) == 0:
            said = {"ops": None, "encrypted": True}
        world.write(author, prev=prev, next=links, ahead=draw(st.integers(1, 2)), **said)
    return world
