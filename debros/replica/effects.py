"""`on_delete` as an effect of reading: nothing is written, and a restore undoes it.

While a target is deleted (missing is not deleted), its `cascade` children are hidden, theirs too, and `set_null` keys
read null. The effect stands in the rows, set when a target turns or a child comes, so queries pay nothing; the
table `effects` remembers which child is touched by which target. `restrict` is asked before a delete is written.

Everything is settled in the flush: a pure function of the rows that are in the file then, whatever their order. A
deleted record has no effects on itself: it shows, where somebody asks for it, as it was.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

from debros.env import collector_paused
from debros.replica.pacing import TURN
from debros.replica.tables import Row, quoted
from debros.replica.touching import At, Link, Touching, is_gone

if TYPE_CHECKING:
    from debros.replica.store import Model, Store

Place: TypeAlias = "tuple[str, int, str]"  # model, log, id
_Moved: TypeAlias = "tuple[Model, Row, Row]"  # a row before and after an effect on it


class Effects:
    """The effects between the opened models of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._links: list[Link] = []
        self._touching: dict[str, Touching] = {}  # by model, once rows of it were looked at
        self._turned: set[Place] = set()  # targets that went or came back
        self._children: set[Place] = set()  # rows to look at: new, changed, or of a turned target
        self._outdated: set[Place] = set()  # rows that show effects of an earlier session's relations
        self.declared = "[]"  # the relations that have effects, as text
        self._may_be_gone: set[str] = set()  # models some record of which is deleted

    def link(self) -> None:
        """Take up the relations of all opened models."""
        models = self._store.models
        for name in sorted(models):
            child = models[name]
            for spec in child.table.schema.relations:
                if spec.kind != "belongs_to" or spec.on_delete == "keep" or spec.target not in models:
                    continue
                target, key = models[spec.target], child.table.schema.by_name[spec.key]
                same_log = child.table.schema.scope == target.table.schema.scope == "user"
                at = child.table.names.index(spec.key)
                number = f"{name}.{spec.name}"
                self._links.append(Link(number, child, target, spec.on_delete, key.wire, at, same_log))
                child.rows.linked = target.rows.linked = True
                gone = f'SELECT 1 FROM {quoted(target.table.name)} WHERE "_hidden" != 0 LIMIT 1'
                if self._store.view.read(gone, ()):
                    self._may_be_gone.add(spec.target)

        self._touching = {}
        self._declare()

    def _declare(self) -> None:
        """Look at all rows again that other relations, in an earlier session, had effects on, or should have had."""
        links = sorted(
            [link.number, link.target.table.schema.name, link.on_delete, link.wire, link.same_log]
            for link in self._links
        )
        self.declared = json.dumps(links)
        view, models = self._store.view, self._store.models
        if view.meta("links") in (None, self.declared):
            return
        for name, log, id in view.read("SELECT DISTINCT model, log, id FROM effects", ()):
            if name in models:
                self._outdated.add((name, log, id))
        for name in sorted(self._may_be_gone):
            model = models[name]
            hidden = view.read(f'{model.table.select} WHERE "_hidden" != 0', ())
            self._turned.update((name, row[model.table.log_at], row[0]) for row in hidden if is_gone(model, row))

    def note(self, model: Model, row: Row, before: Row | None) -> None:
        """Take notice of a new state of a row."""
        name = model.table.schema.name
        gone = is_gone(model, row)
        # a new row of an id that another shard has had: as long as one of them is there, what refers to the id has its target
        is_twin = before is None and model.twins is not None and name in self._may_be_gone
        if is_twin or gone != (before is not None and is_gone(model, before)):
            self._turned.add((name, row[model.table.log_at], row[0]))
        if gone:
            self._may_be_gone.add(name)
        if self.may_touch(model):
            self._children.add((name, row[model.table.log_at], row[0]))

    def may_touch(self, model: Model) -> bool:
        """Whether rows of a model may show an effect: hidden, or with a key that reads null."""
        return any(link.child is model and link.target.table.schema.name in self._may_be_gone for link in self._links)

    @property
    def unsettled(self) -> bool:
        """Whether rows in memory may lack an effect until the next flush."""
        return bool(self._turned or self._children or self._outdated)

    def restricted_by(self, model: Model, log: int, id: str) -> str | None:
        """Return a relation by which visible records hold on to this one. What is pending must be in the file."""
        for link in self._links:
            if link.target is model and link.on_delete == "restrict" and link.pointing(self._store.view, [(log, id)]):
                return link.number
        return None

    def has_restrict(self, model: Model) -> bool:
        """Whether records of another model may hold on to records of this one."""
        return any(link.target is model and link.on_delete == "restrict" for link in self._links)

    def settle(self) -> list[tuple[Model, tuple[int, str]]]:
        """Bring all rows in line, in the flush's SQLite transaction; return those whose row in memory is stale."""
        return self.told(self._settle())

    def told(self, moved: list[_Moved]) -> list[tuple[Model, tuple[int, str]]]:
        """Tell who holds unique values of rows that settling changed, and return where they are."""
        for model, before, after in moved:
            if model.claims.indexes:
                model.claims.note(after, before, checked=False)
        return [(model, (after[model.table.log_at], after[0])) for model, _, after in moved]

    def preview(self, changed: Iterable[tuple[Model, Row, Row | None]]) -> list[tuple[Model, Row]]:
        """Bring rows in line with those of a transaction, which stand in the file provisionally; return what changed.

        Args:
            changed: model, row, and the row that was there before, of each that the transaction wrote.
        """
        kept = self._turned, self._children  # not which models may lack records: the next preview asks
        self._turned, self._children = set(), set()
        try:
            for model, row, before in changed:
                if model.rows.linked:
                    self.note(model, row, before)
            return [(model, after) for model, _, after in self._settle()]
        finally:
            self._turned, self._children = kept

    def _settle(self) -> list[_Moved]:
        moved: list[_Moved] = []
        with collector_paused():
            for _ in self.settling(moved):
                pass
        return moved

    def settling(self, moved: list[_Moved]) -> Iterator[None]:
        """Bring all rows in line, a step for some that are looked at, and add those that change to `moved`."""
        models = self._store.models
        for name, places in _batches(self._outdated):
            touching = Touching(self._store.view, models[name], self._links, masked_before=True)
            self._add(models[name], touching.apply(places, bare=True), moved)
            yield
        back: list[Place] = []
        for name, places in _batches(self._turned):
            table = models[name].table
            rows = self._store.view.read_each(table.by_id, [(id, log) for log, id in places])
            assert len(rows) == len(places), "all are in the file"
            back += [(name, row[table.log_at], row[0]) for row in rows if not is_gone(models[name], row)]
            yield
        freed = self._behind(back)
        for name, places in _batches(freed):
            self._add(models[name], self._at(name).apply(places, bare=True), moved)
            yield
        turned, children = self._turned, self._children | freed | self._outdated
        while turned or children:
            for name, places in _batches(turned):
                for link in self._from(name):
                    child = link.child.table.schema.name
                    children.update([(child, log, id) for log, id in link.touched(self._store.view, places)])
                yield
            turned = set()
            for name, places in _batches(children):
                turned |= self._add(models[name], self._at(name).apply(places, bare=False), moved)
                yield
            children = set()

    def _add(self, model: Model, changed: list[tuple[Row, Row]], moved: list[_Moved]) -> set[Place]:
        """Add rows to those that moved; return which turned themselves, as targets of others."""
        name, log_at = model.table.schema.name, model.table.log_at
        turned: set[Place] = set()
        moved += [(model, before, after) for before, after in changed]
        if not any(link.target is model for link in self._links):
            return turned
        for before, after in changed:
            gone = is_gone(model, after)
            if gone:
                self._may_be_gone.add(name)
            if gone != is_gone(model, before):
                turned.add((name, after[log_at], after[0]))
        return turned

    def _at(self, name: str) -> Touching:
        if name not in self._touching:
            self._touching[name] = Touching(self._store.view, self._store.models[name], self._links)
        return self._touching[name]

    def _from(self, target: str) -> list[Link]:
        """Return the links by which a record of this model has effects on others."""
        return [
            link for link in self._links if link.target.table.schema.name == target and link.on_delete != "restrict"
        ]

    def _behind(self, back: Collection[Place]) -> set[Place]:
        """Return all that may be hidden because of targets that came back.

        Their effects are taken off before any is put on again: records that refer to each other in a ring would
        else hide each other for ever, and on some nodes only.
        """
        found: set[Place] = set()
        followed: set[Place] = set()  # of these, whose own children too: one may be met first by a key that reads null
        while back:
            behind: set[Place] = set()
            for name, places in _batches(back):
                for link in self._from(name):
                    child = link.child.table.schema.name
                    met = [(child, log, id) for log, id in link.touched(self._store.view, places)]
                    found.update(met)
                    if link.on_delete == "cascade":
                        behind.update(met)
            back = behind - followed
            followed |= back
        return found

    def exchange(
        self, noted: tuple[set[Place], set[Place], set[str]] | None
    ) -> tuple[set[Place], set[Place], set[str]]:
        """Note into other sets from now on, new ones at first, and return those noted into so far."""
        so_far = self._turned, self._children, self._may_be_gone
        self._turned, self._children, self._may_be_gone = noted or (set(), set(), set(self._may_be_gone))
        return so_far

    def learn(self, noted: tuple[set[Place], set[Place], set[str]]) -> None:
        """Know of which models records are gone, as was noted into other sets, and settled."""
        self._may_be_gone |= noted[2]

    def forget(self) -> None:
        """Forget what is settled: the transaction is committed."""
        self._turned, self._children, self._outdated = set(), set(), set()


def _batches(places: Collection[Place]) -> Iterator[tuple[str, list[At]]]:
    """Yield places in their order, some of one model each."""
    for name, its in groupby(sorted(places), key=itemgetter(0)):
        while some := [(log, id) for _, log, id in islice(its, TURN)]:
            yield name, some
