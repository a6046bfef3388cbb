"""`on_delete` as an effect of reading: nothing is written, and a restore undoes it.

While a target is deleted (missing is not deleted), its `cascade` children are hidden, theirs too, and `set_null` keys
read null. The effect stands in the rows, set when a target turns or a child comes, so queries pay nothing; the
table `effects` remembers which child is touched by which target. `restrict` is asked before a delete is written.

Everything is settled in the flush: a pure function of the rows that are in the file then, whatever their order. A
deleted record has no effects on itself: it shows, where somebody asks for it, as it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from debros.replica.tables import DELETED, HIDDEN_BUT_LIVE, TARGET_GONE, Row, quoted
from debros.schema import OnDelete

if TYPE_CHECKING:
    from debros.replica.store import Model, Store

Place: TypeAlias = "tuple[str, int, str]"  # model, log, id
_Moved: TypeAlias = "tuple[Model, Row, Row]"  # a row before and after an effect on it


@dataclass(frozen=True, slots=True)
class _Link:
    """A relation with an effect: rows of `child` point at `target` with the field `wire`, in column `at`."""

    number: str  # "Post.author", in the table
    child: Model
    target: Model
    on_delete: OnDelete
    wire: str
    at: int
    same_log: bool  # both are a user's own records


class Effects:
    """The effects between the opened models of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._links: list[_Link] = []
        self._turned: set[Place] = set()  # targets that went or came back
        self._children: set[Place] = set()  # rows to look at: new, changed, or of a turned target
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
                self._links.append(_Link(number, child, target, spec.on_delete, key.wire, at, same_log))
                child.rows.linked = target.rows.linked = True
                gone = f'SELECT 1 FROM {quoted(target.table.name)} WHERE "_hidden" != 0 LIMIT 1'
                if self._store.view.read(gone, ()):
                    self._may_be_gone.add(spec.target)

        self._declare()

    def _declare(self) -> None:
        """Look at all rows again that other relations, in an earlier session, had effects on, or should have had."""
        links = sorted([link.number, link.target.table.schema.name, link.on_delete, link.wire] for link in self._links)
        self.declared = json.dumps(links)
        view, models = self._store.view, self._store.models
        if view.meta("links") in (None, self.declared):
            return
        for name, log, id in view.read("SELECT DISTINCT model, log, id FROM effects", ()):
            if name in models:
                self._children.add((name, log, id))
        for name in sorted(self._may_be_gone):
            model = models[name]
            hidden = view.read(f'{model.table.select} WHERE "_hidden" != 0', ())
            self._turned.update((name, row[model.table.log_at], row[0]) for row in hidden if _is_gone(model, row))

    def note(self, model: Model, row: Row, before: Row | None) -> None:
        """Take notice of a new state of a row."""
        name = model.table.schema.name
        is_gone = _is_gone(model, row)
        # a new row of an id that another shard has had: as long as one of them is there, what refers to the id has its target
        is_twin = before is None and model.twins is not None and name in self._may_be_gone
        if is_twin or is_gone != (before is not None and _is_gone(model, before)):
            self._turned.add((name, row[model.table.log_at], row[0]))
        if is_gone:
            self._may_be_gone.add(name)
        if self.may_touch(model):
            self._children.add((name, row[model.table.log_at], row[0]))

    def may_touch(self, model: Model) -> bool:
        """Whether rows of a model may show an effect: hidden, or with a key that reads null."""
        return any(link.child is model and link.target.table.schema.name in self._may_be_gone for link in self._links)

    @property
    def unsettled(self) -> bool:
        """Whether rows in memory may lack an effect until the next flush."""
        return bool(self._turned or self._children)

    def restricted_by(self, model: Model, log: int, id: str) -> str | None:
        """Return a relation by which visible records hold on to this one. What is pending must be in the file."""
        for link in self._links:
            if link.target is model and link.on_delete == "restrict" and self._pointing(link, log, id):
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
        for _ in self.settling(moved):
            pass
        return moved

    def settling(self, moved: list[_Moved]) -> Iterator[None]:
        """Bring all rows in line, a step for each that is looked at, and add those that change to `moved`."""
        back: list[Place] = []
        for place in self._turned:
            if not self._is_gone_now(place):
                back.append(place)
            yield
        freed = self._behind(back)
        for place in sorted(freed):
            self._apply(place, moved, self._without_links)
            yield
        turned, children = self._turned, self._children | freed
        while turned or children:
            for place in sorted(turned):
                children.update(child for child, _ in self._touched_by(place))
                yield
            turned = set()
            for place in sorted(children):
                if self._apply(place, moved, self._gone_links):
                    turned.add(place)
                yield
            children = set()

    def _behind(self, back: list[Place]) -> set[Place]:
        """Return all that may be hidden because of targets that came back.

        Their effects are taken off before any is put on again: records that refer to each other in a ring would
        else hide each other for ever, and on some nodes only.
        """
        found: set[Place] = set()
        followed: set[Place] = set()  # of these, whose own children too: one may be met first by a key that reads null
        while back:
            for child, cascades in self._touched_by(back.pop()):
                found.add(child)
                if cascades and child not in followed:
                    followed.add(child)
                    back.append(child)
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
        self._turned, self._children = set(), set()

    def _touched_by(self, place: Place) -> Iterator[tuple[Place, bool]]:
        """Yield the children of a turned target, those that are not deleted and those that it had an effect on.

        Beside each, whether it goes and comes with the target.
        """
        name, log, id = place
        for link in self._links:
            if link.target.table.schema.name != name or link.on_delete == "restrict":
                continue
            child, cascades = link.child.table.schema.name, link.on_delete == "cascade"
            for child_log, child_id in self._pointing(link, log, id):
                yield (child, child_log, child_id), cascades
            found = "SELECT log, id FROM effects WHERE link = ? AND target = ?"
            for child_log, child_id in self._store.view.read(found, (link.number, id)):
                yield (child, child_log, child_id), cascades

    def _pointing(self, link: _Link, log: int, id: str) -> list[Row]:
        table = link.child.table
        select = f'SELECT "_log", "id" FROM {quoted(table.name)} WHERE {quoted(table.columns[link.at])} = ?'
        bindings: tuple[Any, ...] = (id,)
        if link.same_log:
            select, bindings = select + ' AND "_log" = ?', (id, log)
        shown = self._store.view.read(f'{select} AND "_hidden" = 0', bindings)
        if link.on_delete == "restrict":
            return shown
        return shown + self._store.view.read(f"{select} AND {HIDDEN_BUT_LIVE}", bindings)

    def _is_gone_now(self, place: Place) -> bool:
        name, log, id = place
        model = self._store.models[name]
        [row] = self._store.view.read(model.table.by_id, (id, log))
        return _is_gone(model, row)

    def _gone_links(self, model: Model, log: int, base: Row) -> list[_Link]:
        """Return the links by which a row has effects: their targets are gone."""
        if base[model.table.hidden_at] & DELETED:
            return []
        return [link for link in self._links if link.child is model and self._target_is_gone(link, log, base[link.at])]

    def _without_links(self, model: Model, log: int, base: Row) -> list[_Link]:
        """Return no links: all effects are taken off."""
        return []

    def _apply(
        self,
        place: Place,
        moved: list[_Moved],
        links_of: Callable[[Model, int, Row], list[_Link]],
    ) -> bool:
        """Give a row the effects of some links; return whether it turned itself, as a target of others."""
        name, log, id = place
        model = self._store.models[name]
        view, table = self._store.view, model.table
        [row] = view.read(table.by_id, (id, log))
        base = self._without_effects(model, row)
        links = links_of(model, log, base)
        masked = frozenset(link.wire for link in links if link.on_delete == "set_null")
        after = self._projected(model, row, masked) if masked else base
        if any(link.on_delete == "cascade" for link in links):
            after = _with_hidden(model, after, after[table.hidden_at] | TARGET_GONE)
        view.db.execute("DELETE FROM effects WHERE model = ? AND log = ? AND id = ?", (table.schema.name, log, id))
        for link in links:
            effect = (link.number, base[link.at], name, log, id)
            view.db.execute("INSERT OR IGNORE INTO effects VALUES (?, ?, ?, ?, ?)", effect)
        if after == row:
            return False
        if row[table.state_at] is None and after[table.state_at] is not None:
            touch = f"INSERT OR IGNORE INTO {model.rows.touch} VALUES (?, ?)"
            view.db.execute(touch, (row[table.doc_at], row[table.e_at]))
        view.write_rows(model.rows, [after])
        moved.append((model, row, after))
        if _is_gone(model, after):
            self._may_be_gone.add(name)
        return _is_gone(model, after) != _is_gone(model, row)

    def _without_effects(self, model: Model, row: Row) -> Row:
        table = model.table
        found = "SELECT 1 FROM effects WHERE model = ? AND log = ? AND id = ?"
        if not self._store.view.read(found, (table.schema.name, row[table.log_at], row[0])):
            return row
        if any(link.child is model and link.on_delete == "set_null" for link in self._links):
            row = self._projected(model, row, frozenset())
        return _with_hidden(model, row, row[table.hidden_at] & ~TARGET_GONE)

    def _projected(self, model: Model, row: Row, masked: frozenset[str]) -> Row:
        table = model.table
        document = model.states.load(row)
        place = (row[table.doc_at], row[table.log_at], row[table.by_at])
        return model.projection.project(row[0], document, *place, masked)

    def _target_is_gone(self, link: _Link, log: int, key: Any) -> bool:
        if key is None or link.on_delete == "restrict":
            return False
        table = link.target.table
        where, bindings = (' AND "_log" = ?', (key, log)) if link.same_log else ("", (key,))
        found = self._store.view.read(f'{table.select} WHERE "id" = ?{where}', bindings)
        return bool(found) and all(_is_gone(link.target, row) for row in found)  # several shards may have had this id


def _is_gone(model: Model, row: Row) -> bool:
    """Whether a row's document was created and does not exist any more, by itself or with its target."""
    table = model.table
    return bool(row[table.hidden_at] & (DELETED | TARGET_GONE)) and row[table.ct_at] is not None


def _with_hidden(model: Model, row: Row, hidden: int) -> Row:
    at = model.table.hidden_at
    return row if row[at] == hidden else (*row[:at], hidden, *row[at + 1 :])
