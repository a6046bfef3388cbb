"""Content addressing: CIDs, strict DAG-CBOR, the log file, block stores, and files as IPFS has them.

`open_store`, `unixfs` and `car` are for programs that want blocks and files without a database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from debros.blocks import car as car
    from debros.blocks import unixfs as unixfs
    from debros.blocks.store import BlockStore as Store
    from debros.blocks.store import open_store as open_store

    __all__ = ["Store", "car", "open_store", "unixfs"]


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562)."""
    from importlib import import_module

    if name in ("car", "unixfs"):
        return import_module(f"debros.blocks.{name}")
    if name in ("Store", "open_store"):
        found: object = getattr(import_module("debros.blocks.store"), "BlockStore" if name == "Store" else name)
        return found
    raise AttributeError(f"module 'debros.blocks' has no attribute {name!r}")
