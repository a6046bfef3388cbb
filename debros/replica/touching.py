"""Rows that `on_delete` effects touch: many are looked at together, so that each statement is run for all of them at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from debros.replica.tables import DELETED, HIDDEN_BUT_LIVE, TARGET_GONE, Row, quoted
from debros.schema import OnDelete

if TYPE_CHECKING:
    from debros.replica.store import Model
    from debros.replica.view import View

At: TypeAlias = "tuple[int, str]"  # log, id
_Key: TypeAlias = "tuple[str, str, int | None]"  # model, id, log (`None`: any)


@dataclass(frozen=True, slots=True)
class Link:
    """A relation with an effect: rows of `child` point at `target` with the field `wire`, in column `at`."""

    number: str  # "Post.author", in the table
    child: Model
    target: Model
    on_delete: OnDelete
    wire: str
    at: int
    same_log: bool  # both are a user's own records

    def pointing(self, view: View, places: Iterable[At]) -> list[At]:
        """Return the children that point at any of these targets: visible ones, and hidden ones unless they only `restrict`."""
        table = self.child.table
        key = quoted(table.columns[self.at])
        found: list[At] = []
        for log, ids in self._by_log(places):
            where, bindings = f"{key} IN ({','.join('?' * len(ids))})", ids if log is None else [*ids, log]
            where += "" if log is None else ' AND "_log" = ?'
            for those in ('"_hidden" = 0',) if self.on_delete == "restrict" else ('"_hidden" = 0', HIDDEN_BUT_LIVE):
                found += view.read(f'SELECT "_log", "id" FROM {quoted(table.name)} WHERE {where} AND {those}', bindings)
        return found

    def _by_log(self, places: Iterable[At]) -> Iterator[tuple[int | None, list[Any]]]:
        """Yield the ids of some targets, of each log apart if it matters, some of them twice: so there are few statements."""
        by_log: dict[int | None, list[str]] = {}
        for log, id in places:
            by_log.setdefault(log if self.same_log else None, []).append(id)
        for at, ids in by_log.items():
            yield at, ids + ids[:1] * ((1 << (len(ids) - 1).bit_length()) - len(ids))

    def touched(self, view: View, places: Sequence[At]) -> list[At]:
        """Return the children of targets that turned: those that are not deleted, and those that they had an effect on."""
        had = view.read_each(
            "SELECT log, id FROM effects WHERE link = ? AND target = ?", [(self.number, id) for _, id in places]
        )
        return self.pointing(view, places) + had


class Touching:
    """Gives rows of one model the effects that they are to have."""

    def __init__(self, view: View, model: Model, links: Iterable[Link], *, masked_before: bool = False) -> None:
        """`links`: of all models; `masked_before`: keys may read null by links of an earlier session."""
        self._view, self._model = view, model
        self._links = [link for link in links if link.child is model and link.on_delete != "restrict"]
        self._masks = masked_before or any(link.on_delete == "set_null" for link in self._links)
        self._is_target = any(link.target is model for link in self._links)  # of its own rows
        table = model.table
        # the table of what a collection holds is kept by a trigger on whole rows
        is_whole = any(index.fill for index in table.indexes())
        self._hiding = None if is_whole else model.rows.update_of.of((table.hidden_at,))
        self._targets_gone: dict[_Key, dict[int, bool]] = {}  # by log, of the targets of the rows at hand

    def apply(self, places: Sequence[At], *, bare: bool) -> list[tuple[Row, Row]]:
        """Give rows their effects, or none if `bare`; return those that changed, before and after.

        One after the other: each finds its target as the ones before it left it.
        """
        table, view = self._model.table, self._view
        name, log_at = table.schema.name, table.log_at
        rows = view.read_each(table.by_id, [(id, log) for log, id in places])
        assert len(rows) == len(places), "all are in the file"
        had: dict[At, set[tuple[str, str]]] = {}
        found = "SELECT link, target, log, id FROM effects WHERE model = ? AND log = ? AND id = ?"
        for number, target, log, id in view.read_each(found, [(name, log, id) for log, id in places]):
            had.setdefault((log, id), set()).add((number, target))
        bases = [self._without(row) if (row[log_at], row[0]) in had else row for row in rows]
        self._targets_gone = {} if bare else self._look_at_targets(bases)
        ended: list[tuple[str, int, str]] = []
        begun: list[tuple[str, str, str, int, str]] = []
        moved: list[tuple[Row, Row]] = []
        for row, base in zip(rows, bases, strict=True):
            log, id = place = (row[log_at], row[0])
            links = [] if bare else self._gone_links(base)
            after = self._with(row, base, links)
            effects = {(link.number, base[link.at]) for link in links}
            if effects != had.get(place, _NONE):
                if place in had:
                    ended.append((name, log, id))
                begun += [(number, target, name, log, id) for number, target in effects]
            if after != row:
                moved.append((row, after))
                if self._is_target:
                    self._note(after)
        view.db.executemany("DELETE FROM effects WHERE model = ? AND log = ? AND id = ?", ended)
        view.db.executemany("INSERT OR IGNORE INTO effects VALUES (?, ?, ?, ?, ?)", begun)
        self._write(moved)
        return moved

    def _write(self, moved: list[tuple[Row, Row]]) -> None:
        table, rows = self._model.table, self._model.rows
        if self._hiding is not None and not rows.arms and not self._masks:  # nothing but `_hidden` changes
            self._view.db.executemany(self._hiding.statement, map(self._hiding.values, [after for _, after in moved]))
            return
        state_at, doc_at = table.state_at, table.doc_at
        touched = [
            (row[doc_at], row[table.e_at])
            for row, after in moved
            if row[state_at] is None and after[state_at] is not None
        ]
        self._view.db.executemany(f"INSERT OR IGNORE INTO {rows.touch} VALUES (?, ?)", touched)
        self._view.write_rows(rows, [after for _, after in moved])

    def _without(self, row: Row) -> Row:
        if self._masks:
            row = self._projected(row, frozenset())
        hidden_at = self._model.table.hidden_at
        return with_hidden(hidden_at, row, row[hidden_at] & ~TARGET_GONE)

    def _with(self, row: Row, base: Row, links: Collection[Link]) -> Row:
        masked = frozenset(link.wire for link in links if link.on_delete == "set_null")
        after = self._projected(row, masked) if masked else base
        if any(link.on_delete == "cascade" for link in links):
            hidden_at = self._model.table.hidden_at
            after = with_hidden(hidden_at, after, after[hidden_at] | TARGET_GONE)
        return after

    def _projected(self, row: Row, masked: frozenset[str]) -> Row:
        model, table = self._model, self._model.table
        document = model.states.load(row)
        place = (row[table.doc_at], row[table.log_at], row[table.by_at])
        return model.projection.project(row[0], document, *place, masked)

    # -- targets -----------------------------------------------------------------------------------------------

    def _look_at_targets(self, bases: Iterable[Row]) -> dict[_Key, dict[int, bool]]:
        table = self._model.table
        gone: dict[_Key, dict[int, bool]] = {}
        for link in self._links:
            target = link.target.table
            name = target.schema.name
            keys = {_key(link, base[table.log_at], base[link.at]) for base in bases if base[link.at] is not None}
            new = sorted(keys - gone.keys())
            gone.update((key, {}) for key in new)
            select = f'SELECT "id", "_log", "_hidden", "_ct" FROM {quoted(target.name)} WHERE "id" = ?'
            if link.same_log:
                select += ' AND "_log" = ?'
            bindings = [(id, log) if link.same_log else (id,) for _, id, log in new]
            for id, log, hidden, created in self._view.read_each(select, bindings):
                gone[name, id, log if link.same_log else None][log] = _says_gone(hidden, created)
        return gone

    def _gone_links(self, base: Row) -> list[Link]:
        """Return the links by which a row has effects: their targets are gone."""
        table = self._model.table
        if base[table.hidden_at] & DELETED:
            return []
        log = base[table.log_at]
        return [
            link for link in self._links if base[link.at] is not None and self._target_is_gone(link, log, base[link.at])
        ]

    def _target_is_gone(self, link: Link, log: int, key: str) -> bool:
        found = self._targets_gone[_key(link, log, key)]
        return bool(found) and all(found.values())  # several shards may have had this id

    def _note(self, row: Row) -> None:
        """Have the rows that come after this one find it as it is now, if it is their target."""
        table = self._model.table
        name, id, log = table.schema.name, row[0], row[table.log_at]
        for key in ((name, id, None), (name, id, log)):
            if key in self._targets_gone:
                self._targets_gone[key][log] = is_gone(self._model, row)


def _key(link: Link, log: int, id: str) -> _Key:
    return link.target.table.schema.name, id, log if link.same_log else None


def is_gone(model: Model, row: Row) -> bool:
    """Whether a row's document was created and does not exist any more, by itself or with its target."""
    table = model.table
    return _says_gone(row[table.hidden_at], row[table.ct_at])


def _says_gone(hidden: int, created: int | None) -> bool:
    return bool(hidden & (DELETED | TARGET_GONE)) and created is not None


def with_hidden(at: int, row: Row, hidden: int) -> Row:
    """Return a row with another value in its column `at`, which says why it does not show."""
    return row if row[at] == hidden else (*row[:at], hidden, *row[at + 1 :])


_NONE: frozenset[tuple[str, str]] = frozenset()
