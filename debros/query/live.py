"""Live queries: the rows now, then every change, without a gap or a duplicate between the two.

A live query watches its model (`Watch`) and wakes when a row that may concern it changed. Then it looks at just
those rows as they are now, so changes of one row that waited are one change, and a reader that is slow costs no more
than one that is not. What a cascade hides, a cut takes away or a restore brings back is a change like any other.

Rows of other models matter where the condition asks for related records, or some are included: a change there makes
the query run again, and what differs is told. So such a query costs what it holds with each change of those models.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

import trio

from debros.current import check_here, choosing, context, current_node
from debros.errors import ClosedError, QueryError, TransactionError
from debros.query.catalog import columns
from debros.query.expressions import Statement
from debros.query.judging import Judge, speaks_of_one_row
from debros.query.ports import Source
from debros.query.relations import Relation
from debros.query.window import Held, Ordered, Step, Window, difference

if TYPE_CHECKING:
    from debros.query.query import Query
    from debros.replica.effects import Place
    from debros.replica.watching import Watch

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change(Generic[R]):
    """What became of one row of a live query."""

    kind: Literal["added", "changed", "removed"]
    row: R  # of `removed`: as it was last seen
    index: int | None  # its new position, where the query has an order or a limit; of `removed`: `None`
    cursor: str  # `changes(since=)` this goes on behind the change; it may tell of one that came with it once more


class Live(Generic[R]):
    """An async iterator over changes; `rows` is the result as of the last one taken. `query.live()` makes it."""

    def __init__(self, query: Query[R], source: Source) -> None:
        self._query = query._but("caching", None)
        self._source = source
        self._judge = Judge(self._query, source)
        self._window = Window(query.at_most, query.skipped)
        self._shown = Ordered()  # what the changes taken so far make of the result
        self._steps: deque[Step] = deque()  # changes that are not taken yet
        self._has_positions = bool(query.orders) or query.at_most is not None or query.skipped > 0
        self._has_related = bool(query.loads or query.counts)
        node = current_node()
        self._thread = node.thread
        self._chosen = {"node": node, "identity": context().identity, "transaction": None}
        self._closed = False
        self._since = self._until = source.cursor()  # of the changes taken so far, and of those that wait
        self._others = self._judge.depends() | _models_of(query.loads) | _models_of(query.counts)
        logs = None if self._judge.logs is None else frozenset(self._judge.logs)
        self._watch: Watch = source.watch(logs, self._judge.equal(), self._others)

    @property
    def rows(self) -> list[R]:
        """The rows as of the last change taken; at first, those there were on entry."""
        held = list(self._shown)
        if self._has_related:
            return [one.record for one in held]
        return self._query.subject.hydrate([one.row for one in held], self._source)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change[R]:
        """Return the next change, when there is one.

        Raises:
            ClosedError: the node, or this view, is closed.
            NoNodeError: the node lives in another thread.
        """
        check_here(self._thread)
        await trio.lowlevel.checkpoint()
        while not self._steps:
            if self._closed:
                raise ClosedError("this live query is over: its `async with` block has been left")
            if not await self._catch_up():
                await self._watch.wait()
        return self._take()

    async def begin(self, since: str | None = None) -> None:
        """Read the rows of now; what differs from those there were at a cursor are the first changes."""
        await self._catch_up()
        self._steps.clear()
        self._shown = Ordered(self._window.visible())
        if since is None:
            return
        with choosing(**self._chosen):
            for place, row in self._source.past(since):
                before, now = await self._judge.held(place, row), self._shown.drop(place)
                if before is not None:
                    self._shown.put(before)
                if before is None and now is None:
                    continue
                if before is None or now is None or not before.looks_like(now):
                    self._steps.append((place, now))
        self._since = since

    def close(self) -> None:
        """Watch no longer; leaving the `async with` does it."""
        self._closed = True
        self._source.unwatch(self._watch)
        self._watch.wake()

    def _take(self) -> Change[R]:
        place, held = self._steps.popleft()
        if held is None:
            gone = self._shown.drop(place)
            assert gone is not None, "what goes was there"
            return Change("removed", self._record(gone), None, self._place())
        kind: Literal["added", "changed"] = "changed" if place in self._shown.by_place else "added"
        index = self._shown.put(held)
        return Change(kind, self._record(held), index if self._has_positions else None, self._place())

    def _place(self) -> str:
        """Return the cursor of a change: that of its batch once all of it is taken."""
        if not self._steps:
            self._since = self._until
        return self._since

    def _record(self, held: Held) -> R:
        if self._has_related:
            record: R = held.record
            return record
        made: R = self._query.subject.hydrate([held.row], self._source)[0]
        return made

    async def _catch_up(self) -> bool:
        """Look at what changed, and note what it means for the result; whether anything had changed.

        All steps taken so far are shown. Whatever keeps it from its end, the next time begins with the whole query.
        """
        changed = self._watch.take()
        if changed is not None and not changed:
            return False
        self._until = self._source.cursor()
        try:
            # whose records are meant does not change with who takes the changes
            with choosing(**self._chosen), self._watch.wide():
                if changed is None or any(place[0] in self._others for place in changed):
                    await self._run_again()
                else:
                    await self._look_at(changed)
        except BaseException:
            self._watch.spoil()
            raise
        return True

    async def _look_at(self, places: Iterable[Place]) -> None:
        steps: list[Step] = []
        for place in places:
            held = await self._judge.held(place, self._source.row_at(place[1], place[2]))
            if held is not None or place in self._window:
                steps.append((place, held))
        if self._has_related:
            made = {held.place: held for held in await self._related([held for _, held in steps if held is not None])}
            steps = [(place, held and made[place]) for place, held in steps]
        if self._window.is_whole:
            done = await self._window.apply(steps, self._judge.behind)
            self._watch.hold([place for place, held in done if held is not None])
            self._watch.release([place for place, held in done if held is None])
        else:
            before = set(self._window.places)
            done = await self._window.apply(steps, self._judge.behind)
            self._hold_since(before)
            lacking = [held for _, held in done if held is not None and held.record is None]
            if self._has_related and lacking:
                made = {held.place: held for held in await self._related(lacking)}
                for held in made.values():
                    self._window.replace(held)
                done = [(place, made.get(place, held)) for place, held in done]
        self._steps += done

    async def _run_again(self) -> None:
        rows = await self._judge.snapshot(self._window.capacity)
        if self._has_related:
            rows = await self._related(rows)
        before = set(self._window.places)
        self._window.fill(rows)
        self._hold_since(before)
        self._steps += difference(self._shown.by_place, {held.place: held for held in self._window.visible()})

    def _hold_since(self, before: set[Place]) -> None:
        after = set(self._window.places)
        self._watch.hold(after - before)
        self._watch.release(before - after)

    async def _related(self, rows: list[Held]) -> list[Held]:
        """Return rows with the records they make, their relations loaded and counted."""
        query = self._query
        records = await query._made([held.row for held in rows], self._source)
        counted = [relation.spec.name for relation in query.counts]
        return [
            held._replace(record=record, related=(_seen(record, query.loads), _counts(record, counted)))
            for held, record in zip(rows, records, strict=True)
        ]


def _models_of(relations: Iterable[Relation[Any]]) -> frozenset[str]:
    """Return the models whose rows decide what relations load."""
    found: set[str] = set()
    for relation in relations:
        spec = relation.spec
        found.add(relation.target.schema.name)
        if spec.kind == "many_to_many" and not spec.ids:
            found.add(relation.subject.junction(spec.name).schema.name)
        elif spec.through:
            found |= _models_of((Relation(relation.subject, spec.through),))
        if relation.condition is not None:
            out = Statement(None, None)
            relation.condition.write(out)
            found |= set(out.models)
        found |= _models_of(relation.loads) | _models_of(relation.counts)
    return frozenset(found)


def _seen(record: Any, relations: Iterable[Relation[Any]]) -> tuple[Any, ...]:
    """Return the rows of what relations loaded with a record, all the way down: equal where they show the same."""
    seen: list[Any] = []
    for relation in relations:
        value = record.__dict__["_loaded"][relation.spec.name]
        several = value if isinstance(value, list) else [] if value is None else [value]
        counted = [one.spec.name for one in relation.counts]
        brief = columns(relation.target.schema).table.brief
        seen.append(
            tuple((brief(one.__dict__["_row"]), _seen(one, relation.loads), _counts(one, counted)) for one in several)
        )
    return tuple(seen)


def _counts(record: Any, names: Iterable[str]) -> tuple[int, ...]:
    return tuple(record.__dict__["_counts"][name] for name in names)


@asynccontextmanager
async def live(query: Query[R], since: str | None = None) -> AsyncIterator[Live[R]]:
    """Open a live query, or go on behind a change of another session.

    Raises:
        QueryError: the query selects columns, or orders by chance; or it cannot go on from a cursor.
        CursorError: the cursor is damaged, of another home, or of entries that the log lost.
        TransactionError: a transaction is running, whose rows nobody else may ever see.
    """
    if query.picked is not None:
        raise QueryError("a live query gives records; select() gives tuples, which do not say whose they are")
    query.must_have_pages()
    source = query.subject.source()
    if source.is_inside():
        raise TransactionError("open a live query before or after the transaction: others never see what is inside")
    if since is not None:
        _check_resumes(query, source)
    await trio.lowlevel.checkpoint()
    view = Live(query, source)
    try:
        await view.begin(since)
        yield view
    finally:
        view.close()


def _check_resumes(query: Query[Any], source: Source) -> None:
    """Refuse what the log alone does not tell: how other records, or a limit, made the result at a cursor."""
    limited = query.at_most is not None or query.skipped
    if limited or query.loads or query.counts or not speaks_of_one_row(query.condition) or source.has_effects:
        raise QueryError(
            "changes(since=) needs a query about the records alone: no limit, no related records, no model that a cascade "
            "may hide; open live() and compare with what you have"
        )
