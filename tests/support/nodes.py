"""Nodes for tests that need one: in memory, with these models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from debros.node import Debros
from debros.opening import open as open_node


@asynccontextmanager
async def a_node(*models: Any, **options: Any) -> AsyncIterator[Debros]:
    """Open a node in memory; it is the current one."""
    async with open_node(":memory:", models=models, **options) as node:
        yield node
