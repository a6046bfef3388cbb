"""What the node tells of itself: `on_notice` is called with a kind and its data, quickly and never raising."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["peer_joined", "peer_left", "log_opened", "synced", "lag", "fork_detected", "health"]
"""`peer_joined`, `peer_left`, `synced`, `lag` and `log_opened` of a peer and, but for the first two, a log; `lag` says how
many entries are known to be missing; `fork_detected` carries a `debros.sync.forks.Fork`, `health` the new `state` of the node and its `reasons`."""

OnNotice: TypeAlias = Callable[[str, Mapping[str, Any]], None]


class Notices:
    """Who wants to know."""

    def __init__(self) -> None:
        self.on_notice: list[OnNotice] = []

    def tell(self, kind: Kind, **data: Any) -> None:
        """Tell everybody."""
        for tell in self.on_notice:
            tell(kind, data)
