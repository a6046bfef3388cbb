"""Loading relations: one statement per relation, for however many records, and one object per record.

The ids asked for go as one bound list, so no number of records meets a limit. Within one result a record is one
object, wherever it appears: `Loaded` remembers what was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from debros.query.cache import Caching, Labels
from debros.query.catalog import Columns, columns
from debros.query.columns import Column
from debros.query.expressions import Statement
from debros.query.ports import Source, Subject, Users
from debros.query.relations import LINK, Relation, users_for, write_links
from debros.replica.tables import Row, Table


class Loaded:
    """The records of one result. By id and log they are listed only once more of the same model come."""

    __slots__ = ("_known", "_noted")

    def __init__(self) -> None:
        self._known: dict[str, dict[tuple[str, int], Any]] = {}
        self._noted: dict[str, tuple[Sequence[Row], Sequence[Any]]] = {}

    def note(self, table: Table, rows: Sequence[Row], records: Sequence[Any]) -> None:
        """Take in the first records of a model; no row is there twice."""
        self._noted[table.schema.name] = (rows, records)

    def records(
        self, table: Table, rows: list[Row], make: Callable[[list[Row]], list[Any]], *, repeats: bool
    ) -> list[Any]:
        """Return the records of rows: those made already for this result, else new ones. `repeats`: some may be the same."""
        model, log_at = table.schema.name, table.log_at
        if not repeats and model not in self._noted and model not in self._known:
            made = make(rows)
            self.note(table, rows, made)
            return made
        known = self._known.setdefault(model, {})
        if model in self._noted:
            before, records = self._noted.pop(model)
            known.update(zip([(row[0], row[log_at]) for row in before], records, strict=True))
        places = [(row[0], row[log_at]) for row in rows]
        new = {place: row for place, row in zip(places, rows, strict=True) if place not in known}
        known.update(zip(new, make(list(new.values())), strict=True))
        return [known[place] for place in places]


async def load(
    subject: Subject[Any],
    records: Sequence[Any],
    relations: Iterable[Relation[Any]],
    users: Users = None,
    loaded: Loaded | None = None,
    caching: Caching | None = None,
    partial: bool = False,
) -> None:
    """Load relations of records of one subject, and attach what is found: a record, `None`, or a list.

    Args:
        subject: what the records are.
        records: any number; one lookup per relation serves them all.
        relations: which, with their conditions and what to include in turn.
        users: whose records, as in a query.
        loaded: records made already for the same result.
        caching: how results are kept where a relation does not say.
        partial: whether shards may be missing.
    """
    if not records:
        return
    if loaded is None:
        loaded = Loaded()
    for relation in relations:
        await _Load(subject, relation.with_defaults(), users, loaded, caching, partial).run(records)


async def count(
    subject: Subject[Any],
    records: Sequence[Any],
    relations: Iterable[Relation[Any]],
    users: Users = None,
    caching: Caching | None = None,
    partial: bool = False,
) -> None:
    """Count related records of records of one subject, one lookup per relation, and attach the numbers."""
    if records:
        for relation in relations:
            await _Load(subject, relation, users, Loaded(), caching, partial).count(records)


class _Load:
    """The loading of one relation."""

    def __init__(
        self,
        subject: Subject[Any],
        relation: Relation[Any],
        users: Users,
        loaded: Loaded,
        caching: Caching | None,
        partial: bool,
    ) -> None:
        self.subject = subject
        self.relation = relation
        self.spec = relation.spec
        self.target = subject.related(relation.spec.name)
        self.users: Users = users
        self.target_users: Users = users_for(self.target, subject, users)
        self.its: Columns = columns(self.target.schema)
        self.source: Source = self.target.source()
        is_whole = self.source.is_inside()
        self.listed = self.its.listed if is_whole else self.its.brief  # terms of a row
        self.width = len(self.its.table.columns) if is_whole else self.its.table.brief_width
        self.loaded = loaded
        self.partial = partial
        self.caching = relation.caching or caching
        self.parents: list[str] = []  # ids of the records, where results are kept

    async def run(self, records: Sequence[Any]) -> None:
        if self.caching is not None:
            self.parents = self.subject.keys_of(records, "id")
        if self.spec.kind == "belongs_to":
            found = await self._by_key(records)
        elif self.spec.kind == "many_to_many" and self.spec.ids:
            found = await self._by_ids(records)
        else:
            found = await self._by_parent(records)
        if self.relation.counts:
            await count(self.target, found, self.relation.counts, self.target_users, self.caching, self.partial)
        if self.relation.loads:
            await load(
                self.target, found, self.relation.loads, self.target_users, self.loaded, self.caching, self.partial
            )

    async def count(self, records: Sequence[Any]) -> None:
        if self.caching is not None:
            self.parents = self.subject.keys_of(records, "id")
        if self.spec.kind == "belongs_to":
            keys = self._keys(records)
            ids = [[] if one is None else [one] for one in keys]
            counts = await self._counts_of(ids)
        elif self.spec.kind == "many_to_many" and self.spec.ids:
            wanted = [list(map(str, ids or ())) for ids in self.subject.keys_of(records, self.spec.ids)]
            counts = await self._counts_of([ids if not self._is_set() else list(set(ids)) for ids in wanted])
        else:
            own = self.subject.keys_of(records, "id")
            ids_of = list(dict.fromkeys(own))
            out = Statement(self.source, self.target_users, self.partial)
            out.add('SELECT "_parent", count(*) FROM (')
            self._write_parents(out, self.its.id.sql, ids_of)
            out.add(') GROUP BY "_parent"')
            by_parent: dict[str, int] = dict(await self._fetch(out))
            counts = [by_parent.get(id, 0) for id in own]
        self.subject.attach_counts(records, self.spec.name, counts)

    async def _counts_of(self, ids: list[list[str]]) -> list[int]:
        """Return how many of the targets with these ids show, for each list of ids."""
        wanted = list(dict.fromkeys(id for some in ids for id in some))
        if not wanted:
            return [0] * len(ids)
        out = Statement(self.source, self.target_users, self.partial)
        out.add(f"SELECT DISTINCT {self.its.id.sql}")
        self._write_where(out, self.its.id, wanted)
        there = {id for (id,) in await self._fetch(out)}
        # as `include` gives them
        once = bool(self.spec.ids) and (bool(self.relation.with_defaults().orders) or self._is_set())
        return [sum(id in there for id in (set(some) if once else some)) for some in ids]

    async def _fetch(self, out: Statement) -> list[Row]:
        """Return what a statement gives. All that relations read, they read here."""
        if self.caching is None:
            return await self.source.fetch(out.text(), out.bound)
        statement = out.text(), tuple(out.bound)
        spec, name = self.spec, repr(self.relation)
        models = tuple(dict.fromkeys((self.its.name, *out.models)))
        owners = None if self.target_users == "all" else frozenset(self.target_users or ())
        caching = self.caching

        def labels() -> Labels:
            return Labels(models, b"", caching.tags, caching.key, owners, name, spec.kind, frozenset(self.parents))

        return (await self.source.cache.relations.fetch(self.source, statement, caching, models, labels)).rows

    async def _by_key(self, records: Sequence[Any]) -> list[Any]:
        """belongs_to: the key names the target."""
        keys = self._keys(records)
        found, targets = await self._of_ids([key for key in dict.fromkeys(keys) if key is not None])
        self.subject.attach(records, self.spec.name, list(map(targets.get, keys)))
        return found

    async def _by_ids(self, records: Sequence[Any]) -> list[Any]:
        """many_to_many by a field of ids; in its order, unless another is asked for."""
        wanted = [list(map(str, ids or ())) for ids in self.subject.keys_of(records, self.spec.ids)]
        found, targets = await self._of_ids(list(dict.fromkeys(chain.from_iterable(wanted))))
        rank = {id: n for n, id in enumerate(targets)}
        if self.relation.orders or self._is_set():
            wanted = [sorted((id for id in set(ids) if id in rank), key=rank.__getitem__) for ids in wanted]
        present = [[targets[id] for id in ids if id in targets][: self.relation.count_limit] for ids in wanted]
        self.subject.attach(records, self.spec.name, present)
        return found

    def _is_set(self) -> bool:
        return columns(self.subject.schema).named(self.spec.ids).codec.kind == "set"

    async def _of_ids(self, wanted: list[str]) -> tuple[list[Any], dict[str | None, Any]]:
        """Return the targets with these ids that show, in order, and by id."""
        if not wanted:
            return [], {}
        out = Statement(self.source, self.target_users, self.partial)
        out.add(f"SELECT {self.listed}")
        self._write_where(out, self.its.id, wanted)
        self._write_order(out)
        rows = await self._fetch(out)
        names = [row[0] for row in rows]
        if len(set(names)) < len(names):  # of one id in several logs, the record made first is meant
            first: dict[str, Row] = {}
            for row in rows:
                other = first.get(row[0])
                if other is None or self._made_at(row) < self._made_at(other):
                    first[row[0]] = row
            names, rows = list(first), list(first.values())
        found = self._records(rows)
        return found, dict(zip(names, found, strict=True))

    def _made_at(self, row: Row) -> tuple[int, int]:
        table, whole = self.its.table, self.source.whole(row)
        return whole[table.ct_at], whole[table.log_at]

    async def _by_parent(self, records: Sequence[Any]) -> list[Any]:
        """Everything else: the target, or a link, names the record."""
        ids = self.subject.keys_of(records, "id")
        parents = list(dict.fromkeys(ids))
        rows = await self._fetch(self._parent_sql(parents))
        width = self.width
        found = self._records([row[:width] for row in rows], repeats=self._may_repeat())
        by_parent: dict[str, list[Any]] = {}
        for row, record in zip(rows, found, strict=True):
            if (related := by_parent.get(row[width])) is None:
                by_parent[row[width]] = [record]
            else:
                related.append(record)
        if self.relation.is_many:
            self.subject.attach(records, self.spec.name, [list(by_parent.get(own, ())) for own in ids])
        else:
            self.subject.attach(records, self.spec.name, [by_parent.get(own, (None,))[0] for own in ids])
        return list({id(record): record for record in found}.values()) if self._may_repeat() else found

    def _may_repeat(self) -> bool:
        return bool(self.spec.through) or self.spec.kind == "many_to_many"

    def _parent_sql(self, ids: list[str]) -> Statement:
        out = Statement(self.source, self.target_users, self.partial)
        limit = self.relation.count_limit if self.relation.is_many else 1
        if limit is None:
            self._write_parents(out, self.listed, ids)
            self._write_order(out)
            return out
        out.add("SELECT * FROM (")
        self._write_parents(out, self.listed, ids, ranked=True)
        out.add(') WHERE "_rank" <= ? ORDER BY "_rank"', (limit,))
        return out

    def _write_parents(self, out: Statement, picked: str, ids: list[str], *, ranked: bool = False) -> None:
        """Append a SELECT of terms of related records and the "_parent" they belong to, and which is first."""
        linked = self._may_repeat()
        parent = f'{LINK}."parent"' if linked else self.its.named(self.spec.key).value
        out.add(f'SELECT {picked}, {parent} AS "_parent"')
        if ranked:
            out.add(f", row_number() OVER (PARTITION BY {parent}")
            self._write_order(out)
            out.add(') AS "_rank"')
        if linked:
            out.add(" FROM (")
            out.users = self.users
            write_links(out, self.subject, self.spec, lambda column: _among(column, ids))
            out.users = self.target_users
            joined = self.its.named(self.spec.key).value if self.spec.kind == "has_many" else self.its.id.sql
            out.add(f') AS {LINK} JOIN {self.its.sql_name} ON {joined} = {LINK}."child"')
            self._write_where(out, None, ())
        else:
            self._write_where(out, self.its.named(self.spec.key), ids)

    def _write_where(self, out: Statement, column: Column[Any] | None, values: Sequence[str]) -> None:
        with out.reading(self.target, self.target_users, self.its.sql_name) as (logs, bound):
            out.add(f" WHERE {self.its.visible}" if column is None else self.its.from_visible)
            out.add(logs, bound)
            if column is not None:
                out.add(" AND ")
                _among(column, values).write(out)
            if self.relation.condition is not None:
                out.add(" AND ")
                self.relation.condition.write(out)

    def _write_order(self, out: Statement) -> None:
        out.add(" ORDER BY ")
        for order in self.relation.orders:
            out.add(f"{order.text}, ", order.bindings)
        out.add(self.its.id.sql)

    def _records(self, rows: list[Row], *, repeats: bool = False) -> list[Any]:
        """Return the records of rows, of those made already for this result the same objects."""
        return self.loaded.records(self.its.table, rows, self._new, repeats=repeats)

    def _new(self, rows: list[Row]) -> list[Any]:
        return self.target.hydrate(rows, self.source)

    def _keys(self, records: Sequence[Any]) -> list[str | None]:
        """Return the id that the key of each record names."""
        column = columns(self.subject.schema).named(self.spec.key)
        keys = self.subject.keys_of(records, self.spec.key)
        if column.codec.kind == "text" and column.codec.to_wire is None:
            return keys
        return [None if key is None else column.operand(key) for key in keys]


def _among(column: Column[Any], values: Sequence[str]) -> Any:
    return column.among(list(values))
