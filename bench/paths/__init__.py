"""The paths of the library that have a target: one file each, in the order of the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from bench.measure import Line
from bench.paths import (
    bulk,
    changing,
    content,
    create,
    differences,
    durable,
    events,
    get,
    importing,
    migrating,
    newest,
    queries,
    rebuild,
    receive,
    reopen,
    replicate,
    shards,
    stores,
)
from bench.setting import Setting

Path: TypeAlias = Callable[[Setting], Awaitable[list[Line]]]

PATHS: Final[dict[str, Path]] = {
    "create": create.measure,
    "bulk": bulk.measure,
    "changing": changing.measure,
    "durable": durable.measure,
    "get": get.measure,
    "newest": newest.measure,
    "queries": queries.measure,
    "reopen": reopen.measure,
    "receive": receive.measure,
    "rebuild": rebuild.measure,
    "import": importing.measure,
    "replicate": replicate.measure,
    "differences": differences.measure,
    "shards": shards.measure,
    "stores": stores.measure,
    "content": content.measure,
    "events": events.measure,
    "migrate": migrating.measure,
}
