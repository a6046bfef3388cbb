"""The fold against the vectors of the format: naive, pure, and through a store in any order."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import trio

from debros.blocks import dagcbor
from debros.blocks.cid import digest_of
from debros.log.changes import good_changes
from debros.log.manifest import parse
from debros.log.rights import may_write
from debros.replica.cells import Document
from debros.replica.receive import Delivery, receive
from debros.schema import Schema
from tests.support.naive import Fold, fold
from tests.support.stores import FakeEnv, cells_of, opened, shown, spec, view_cells
from tests.support.vectors import FORMAT

CASES = [pytest.param(case, id=case["name"]) for case in FORMAT["folds"]]
POST = Schema(
    "Post", 1, "global", "documents", "anyone",
    (
        spec("a", int | None), spec("b", int | None), spec("n", int, merge="counter"),
        spec("s", set[str], merge="set"), spec("k", str | None, merge="keep"),
    ),
)  # fmt: skip


def entries_of(case: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    return [(bytes.fromhex(header), bytes.fromhex(body)) for header, body in case["entries"]]


def admins_of(case: dict[str, Any]) -> list[bytes]:
    return list(parse(bytes.fromhex(FORMAT["logs"][case["log"]])).admins)


def as_in_vector(cells: dict[tuple[str, str, str, str], Any]) -> list[list[Any]]:
    made = []
    for (model, id, field, kind), value in cells.items():
        if kind == "inc":
            reads = min(max(value, -(2**63)), 2**63 - 1)
            value = {"sum": str(value), "reads": str(reads), "flagged": reads != value}
        elif kind in ("put", "live"):
            value = value.hex()
        else:
            value = [[encoded.hex(), dot.hex()] for encoded, dot in value]
        made.append([model, id, field, kind, value])
    return sorted(made, key=lambda cell: [text.encode() for text in cell[:4]])


def in_some_order(entries: list[tuple[bytes, bytes]], known: Fold, seed: int) -> list[tuple[bytes, bytes]]:
    """An order that respects parents."""
    random, left, done, order = Random(seed), [(digest_of(entry[0]), entry) for entry in entries], {b""}, []
    while left:
        ready = [item for item in left if done.issuperset(known.entries[item[0]].parents)]
        chosen = random.choice(ready)
        left.remove(chosen)
        done.add(chosen[0])
        order.append(chosen[1])
    return order


@pytest.mark.parametrize("case", CASES)
def test_the_naive_fold_gives_what_the_vector_says(case: dict[str, Any]) -> None:
    found = fold(admins_of(case), entries_of(case))
    assert as_in_vector(found.cells) == case["cells"]
    live = [
        [m, i] for (m, i, _, kind), value in found.cells.items() if kind == "live" and value == dagcbor.encode(True)
    ]
    assert sorted(live) == sorted(case["visible"])
    assert {digest.hex() for digest in found.void} == set(case["void"])
    assert sorted([digest.hex(), at] for digest, at in found.skipped) == sorted(case["skipped"])


@pytest.mark.parametrize("case", CASES)
def test_documents_merged_by_digest_in_any_order_have_the_cells_of_the_vector(case: dict[str, Any]) -> None:
    manifest = parse(bytes.fromhex(FORMAT["logs"][case["log"]]))
    known = fold(admins_of(case), entries_of(case))
    effective = [entry for digest, entry in known.entries.items() if digest not in known.void]
    for seed in range(5):
        Random(seed).shuffle(effective)
        documents: dict[tuple[str, str], Document] = {}
        for entry in effective:
            for _, model, version, id, change in good_changes(entry.ops):
                if may_write(id, entry.user, manifest):
                    documents.setdefault((model, id), Document()).merge(change, entry.clock, entry.digest, version)
        cells = {(*place, *cell): v for place, d in documents.items() for cell, v in cells_of(d).items()}
        assert as_in_vector(cells) == case["cells"]
        assert sorted([*place] for place, d in documents.items() if d.is_live) == sorted(case["visible"])


@pytest.mark.parametrize("case", CASES)
def test_a_store_shows_the_vector_whatever_the_order_of_arrival(case: dict[str, Any]) -> None:
    manifest = parse(bytes.fromhex(FORMAT["logs"][case["log"]]))
    entries = entries_of(case)
    known = fold(list(manifest.admins), entries)

    async def arrive(order: list[tuple[bytes, bytes]]) -> tuple[Any, ...]:
        store = opened([POST], env=FakeEnv(case["now"])).store
        replica = store.replica(manifest)
        for header, body in order:
            await receive(store, replica, [Delivery(header, body)])
        cells, rows = view_cells(store, replica), shown(store, replica)
        void = store.view.read("SELECT digest FROM entries WHERE void", ())
        return cells, rows, {digest.hex() for (digest,) in void}, replica.skipped

    outcomes = [trio.run(arrive, entries)] + [
        trio.run(arrive, in_some_order(entries, known, seed)) for seed in range(4)
    ]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    cells, rows, void, skipped = outcomes[0]
    assert as_in_vector(cells) == [cell for cell in case["cells"] if cell[0] == "Post" and _is_something(cell)]
    assert sorted(place for place, row in rows.items() if not row["hidden"] & 1) == sorted(
        (model, id) for model, id in case["visible"] if model == "Post"
    )
    assert void == set(case["void"])
    assert skipped == len(case["skipped"])


def _is_something(cell: list[Any]) -> bool:
    return bool(cell[3] != "inc" or cell[4]["sum"] != "0")
