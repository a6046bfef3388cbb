"""The fold of a set of entries, written from docs/format.md alone: slow, and sharing no rule with debros.replica."""

from __future__ import annotations

import re
from base64 import b32encode
from hashlib import sha256
from typing import Any, NamedTuple

from debros.blocks import cid, dagcbor

KINDS = ("put", "inc", "add", "rem", "keep")


class Entry(NamedTuple):
    digest: bytes
    author: bytes
    user: bytes
    parents: tuple[bytes, ...]  # `p` first
    clock: int
    acts: list[Any]
    ops: list[Any]


class Fold(NamedTuple):
    entries: dict[bytes, Entry]
    void: set[bytes]
    skipped: list[tuple[bytes, int]]
    changes: dict[tuple[str, str], list[tuple[Entry, int, dict[str, Any]]]]  # (model, id) -> ascending stamps
    cells: dict[tuple[str, str, str, str], Any]  # (model, id, field, kind) -> encoded value, sum, or (value, dot)s


def fold(admins: list[bytes], raw: list[tuple[bytes, bytes]]) -> Fold:
    known = read(raw)
    dead, skipped, changes = void(known, admins), [], dict[tuple[str, str], Any]()
    for entry in sorted(known.values(), key=lambda e: (e.clock, e.digest)):
        counted = good(entry.ops, entry.user, admins)
        skipped += [(entry.digest, at) for at in range(len(entry.ops)) if at not in counted]
        for model, version, id, change in counted.values() if entry.digest not in dead else ():
            changes.setdefault((model, id), []).append((entry, version, change))
    cells = {(*document, *cell): value for document, made in changes.items() for cell, value in cells_of(made).items()}
    return Fold(known, dead, skipped, changes, cells)


def read(raw: list[tuple[bytes, bytes]]) -> dict[bytes, Entry]:
    known: dict[bytes, Entry] = {}
    decoded: list[Any] = [(dagcbor.decode(header), header, body) for header, body in raw]
    for h, header, body in sorted(decoded, key=lambda item: item[0]["t"]):  # parents come first
        value: Any = {} if "e" in h else dagcbor.decode(body)
        user = known[h["p"].digest].user if h["p"] else h["a"]
        for certificate in h.get("c", ()):
            user = certificate["by"] if certificate["may"] == "device" else user
        parents = tuple(link.digest if link else b"" for link in (h["p"], *h["n"]))
        digest = sha256(header).digest()
        known[digest] = Entry(digest, h["a"], user, parents, h["t"], value.get("act", []), value.get("ops", []))
    return known


def void(known: dict[bytes, Entry], admins: list[bytes]) -> set[bytes]:
    acts = [((e.clock, e.digest, n), e, act) for e in known.values() for n, act in enumerate(e.acts) if is_cut(act)]
    dead: set[bytes] = set()
    for own, by_admins in ((True, True), (False, True), (True, False)):
        registers: dict[tuple[bytes | None, bytes], Any] = {}
        for _, e, (_, key, ends) in sorted(acts, key=lambda act: act[0]):  # the greatest comes last and wins
            if e.digest not in dead and (e.user in admins) == by_admins and (not own or e.author == e.user != key):
                registers[e.user if own else None, key] = ends
        excluded = set()
        for (root, key), ends in registers.items():
            counted = {end.digest for end in ends or ()}
            for e in sorted(known.values(), key=lambda e: -e.clock):  # down the chains
                counted |= {e.parents[0]} if e.digest in counted else set()
                hit = (root, key) == (e.user, e.author) if root else key in (e.author, e.user) and e.user not in admins
                excluded |= {e.digest} if hit and ends is not None and e.digest not in counted else set()
        dead |= excluded
    return dead


def is_cut(act: Any) -> bool:
    if type(act) is not list or len(act) != 3 or act[0] != "cut" or type(act[1]) is not bytes or len(act[1]) != 32:
        return False
    links = [] if act[2] is None else act[2]
    return type(links) is list and len(links) <= 256 and all(type(i) is cid.Link and i.codec == 0x71 for i in links)


def good(ops: list[Any], user: bytes, admins: list[bytes]) -> dict[int, Any]:
    """The changes that are not skipped, by their position."""
    found, seen = {}, set()
    tag = b32encode(sha256(b"debros/owner/1\0" + user).digest()).decode().lower()[:20]
    for at, op in enumerate(ops):
        if type(op) is not list or len(op) != 4 or not is_name(op[0]) or type(op[1]) is not int or op[1] < 0:
            continue
        if type(op[2]) is not str or not 1 <= len(op[2].encode()) <= 128 or re.search("[\0-\x1f\x7f-\x9f]", op[2]):
            continue
        is_first, owner = (op[0], op[2]) not in seen, re.search(r"~(admin|[a-z2-7]{20})\Z", op[2])
        seen.add((op[0], op[2]))
        if is_first and is_form(op[3]) and (owner is None or owner[1] == tag or user in admins):
            found[at] = op
    return found


def is_name(name: Any) -> bool:
    return type(name) is str and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", name) is not None


def is_form(change: Any) -> bool:
    if type(change) is not dict or type(change.get("live", True)) is not bool:
        return False
    if not all(type(m := change.get(kind, {})) is dict and all(map(is_name, m)) for kind in KINDS):
        return False
    _, inc, add, rem, keep = (change.get(kind, {}).values() for kind in KINDS)
    if not all(type(values) is list for values in [*add, *rem]):
        return False
    pairs = [(pair, 0) for pair in keep] + [(pair, 1) for ends in rem for pair in ends]
    for pair, least in pairs:
        if type(pair) is not list or len(pair) != 2 or type(pair[1]) is not list or not least <= len(pair[1]) <= 256:
            return False
        if not all(type(dot) is bytes and len(dot) == 32 for dot in pair[1]) or pair[1] != sorted(set(pair[1])):
            return False
    return all(type(n) is int and -(2**63) <= n < 2**63 for n in inc)


def cells_of(made: list[tuple[Entry, int, dict[str, Any]]]) -> dict[tuple[str, str], Any]:
    cells: dict[tuple[str, str], Any] = {}
    every = [(e.digest, kind, f, v) for e, _, change in made for kind in KINDS for f, v in change.get(kind, {}).items()]
    ended = {(f, dagcbor.encode(v), d) for _, kind, f, ends in every if kind == "rem" for v, dots in ends for d in dots}
    lost = {(f, dot) for _, kind, f, value in every if kind == "keep" for dot in value[1]}
    for dot, kind, f, value in every:
        if kind == "put":
            cells[f, kind] = dagcbor.encode(value)
        elif kind == "inc":
            cells[f, kind] = cells.get((f, kind), 0) + value
        elif kind == "add" and (living := {(c, dot) for c in map(dagcbor.encode, value) if (f, c, dot) not in ended}):
            cells[f, kind] = sorted(living | set(cells.get((f, kind), ())))
        elif kind == "keep" and (f, dot) not in lost:
            cells[f, kind] = [(dagcbor.encode(value[0]), dot), *cells.get((f, kind), ())]
    live = [dagcbor.encode(change["live"]) for _, _, change in made if "live" in change]
    return cells | ({("", "live"): live[-1]} if live else {})
