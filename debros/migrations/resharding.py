"""A changed sharding declaration: which layout was the first, and opening the next one.

A store knows the layouts of a model by the first one, which every program must name alike, and by those that the log
announces. A class declares the layout of today; the first is told backward from its migrations, as stored names are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from debros.errors import MigrationError
from debros.migrations.builder import Migration
from debros.migrations.graph import stored_names
from debros.migrations.operations import Reshard
from debros.models.sharding import Sharding, Strategy, layout_of, with_layout

if TYPE_CHECKING:
    from debros.node import Debros


def first_sharding(
    model: str, declared: Sharding | Strategy | None, migrations: Sequence[Migration]
) -> Sharding | Strategy | None:
    """Return the strategy of a model, by its stored name, with the layout that it had first.

    Raises:
        MigrationError: the migrations and the declaration do not fit each other.
    """
    stored = stored_names(migrations)
    steps = [
        (each.name, operation)
        for each in migrations
        for operation in each.operations
        if isinstance(operation, Reshard) and stored.get(operation.model, operation.model) == model
    ]
    if not steps:
        return declared
    if declared is None:
        raise MigrationError(f"{steps[0][0]} reshards {model}, which is declared without sharding=; declare it")
    _check_chain(model, declared, steps)
    return with_layout(declared, steps[0][1].was)


def _check_chain(model: str, declared: Sharding | Strategy, steps: Sequence[tuple[str, Reshard]]) -> None:
    """Refuse steps of which one does not begin where the one before ended, or that end elsewhere than the declaration."""
    present = layout_of(declared)
    before: int | tuple[Any, ...] | None = None
    for name, step in steps:
        if type(step.to) is not type(present):
            wanted = "bounds" if isinstance(present, tuple) else "a number of shards"
            raise MigrationError(f"{name}: {step.text}, but the layout of {model} is {wanted}")
        if before is not None and step.was != before:
            raise MigrationError(f"{name}: {step.text}, but the layout before it is {before!r}; correct `was=`")
        before = step.to
    if present != before:
        raise MigrationError(
            f"{model} declares the layout {present!r}, and its migrations lead to {before!r}; next: debros makemigrations"
        )


async def open_layout(node: Debros, cls: Any, step: Reshard) -> None:
    """Let new records follow the layout; repeating it is harmless."""
    await node.shards[cls].resize(step.to)


async def close_layout(node: Debros, cls: Any, step: Reshard) -> None:
    """Let new records follow the former layout again, unless somebody has opened another one since."""
    shards = node.shards[cls]
    if shards.newest == shards.layout(step.to):
        await shards.resize(step.was)
