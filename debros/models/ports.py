"""What models ask of a node: one model's records to read and write, and the node's surroundings."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, TypeVar, TypeVarTuple

from debros.env import Env
from debros.query.ports import Source
from debros.replica.draft import Draft
from debros.replica.tables import Row, Table
from debros.schema import Schema
from debros.shards.collection import Facts as Facts
from debros.shards.history import Step as Step
from debros.sync.receipts import Receipt as Receipt

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Operation = Literal["create", "update", "delete", "restore"]


class Transaction(Protocol):
    """The running transaction, as `debros.current.context()` has it."""

    settled: list[Callable[[], None]]  # called right after the commit: records take their final rows
    after_commit: list[Callable[[], Awaitable[None]]]  # called once it is over, in order: after-hooks
    on_rollback: list[Callable[[], None]]  # called when it (or the savepoint around) is undone, newest first

    def belongs_to(self, store: Any, /) -> bool:
        """Whether it is a transaction of this node's store."""
        ...


class Node(Protocol):
    """A node, as `debros.current_node()` gives it."""

    @property
    def env(self) -> Env:
        """Its clock and randomness."""
        ...

    @property
    def thread(self) -> int:
        """The thread it lives in."""
        ...

    @property
    def as_of(self) -> int | None:
        """The clock whose state it shows; `None`: the present."""
        ...

    @property
    def store(self) -> Any:
        """What tells it from other nodes, and their transactions; no more."""
        ...

    def collection(self, schema: Schema) -> Collection:
        """Return one model's records.

        Raises:
            ModelError: the node was opened without this model.
            ClosedError: the node is closed.
        """
        ...

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """Begin a transaction, or a savepoint inside one."""
        ...


class Collection(Source, Protocol):
    """One model's records on one node."""

    reads: deque[Row]  # rows that were read, of models whose content is kept by a rule

    schema: Schema
    table: Table

    @property
    def node(self) -> Node:
        """The node they are on."""
        ...

    def call(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call a function in the thread that the node lives in, from whichever this is."""
        ...

    def row(self, id: str) -> Row | None:
        """Return the present row in any state, hidden ones too; from memory or one lookup, never waiting."""
        ...

    def rows(self, ids: Sequence[str]) -> list[Row | None]:
        """Return the present rows in the order asked."""
        ...

    async def commit(self, drafts: Sequence[Draft], *, parts: bool = False, told: bool = True) -> list[Row]:
        """Write drafts and return the merged rows, durable unless inside a transaction.

        Args:
            drafts: one for each document.
            parts: whether several entries may be written, as the size limits need.
            told: whether the rows are asked for; else none need be returned.

        Raises:
            UniqueError, NotFoundError, ConflictError, RestrictedError, PermissionDeniedError, TooLargeError: and
                nothing is written.
        """
        ...

    def damage(self, error: Exception) -> Exception:
        """Return the error for a value in the view that cannot be."""
        ...

    async def history(self, row: Row) -> list[Step]:
        """Return every entry's effect, oldest first."""
        ...

    async def blame(self, row: Row) -> dict[str, Step]:
        """Return, by attribute, the step whose value shows."""
        ...

    async def conflicts(self, row: Row) -> dict[str, list[Step]]:
        """Return, by attribute, the steps whose concurrent values lost."""
        ...

    async def settled(self, row: Row, replicas: int, timeout_s: float | None) -> list[Receipt]:
        """Return receipts for the record's newest entry from so many peers.

        Raises:
            DeadlineError: not within `timeout_s`.
        """
        ...

    def now_us(self) -> int:
        """Return the node's wall clock in microseconds since 1970."""
        ...

    def random_bytes(self, n: int) -> bytes:
        """Return bytes fit for ids."""
        ...

    def owner_suffix(self) -> str:
        """Return what a new id must end in for the acting identity: nothing, `~<tag>` or `~admin`."""
        ...

    def meta(self, row: Row) -> Facts:
        """Return what the log knows about a row, a whole one."""
        ...

    def owner(self, row: Row) -> str | None:
        """Return the DID of who alone may write a row."""
        ...
