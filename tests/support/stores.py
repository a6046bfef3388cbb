"""Stores for tests: a world without time and chance, models of all kinds, and what a view means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, TypeVar, TypeVarTuple

from debros.blocks import dagcbor
from debros.blocks.files import Files, MemoryFiles
from debros.replica.cells import Document
from debros.replica.opening import Opened, open_store
from debros.replica.receive import Delivery, receive
from debros.replica.replica import Replica
from debros.replica.state import from_column
from debros.replica.store import Model, Store
from debros.replica.tables import Row
from debros.schema import ComputedSpec, FieldSpec, IndexSpec, Schema, Scope
from debros.schema import Store as StoreKind
from debros.schema import Write as WriteKind
from debros.values import describe
from tests.support.entries import NOW
from tests.support.worlds import Made

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Cells = dict[tuple[str, str], Any]


class FakeEnv:
    """A wall clock that a test sets, randomness that repeats, and no threads."""

    def __init__(self, now_ms: int = NOW, seed: int = 0) -> None:
        self.now_ms = now_ms
        self._seed = seed
        self._count = 0

    def now_us(self) -> int:
        return self.now_ms * 1000

    def monotonic_s(self) -> float:
        return self.now_ms / 1000

    def random_bytes(self, n: int) -> bytes:
        self._count += 1
        drawn = sha256(f"{self._seed} {self._count}".encode()).digest()
        return (drawn * (n // len(drawn) + 1))[:n]

    def environ(self) -> Mapping[str, str]:
        return {}

    def cwd(self) -> None:
        return None

    async def offload(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        return function(*args)

    async def offload_until_cancelled(self, function: Callable[[*Ts], T], *args: *Ts, stop: Callable[[], object]) -> T:
        return function(*args)

    async def offload_until_stopped(self, function: Callable[[*Ts], T], *args: *Ts, stop: Callable[[], object]) -> T:
        return function(*args)


# -- models ---------------------------------------------------------------------------------------------------------


def spec(name: str, annotation: Any, wire: str | None = None, **more: Any) -> FieldSpec:
    info = describe(annotation, **more.pop("bounds", {}))
    return FieldSpec(name, wire or name, info.codec, nullable=info.nullable, bounds=info.bounds, **more)


def post_fields() -> tuple[FieldSpec, ...]:
    return (
        spec("title", str),
        spec("text", str | None, "body"),
        spec("n", int, has_default=True, default=7, bounds={"ge": 0, "le": 100}),
        spec("score", float | None),
        spec("flag", bool | None),
        spec("price", Decimal | None),
        spec("about", dict[str, int], has_default=True, default={}),
        spec("slug", str | None, unique=True),
        spec("cat", str | None),
        spec("lang", str, has_default=True, default="en"),
        spec("likes", int, merge="counter"),
        spec("tags", set[str], merge="set"),
        spec("nums", set[float], merge="set"),
        spec("note", str | None, merge="keep"),
    )


def post(scope: Scope = "global", name: str = "Post") -> Schema:
    length = ComputedSpec("length", describe(int).codec, True, True, lambda values: len(values["title"]), "1")
    return Schema(
        name, 1_000_000, scope, "documents", "anyone", post_fields(), computed=(length,),
        indexes=(
            IndexSpec((("slug", False),), True), IndexSpec((("cat", False), ("lang", False)), True),
            IndexSpec((("price", False),)), IndexSpec((("length", True),)),
        ),
    )  # fmt: skip


def small(name: str, scope: Scope, store: StoreKind, write: WriteKind) -> Schema:
    fields = (spec("title", str | None), spec("likes", int, merge="counter"), spec("at", datetime | None))
    return Schema(name, 1_000_000, scope, store, write, fields)


def schemas(scope: Scope) -> list[Schema]:
    return [
        post(scope), small("Own", scope, "documents", "owner"), small("Adm", scope, "documents", "admins"),
        small("Event", scope, "events", "anyone"),
    ]  # fmt: skip


# -- stores ---------------------------------------------------------------------------------------------------------


def opened(
    models: Iterable[Schema], *, files: Files | None = None, view: str = ":memory:", env: FakeEnv | None = None,
    own_keys: frozenset[bytes] = frozenset(), durable: bool = True, flush_rows: int = 500, row_cache: int = 10_000,
    progress: Callable[[int], None] | None = None,
) -> Opened:  # fmt: skip
    return open_store(
        env or FakeEnv(), files or MemoryFiles(), "/home/log", view, models, prepare=lambda db: None, own_keys=own_keys,
        durable=durable, flush_rows=flush_rows, row_cache=row_cache, progress=progress,
    )  # fmt: skip


async def deliver(store: Store, replica: Replica, made: Sequence[Made]) -> int:
    return await receive(store, replica, [Delivery(one.header, one.body) for one in made])


# -- meaning --------------------------------------------------------------------------------------------------------


def cells_of(document: Document) -> Cells:
    """The cells in the form of `tests.support.naive`."""
    cells: Cells = {(f, "put"): dagcbor.encode(register[3]) for f, register in document.registers.items()}
    cells |= {(f, "inc"): total for f, total in document.sums.items()}
    for f, elements in document.elements.items():
        if living := sorted((value, dot) for value, dots in elements.living.items() for dot in dots):
            cells[f, "add"] = living
    for f, kept in document.kept.items():
        if values := kept.values():
            cells[f, "keep"] = [(dagcbor.encode(value), dot) for dot, value in values]
    if document.live is not None:
        cells["", "live"] = dagcbor.encode(document.live[2])
    return cells


def as_columns_keep(cells: Mapping[Any, Any]) -> dict[tuple[str, ...], Any]:
    """Cells as a row tells them: no sum of zero, and a zero has no sign in a register."""
    kept: dict[tuple[str, ...], Any] = {}
    for (*place, kind), value in cells.items():
        if kind == "put":
            kept[*place, kind] = value.replace(_MINUS_ZERO, _ZERO)
        elif kind == "keep":
            kept[*place, kind] = [(encoded.replace(_MINUS_ZERO, _ZERO), dot) for encoded, dot in value]
        elif value:
            kept[*place, kind] = value
    return kept


_MINUS_ZERO, _ZERO = dagcbor.encode(-0.0), dagcbor.encode(0.0)


def state_of(document: Document) -> dict[str, Any]:
    """Everything in a document, with digests for ties."""

    def named(stamp: Any) -> Any:
        return None if stamp is None else (stamp[0], document.digest_of(stamp[1]), *stamp[2:])

    return {
        "cells": as_columns_keep(cells_of(document)),
        "registers": {f: named(register[:3]) for f, register in document.registers.items()},
        "live": named(document.live),
        "born": named(document.born),
        "newest": named(document.newest),
    }


def meaning_of_row(store: Store, model: Model, row: Row) -> dict[str, Any]:
    """A row without the numbers that this node gave."""
    table, digest_of = model.table, store.entries.digest_of
    named = dict(zip(table.columns, row, strict=True))
    if not row[table.hidden_at]:
        told = tuple(named[name] for name in ("_t", "_ce", "_ct", "_by"))
        t, created, ct = model.states.times(table.brief(row), store.entries.by_number(row[table.e_at]).clock)
        by = store.keys.number(store.entries.by_number(created).user)
        assert (t, created, ct, by) == told, "a row in brief, and the entries, tell the rest"
    state = state_of(model.states.load(row))
    e, ce, by = named.pop("_e"), named.pop("_ce"), named.pop("_by")
    for name in ("_doc", "_log", "_state"):
        del named[name]
    named["newest"] = digest_of(e) if state["newest"] else None
    named["created"] = None if ce is None else (digest_of(ce), store.keys.key(by))
    return {**named, "state": state}


def meaning(store: Store, replica: Replica) -> dict[str, Any]:
    """What a node knows of a log, comparable with any other node's."""
    store.flush()
    rows = {}
    for name, model in store.models.items():
        listed = ", ".join(f'"{column}"' for column in model.table.columns)
        for row in store.view.read(f'SELECT {listed} FROM "{model.table.name}" WHERE "_log" = ?', (replica.n,)):
            cached = store.view.row(model.rows, replica.n, row[0])
            assert cached == row, "a row in memory is that of the file"
            rows[name, row[0]] = meaning_of_row(store, model, row)
    void = store.view.read("SELECT digest FROM entries WHERE void = 1 AND log = ?", (replica.n,))
    return {
        "rows": rows,
        "void": {digest for (digest,) in void},
        "heads": set(replica.heads),
        "clock": replica.clock,
        "tips": {key.hex(): _tip(store, replica, key) for key in authors(store, replica)},
    }


def authors(store: Store, replica: Replica) -> list[bytes]:
    found = store.view.read("SELECT key FROM keys WHERE n IN (SELECT author FROM entries WHERE log = ?)", (replica.n,))
    return sorted(key for (key,) in found)


def shown(store: Store, replica: Replica) -> dict[tuple[str, str], dict[str, Any]]:
    """What a reader sees of a log, in the form of `tests.support.naive_rows`; documents without a change left out."""
    store.flush()
    found = {}
    for name, model in store.models.items():
        table, digest_of = model.table, store.entries.digest_of
        for row in store.view.read(f'{table.select} WHERE "_log" = ?', (replica.n,)):
            document = model.states.load(row)
            if document.newest is None:
                continue
            fields = enumerate(table.schema.fields, 1)
            values = {s.name: None if row[at] is None else (from_column(s.codec) or same)(row[at]) for at, s in fields}
            born = row[table.ct_at] is not None
            clock, e, version = document.newest
            assert (row[table.e_at], row[table.t_at], row[table.v_at]) == (e, clock, version)
            found[name, row[0]] = {
                "values": values,
                "hidden": row[table.hidden_at],
                "flags": row[table.flags_at],
                "created": (digest_of(row[table.ce_at]), row[table.ct_at], store.keys.key(row[table.by_at]))
                if born
                else None,
                "newest": (digest_of(e), clock, version),
            }
    return found


def same(value: Any) -> Any:
    return value


def view_cells(store: Store, replica: Replica) -> dict[tuple[str, ...], Any]:
    """All cells that the view holds of a log, in the form of `tests.support.naive`, sums of zero left out."""
    store.flush()
    found: dict[tuple[str, ...], Any] = {}
    for name, model in store.models.items():
        for row in store.view.read(f'{model.table.select} WHERE "_log" = ?', (replica.n,)):
            cells = as_columns_keep(cells_of(model.states.load(row)))
            found |= {(name, row[0], *cell): value for cell, value in cells.items()}
    return found


def _tip(store: Store, replica: Replica, key: bytes) -> int:
    return replica.tip(key).seq
