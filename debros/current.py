"""Which node, identity and transaction the running task means: one context variable and the set of open nodes.

Trio copies the context into child tasks, so a block's choice holds for the tasks it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from debros.env import this_thread
from debros.errors import NoNodeError

if TYPE_CHECKING:
    from debros.identity.keys import Identity
    from debros.node import Debros
    from debros.replica.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Context:
    """What a task has chosen; `None` where it has not."""

    node: Debros | None = None
    identity: Identity | None = None  # of `acting_as`; the node's own otherwise
    transaction: Transaction | None = None


ELSEWHERE: Final = (
    "the node lives in a loop of its own: `await db.run(Post.get(id))` in asyncio, `db.run(Post.get(id))` without a loop; "
    "`db.using(...)` for what is entered, `db.iterate(...)` for what is iterated over; in a thread of trio's "
    "`trio.from_thread.run(Post.get, id)`"
)

_context: ContextVar[Context] = ContextVar("debros", default=Context())  # noqa: B039 - frozen
open_nodes: list[Debros] = []


context: Final[Callable[[], Context]] = _context.get
"""Return what the running task has chosen."""


@contextmanager
def choosing(**chosen: object) -> Iterator[None]:
    """Choose a node, identity or transaction for the block, on top of what is chosen already."""
    token = _context.set(replace(_context.get(), **chosen))  # type: ignore[arg-type]  # names of Context's fields
    try:
        yield
    finally:
        _context.reset(token)


@contextmanager
def adopting(chosen: Context) -> Iterator[None]:
    """Mean what another task means, for the block."""
    token = _context.set(chosen)
    try:
        yield
    finally:
        with suppress(ValueError):  # left in another context, as by another cell of a notebook: there it means nothing
            _context.reset(token)


def current_node() -> Debros:
    """Return the innermost `with db.current():`, else the only open node.

    Raises:
        NoNodeError: none is open, or several are and none is current.
    """
    if (node := _context.get().node) is not None:
        return node
    if len(open_nodes) == 1:
        return open_nodes[0]
    if not open_nodes:
        raise NoNodeError("no node is open: `async with debros.open(home, models=[...]) as db:`")
    raise NoNodeError(f"{len(open_nodes)} nodes are open: choose one by `with db.current():`")


def node_here() -> Debros:
    """Return the current node, to read from it or to write.

    Raises:
        NoNodeError: as `current_node`, or the node lives in another thread.
    """
    node = _context.get().node
    if node is None:
        node = open_nodes[0] if len(open_nodes) == 1 else current_node()
    if node.thread != this_thread():
        raise NoNodeError(ELSEWHERE)
    return node


def check_here(thread: int) -> None:
    """Raise `NoNodeError` where the thread that a node lives in is another one than this."""
    if thread != this_thread():
        raise NoNodeError(ELSEWHERE)


def check_meant() -> None:
    """Raise `NoNodeError` where the node that is meant, if one is, lives in another thread than this."""
    node = _context.get().node or (open_nodes[0] if len(open_nodes) == 1 else None)
    if node is not None:
        check_here(node.thread)
