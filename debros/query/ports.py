"""What the query engine asks of the rest of the house: where rows come from, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from debros.replica.effects import Place
from debros.replica.tables import Row, Table
from debros.replica.watching import Watch
from debros.schema import Schema
from debros.shards.spans import Keys, Reach

if TYPE_CHECKING:
    from debros.query.cache import Caches

R = TypeVar("R")

Users: TypeAlias = tuple[str, ...] | Literal["all"] | None
"""Whose records a query reads: these DIDs', everybody's, or (`None`) the acting identity's."""


class Apart(NamedTuple):
    """How a statement is asked of each file that rows of a model lie in, and what becomes of the answers."""

    text: str  # of one SELECT, from the model's table
    bindings: tuple[object, ...]
    table: str  # as it stands behind FROM
    join: Callable[[Sequence[list[Row]]], list[Row]]
    is_scan: bool  # no index helps: each table is read as it lies
    is_summary: bool  # of counts, sums and groups: each file makes them better than SQLite does over all of them

    def of(self, schema: str) -> str:
        """Return the statement for one of the attached files."""
        how = " NOT INDEXED" if self.is_scan else ""
        return self.text.replace(f" FROM {self.table} ", f" FROM {schema}.{self.table} AS {self.table}{how} ", 1)


class Source(Protocol):
    """One model's records on one node, as the acting identity sees them."""

    table: Table
    is_whole: bool  # whether all its rows lie in one log of everybody's, which is here: nothing restricts what is read

    def read(self, sql: str, bindings: Sequence[object]) -> list[tuple[Any, ...]]:
        """Run one SELECT. Flushes pending rows first; inside a transaction it sees the transaction's writes.

        Raises:
            ClosedError: the node is closed.
        """
        ...

    async def fetch(
        self, sql: str, bindings: Sequence[object], apart: Apart | None = None, *, by_id: bool = False
    ) -> list[tuple[Any, ...]]:
        """Run one SELECT like `read`; one that takes long does not hold the loop, and can be cancelled.

        If it takes long and there is a way to take it `apart`, each file is asked by itself, some at once. `by_id`: rows come
        in the order of what stands first in them, the id.
        """
        ...

    @property
    def is_spread(self) -> bool:
        """Whether the model's rows lie in several files."""
        ...

    def revision(self, models: Sequence[str]) -> tuple[int, ...] | None:
        """Return what changes whenever rows of these models may have changed; `None` inside a transaction."""
        ...

    def version(self) -> int | None:
        """Return what changes with whatever is written to any model; `None` inside a transaction."""
        ...

    @property
    def cache(self) -> Caches:
        """Where results are kept."""
        ...

    def random_bytes(self, n: int) -> bytes:
        """Return random bytes."""
        ...

    def logs_up_to(self, number: int) -> bytes:
        """Return what tells which logs have the numbers up to this one; empty if there is none of this number."""
        ...

    def lifted(self, users: Users, fields: Collection[str]) -> Sequence[str]:
        """Return what tells the migrations by which values of these fields, `""` for any, read otherwise than they were written."""
        ...

    def logs(self, users: tuple[str, ...] | Literal["all"] | None) -> tuple[int, ...] | None:
        """Numbers of the logs a query may read; `None`: no restriction (a global unsharded model).

        `users` are DIDs of `where_user`.
        """
        ...

    def acting_did(self) -> str:
        """Return the DID of the acting identity."""
        ...

    def has_index(self, name: str) -> bool:
        """Whether an index that the model declares is there already, not still being built."""
        ...

    def user_number(self, did: str) -> int:
        """Return the user's number in `_by`, -1 for one never seen here."""
        ...

    def user_did(self, number: int) -> str:
        """Return the DID of a number in `_by`."""
        ...

    def read_alone(self, sql: str, bindings: Sequence[object]) -> list[tuple[Any, ...]]:
        """Run a SELECT that looks at no table: whatever waits to be written may go on waiting."""
        ...

    def whole(self, row: Row) -> Row:
        """Return all of a row that was read in brief, as it was then; any other one as it is."""
        ...

    def row_at(self, log: int, id: str) -> Row | None:
        """Return the row of a document in a log as everybody outside transactions sees it, hidden ones too."""
        ...

    def is_inside(self) -> bool:
        """Whether a transaction of this node is running in the task."""
        ...

    def watch(
        self, logs: frozenset[int] | None, equal: tuple[int, frozenset[Any]] | None, depends: frozenset[str]
    ) -> Watch:
        """Begin to collect the places of rows that change; `unwatch` ends it. See `debros.replica.watching`."""
        ...

    def cursor(self) -> str:
        """Return the cursor behind all that there is now, in this node's log."""
        ...

    def past(self, since: str) -> list[tuple[Place, Row | None]]:
        """Return the documents that changed behind a cursor, and their rows as of it, without `on_delete` effects.

        Raises:
            CursorError: it is damaged, of another home, or of entries that the log lost.
        """
        ...

    @property
    def has_effects(self) -> bool:
        """Whether a record's deletion may hide or change records of this model."""
        ...

    def unwatch(self, watch: Watch) -> None:
        """End a watch."""
        ...

    @property
    def is_partial(self) -> bool:
        """Whether some of the model's shards are not held here, so that it matters which ones a query concerns."""
        ...

    def reach(self, keys: Keys) -> Reach:
        """Return what of the model concerns a query for these keys; of one that is not sharded, all."""
        ...

    def heads(self, users: Users, reach: Reach) -> dict[str, tuple[str, ...]]:
        """Return the head CIDs of each log that a query read, by its address."""
        ...


class Subject(Protocol[R]):
    """What a query is about and what it returns."""

    schema: Schema
    is_ready: bool  # whether `ready` has nothing to do

    async def ready(self) -> None:
        """Make sure that `source` gives what is asked for; a terminal's first step."""
        ...

    def source(self) -> Source:
        """Return the source of the current node. Terminals call it, building a query never does.

        Raises:
            NoNodeError: no node is open, or several are and none is current.
        """
        ...

    def hydrate(self, rows: Sequence[Row], source: Source) -> list[R]:
        """Make one new record of each row."""
        ...

    def related(self, relation: str) -> Subject[Any]:
        """Return the subject of a relation's target.

        Raises:
            ModelError: the target is not known yet.
        """
        ...

    def junction(self, relation: str) -> Subject[Any]:
        """Return the subject of a many_to_many's `through` model."""
        ...

    def keys_of(self, records: Sequence[Any], field: str) -> list[Any]:
        """Return the field's Python value on each record."""
        ...

    def attach(self, records: Sequence[Any], relation: str, values: Sequence[Any]) -> None:
        """Remember on each record what was loaded for it: a record, `None`, or a list."""
        ...

    def attach_counts(self, records: Sequence[Any], relation: str, counts: Sequence[int]) -> None:
        """Remember on each record how many related ones there are."""
        ...

    async def change(self, rows: Sequence[Row], source: Source, values: Mapping[str, Any]) -> None:
        """Assign these values to the records of some rows and save them: all of them, or none."""
        ...

    async def delete(self, rows: Sequence[Row], source: Source) -> None:
        """Delete the records of some rows: all of them, or none."""
        ...
