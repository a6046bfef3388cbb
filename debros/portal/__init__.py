"""The same node for callers without trio: one background thread runs it, and every awaitable goes through `run`.

Each calling thread, or asyncio task, has a task of its own in the node's loop, which does what it is sent in order. So a
transaction entered by `using` is the same task's as the writes that follow, and its context variables go back to the
caller: what `acting_as` or `current` chooses holds for constructors too, which run where they are called.

A block entered by `using` stays open in that task as an `async with` statement, with the calls behind it inside; so
whatever a context manager needs (nurseries, cancel scopes) nests as in a program written for trio.
"""

from debros.portal.bridge import Bridge, open_for_asyncio
from debros.portal.threads import Blocking, blocking

__all__ = ["Blocking", "Bridge", "blocking", "open_for_asyncio"]
