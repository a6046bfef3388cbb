"""The merge state of a document beside its row: what the columns alone do not say.

While one change made the whole row, nothing is stored (`_state` is null): every cell has the row's stamp. From the
second change on, `_state` holds a DAG-CBOR list: the stamp shared by most registers, the registers that differ
from it (with their value where no column shows it), sums, sets and kept values with their dots, `live` and `born`.
Ties are entry numbers; dots are digests, for changes from peers name them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import chain
from typing import Any, Final

import libipld

from debros.blocks import dagcbor
from debros.replica.cells import Document, Elements, Kept
from debros.replica.tables import Row, Table
from debros.schema import Codec

_EXACT: Final = frozenset({str, int, bool, type(None)})
"""Types that the fast encoder writes as ours does: it might take bytes for a link, and rewrites -0.0."""


def from_column(codec: Codec) -> Callable[[Any], Any] | None:
    """Return the function from a column value back to the wire value; `None` where they are the same."""
    if codec.to_column is None:
        return None
    if codec.kind == "bool":
        return bool
    return dagcbor.decode_fast


class States:
    """Reads and writes the documents of one table."""

    def __init__(self, table: Table, digest_of: Callable[[int], bytes]) -> None:
        self._table = table
        self._digest_of = digest_of
        fields = table.schema.fields
        self._columns = {spec.wire: (n + 1, from_column(spec.codec)) for n, spec in enumerate(fields)}
        self._fields = [(n + 1, spec, from_column(spec.codec)) for n, spec in enumerate(table.schema.fields)]

    def empty(self) -> Document:
        """Return a document without cells."""
        return Document(self._digest_of)

    def load(self, row: Row) -> Document:
        """Return the cells behind a row."""
        table, state = self._table, row[self._table.state_at]
        document = Document(self._digest_of)
        if state is None:
            self._load_simple(document, row, row[table.t_at], row[table.e_at], row[table.v_at])
        else:
            self._load_full(document, row, dagcbor.decode_known(state))
        return document

    def times(self, row: Row, clock: int) -> tuple[int, int, int]:
        """Return clock of the newest change, and entry and clock of the creation, of a row in brief that shows.

        `clock` is that of the row's newest entry.
        """
        state = row[self._table.state_at]
        if state is None:
            return clock, row[self._table.e_at], clock
        known: Any = dagcbor.decode_known(state)
        *_, born, newest, _ = known
        return newest[0], born[1], born[0]

    def oldest_version(self, row: Row) -> int:
        """Return the smallest schema version among the row's registers, or of its newest change where it has none."""
        state = row[self._table.state_at]
        version: int = row[self._table.v_at]
        if state is None:
            return version
        known: Any = dagcbor.decode_known(state)
        (_, _, common), shared, apart, *_ = known
        found = [each[2] for each in apart.values()]
        return min([common, *found] if shared else found, default=version)

    def _load_simple(self, document: Document, row: Row, clock: int, tie: int, version: int) -> None:
        change: dict[str, Any] = {"put": {}, "inc": {}, "add": {}, "keep": {}, "live": True}
        for at, spec, decode in self._fields:
            value = row[at] if decode is None or row[at] is None else decode(row[at])
            if spec.merge == "lww":
                change["put"][spec.wire] = value
            elif spec.merge == "counter":
                if value:
                    change["inc"][spec.wire] = value
            elif spec.merge == "set":
                if value:
                    change["add"][spec.wire] = value
            else:
                change["keep"][spec.wire] = [value, []]
        document.merge(change, clock, tie, version)

    def _load_full(self, document: Document, row: Row, state: Any) -> None:
        (clock, tie, version), shared, apart, sums, elements, kept, live, born, newest, document.count = state
        columns = self._columns
        for wire in shared:
            document.registers[wire] = (clock, tie, version, self._column(row, *columns[wire]))
        for wire, (t, e, v, *value) in apart.items():
            document.registers[wire] = (t, e, v, value[0] if value else self._column(row, *columns[wire]))
        document.sums = {wire: _from_text(total) for wire, total in sums.items()}
        for wire, (living, waiting) in elements.items():
            cell = document.elements[wire] = Elements()
            cell.living = {value: set(dots) for value, dots in living}
            cell.waiting = {value: set(dots) for value, dots in waiting}
        for wire, (living, waiting) in kept.items():
            register = document.kept[wire] = Kept()
            register.living = {dot: (t, value) for dot, t, value in living}
            register.waiting = set(waiting)
        document.live = None if live is None else tuple(live)
        document.born = None if born is None else tuple(born)
        document.newest = None if newest is None else tuple(newest)  # null while all that touched it is void

    @staticmethod
    def _column(row: Row, at: int, decode: Callable[[Any], Any] | None) -> Any:
        return row[at] if decode is None or row[at] is None else decode(row[at])

    def dump(self, document: Document, shown: set[str]) -> bytes:
        """Encode the cells; `shown` names the registers whose value a column holds as it is."""
        registers = document.registers
        stamps = [register[:3] for register in registers.values()]
        common = stamps[0] if stamps else (0, 0, 0)
        if stamps.count(common) == len(stamps):
            shared = sorted(shown & registers.keys())
        else:
            counts = Counter(stamps)
            common = max(counts, key=lambda stamp: (counts[stamp], stamp))
            shared = sorted(f for f, register in registers.items() if register[:3] == common and f in shown)
        alike = set(shared)
        apart = {
            f: [t, e, v] if f in shown else [t, e, v, value]
            for f, (t, e, v, value) in registers.items()
            if f not in alike
        }
        elements = {f: [_listed(cell.living), _listed(cell.waiting)] for f, cell in document.elements.items()}
        kept = {
            f: [[[dot, t, value] for dot, (t, value) in sorted(c.living.items())], sorted(c.waiting)]
            for f, c in document.kept.items()
        }
        sums = {wire: _to_text(total) for wire, total in document.sums.items()}
        live, born, newest = document.live, document.born, document.newest
        stamps_of = [None if stamp is None else list(stamp) for stamp in (live, born, newest)]
        state = [list(common), shared, apart, sums, elements, kept, *stamps_of, document.count]
        if not kept and all(type(cell[-1]) in _EXACT for cell in apart.values()):
            return encode_state(state)
        return dagcbor.encode(state)


def encode_state(value: Any) -> bytes:
    """Encode a state, or a part of one, in which all is text, bytes, whole numbers, lists and maps of these: the fast way.

    Of some thousand digests the extension takes one or another for a link: what that one is in is encoded part by part.
    """
    raw = _quick(value)
    if raw is not None:
        return raw
    if type(value) is list and value:
        return dagcbor.head(4, len(value)) + _items(value)
    if type(value) is dict and value:
        parts = sorted(
            (dagcbor.encode(key), encode_state(part)) for key, part in value.items()
        )  # short keys first, too
        return dagcbor.head(5, len(parts)) + b"".join(chain.from_iterable(parts))
    return dagcbor.encode(value)


def _items(values: list[Any]) -> bytes:
    """Encode the items of a list one behind the other, halves of it until what is taken for a link is alone."""
    raw = _quick(values)
    if raw is not None:
        return raw[len(dagcbor.head(4, len(values))) :]
    if len(values) == 1:
        return encode_state(values[0])
    middle = len(values) // 2
    return _items(values[:middle]) + _items(values[middle:])


def _quick(value: Any) -> bytes | None:
    """Encode by the extension; `None`: it refused, or took some bytes for a link."""
    try:
        raw: bytes = libipld.encode_dag_cbor(value)
    except Exception:  # whatever it does not take, the authority does, or says why not
        return None
    return None if dagcbor.may_hold_links(raw) else raw


def _listed(cells: dict[bytes, set[bytes]]) -> list[list[Any]]:
    return [[value, sorted(dots) if len(dots) > 1 else [*dots]] for value, dots in sorted(cells.items())]


def _to_text(total: int) -> int | str:
    """Sums have no bounds: beyond 64 bits they are kept as text."""
    return total if -(2**63) <= total < 2**63 else str(total)


def _from_text(total: int | str) -> int:
    return int(total)
