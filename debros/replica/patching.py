"""Rows changed without their cells: what a change makes of a row where it wins everywhere.

A change that only sets plain registers or adds to counters, or only deletes, and is newer than all that made the row, is
not merged cell by cell: the columns follow from those of before, and so does the merge state, of which most is copied. The
row is the one that the fold makes (`Document.merge`, `Projection.project`, `States.dump`), to the byte; where that is not
certain the answer is `None`, and the fold is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple, cast

from debros.blocks import dagcbor
from debros.replica.projection import INT64, Projection
from debros.replica.state import encode_state, from_column
from debros.replica.tables import DELETED, MULTIPLE, Row, Table
from debros.replica.updates import Updates

_MOST: Final = 1024  # parts of merge states that are remembered
_Stamp = tuple[int, int, int]  # clock, entry, schema version
_Registers = tuple[list[int], list[str], dict[str, list[int]]]  # the common stamp, which have it, the others' stamps


class _Common(NamedTuple):
    """What the merge states of rows have in common that one entry made: the bytes around sums, elements and kept values."""

    before: bytes
    behind: bytes


class Patches:
    """Makes patches for the rows of one table."""

    def __init__(
        self, table: Table, projection: Projection, digest_of: Callable[[int], bytes], updates: Updates
    ) -> None:
        schema, shown = table.schema, projection.fields
        self.table, self.projection, self.digest_of, self.updates = table, projection, digest_of, updates
        places = list(enumerate(schema.fields, 1))
        key = None if schema.sharding is None else schema.by_name.get(schema.sharding.key)
        self.registers = [spec.wire for spec in schema.fields if spec.merge == "lww"]
        self.settable = {
            spec.wire: (at, shown[at - 1]) for at, spec in places if spec.merge == "lww" and spec is not key
        }
        self.counters = {spec.wire: (at, shown[at - 1]) for at, spec in places if spec.merge == "counter"}
        self.sets = [(at, spec.wire, from_column(spec.codec)) for at, spec in places if spec.merge == "set"]
        self.keeps = any(spec.merge == "keep" for spec in schema.fields)
        self.is_rewritten = schema.store in ("events", "feed")  # which a second entry is flagged in
        indexed = {index.fields for index in table.indexes() if index.fill}  # by triggers, which see inserts only
        self.items = {at for at, spec in places if spec.codec.kind in MULTIPLE and (spec.name,) in indexed}
        self.computed = range(table.by_at + 1, len(table.columns))  # of other columns
        self._last: tuple[Any, Patch | None] = (None, None)

    def of(self, value: Mapping[str, Any]) -> Patch | None:
        """Return what a change means for rows, as it does for any; many records that are changed alike share one change."""
        last, patch = self._last
        if value is not last:
            patch = self._of(value)
            self._last = (value, patch)
        return patch

    def _of(self, value: Mapping[str, Any]) -> Patch | None:
        if self.is_rewritten:
            return None
        if len(value) == 1 and value.get("live") is False:
            return Patch(self, (), {}, {}, deletes=True)
        put, inc = value.get("put", _NOTHING), value.get("inc", _NOTHING)
        if len(value) != ("put" in value) + ("inc" in value):
            return None
        columns: dict[int, Any] = {}
        for wire, new in put.items():
            if wire not in self.settable:
                return None
            at, field = self.settable[wire]
            if new is None:
                if not field.nullable:
                    return None
            elif not field.accepts(new) or (field.out_of_bounds is not None and field.out_of_bounds(new)):
                return None
            columns[at] = new if new is None or field.to_column is None else field.to_column(new)
        if any(wire not in self.counters for wire in inc):
            return None
        return Patch(self, tuple(put), columns, dict(inc), deletes=False)


class Patch:
    """What one change makes of rows."""

    def __init__(
        self, patches: Patches, put: tuple[str, ...], columns: dict[int, Any], inc: dict[str, int], *, deletes: bool
    ) -> None:
        table = patches.table
        self._of = patches
        self._put = put
        self._columns = list(columns.items())
        self._inc = [(*patches.counters[wire], wire, amount) for wire, amount in inc.items()]
        self._deletes = deletes
        changed = {*columns, *(at for at, *_ in self._inc), *patches.computed}
        changed |= {table.e_at, table.state_at, table.v_at, table.t_at} | ({table.hidden_at} if deletes else set())
        needs_trigger = patches.items if deletes else patches.items & changed
        self.update = None if needs_trigger else patches.updates.of(changed)
        self._stamp: _Stamp = (0, 0, 0)
        self._commons: dict[_Stamp, _Common] = {}
        self._parts: dict[tuple[Any, ...], bytes] = {}
        self._states: dict[bytes, bytes | None] = {}
        self._heads: dict[tuple[Any, ...], _Registers] = {}

    def row(self, before: Row, clock: int, e: int, version: int) -> Row | None:
        """Return the row that the change makes in an entry, by its clock and number; `None`: the fold is to be asked.

        Nothing of `before` is masked by an effect.
        """
        of = self._of
        table = of.table
        if (
            clock <= before[table.t_at]
            or before[table.hidden_at]
            or before[table.flags_at]
            or version not in INT64
            or (of.projection.lifts and of.projection.lifts.get(before[table.log_at]) is not None)
        ):
            return None
        if self._stamp != (clock, e, version):
            self._stamp = (clock, e, version)
            self._commons, self._parts, self._states, self._heads = {}, {}, {}, {}
        row = list(before)
        for at, column in self._columns:
            row[at] = column
        for at, field, _, amount in self._inc:
            total = before[at] + amount
            if total not in INT64 or (field.out_of_bounds is not None and field.out_of_bounds(total)):
                return None
            row[at] = total
        state = before[table.state_at]
        state = self._first_state(before) if state is None else self._next_state(state)
        if state is None:
            return None
        row[table.e_at], row[table.state_at], row[table.v_at], row[table.t_at] = e, state, version, clock
        if self._deletes:
            row[table.hidden_at] = DELETED
        return of.projection.finished(row[: table.by_at + 1]) if of.computed else tuple(row)

    # -- the merge state ---------------------------------------------------------------------------------------

    def _first_state(self, row: Row) -> bytes | None:
        """Return the state of a document that one change made, after this one."""
        of, table = self._of, self._of.table
        if of.keeps:
            return None
        made = (row[table.t_at], row[table.e_at], row[table.v_at])
        common = self._commons.get(made) or self._commons.setdefault(made, self._common(made))
        return common.before + self._sums(row) + self._elements(row, made[1]) + common.behind

    def _common(self, made: _Stamp) -> _Common:
        put, rest = self._put, [wire for wire in self._of.registers if wire not in self._put]
        fewer, most = sorted(((len(rest), made, rest), (len(put), self._stamp, put)))  # as `_registers` chooses
        common = list(most[1]) if self._of.registers else [0, 0, 0]
        head = (common, sorted(most[2]), {wire: list(fewer[1]) for wire in fewer[2]})
        live = [*self._stamp[:2], False] if self._deletes else [*made[:2], True]
        before = b"".join(map(encode_state, head))
        behind = b"".join(map(encode_state, (live, list(made[:2]), list(self._stamp), 2)))
        return _Common(dagcbor.head(4, 10) + before, _EMPTY + behind)

    def _registers(self, stamps: dict[str, _Stamp]) -> _Registers:
        """Return common stamp, those that have it, and the others, as `States.dump` tells them; all registers are shown."""
        stamps.update(dict.fromkeys(self._put, self._stamp))
        common: _Stamp = (0, 0, 0)
        if stamps:
            counts = Counter(stamps.values())
            common = max(counts, key=lambda stamp: (counts[stamp], stamp))
        shared = sorted(wire for wire, stamp in stamps.items() if stamp == common)
        return list(common), shared, {wire: list(stamp) for wire, stamp in stamps.items() if stamp != common}

    def _set(self, common: list[int], shared: list[str], apart: dict[str, list[int]]) -> _Registers:
        """Return stamps after this change; the same entries made most rows that are changed alike."""
        key = (
            *common,
            *shared,
            *apart,
            *chain.from_iterable(apart.values()),
        )  # numbers come last, so it is told which are apart
        found = self._heads.get(key)
        if found is None:
            stamps: dict[str, _Stamp] = dict.fromkeys(shared, cast(_Stamp, tuple(common)))
            stamps.update((wire, cast(_Stamp, tuple(cell))) for wire, cell in apart.items())
            if len(self._heads) >= _MOST:
                self._heads = {}
            found = self._heads[key] = self._registers(stamps)
        return found

    def _sums(self, row: Row) -> bytes:
        counters = self._of.counters
        if not counters:
            return _EMPTY
        totals = tuple([row[at] for at, _ in counters.values()])
        raw = self._parts.get(totals)
        if raw is None:
            sums = {wire: total for wire, total in zip(counters, totals, strict=True) if total}
            for _, _, wire, amount in self._inc:
                sums[wire] = sums.get(wire, 0) + amount
            raw = self._remember(totals, encode_state(sums))
        return raw

    def _elements(self, row: Row, e: int) -> bytes:
        sets = self._of.sets
        if not sets:
            return _EMPTY
        key = (e, *[row[at] for at, _, _ in sets])
        raw = self._parts.get(key)
        if raw is None:
            cells = {}
            for at, wire, decode in sets:
                if values := row[at] if decode is None or row[at] is None else decode(row[at]):
                    dot = self._of.digest_of(e)
                    cells[wire] = [[[encoded, [dot]] for encoded in sorted(set(map(_encoded, values)))], []]
            raw = self._remember(key, encode_state(cells))
        return raw

    def _remember(self, key: tuple[Any, ...], raw: bytes) -> bytes:
        if len(self._parts) >= _MOST:
            self._parts = {}
        self._parts[key] = raw
        return raw

    def _next_state(self, before: bytes) -> bytes | None:
        """Return the state after this change of a document that has one."""
        if before not in self._states:
            if len(self._states) >= _MOST:
                self._states = {}
            self._states[before] = self._after(before)
        return self._states[before]

    def _after(self, before: bytes) -> bytes | None:
        state: Any = dagcbor.decode_known(before)
        common, shared, apart, sums, elements, kept, live, born, newest, count = state
        if kept or any(len(cell) != 3 for cell in apart.values()):  # values that no column shows
            return None
        if self._put:
            common, shared, apart = self._set(common, shared, apart)
        for _, _, wire, amount in self._inc:
            total = int(sums.get(wire, 0)) + amount
            if total not in INT64:
                return None
            sums[wire] = total
        if self._deletes:
            live = [*self._stamp[:2], False]
        newest = list(self._stamp)
        return encode_state([common, shared, apart, sums, elements, kept, live, born, newest, count + 1])


_encoded: Final = dagcbor.encode
_EMPTY: Final = b"\xa0"  # an empty map
_NOTHING: Final[Mapping[str, Any]] = {}
