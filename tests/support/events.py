"""Taking all events there are, without waiting for more."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from debros.node import Debros


async def told(subscription: Any) -> list[Any]:
    """Return what an iterator gives until it would wait; what it raises is raised."""
    found: list[Any] = []
    failures: list[BaseException] = []

    async def take() -> None:
        try:
            async for one in subscription:
                found.append(one)
        except Exception as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    for failure in failures:
        raise failure
    return found


async def all_events(node: Debros, model: Any, *, since: str = "start", **how: Any) -> list[Any]:
    """Return a model's events."""
    async with node.events.subscribe(model, since=since, **how) as events:
        return await told(events)
