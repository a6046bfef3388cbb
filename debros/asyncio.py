"""debros for asyncio programs: `async with debros.asyncio.open(home, models=[...]) as db: await db.run(Post.all())`."""

from __future__ import annotations

from debros.portal import Bridge, open_for_asyncio

open = open_for_asyncio

__all__ = ["Bridge", "open"]
