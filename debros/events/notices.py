"""What a node notices, as local topics `node.<kind>`: peers, logs, and what the log says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from debros.migrations.steps import Progress
    from debros.node import Debros
    from debros.replica.effects import Place
    from debros.replica.store import Admitted


class Notices:
    """Tells of peers (`debros.sync.notices`), new logs, skipped changes, and migrations: how far one is, and that it took effect."""

    def __init__(self, node: Debros, tell: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._node = node
        self._tell = tell
        self._logs = {n for (n,) in node.store.view.read("SELECT n FROM logs WHERE length(heads) > 0", ())}
        self._skipped: dict[int, int] = {}

    def begin(self) -> None:
        """Begin to listen."""
        self._node.met.notices.on_notice.append(self._tell)
        self._node.store.on_admitted.append(self._admitted)
        self._node.store.on_moved.append(self._moved)
        self._node.migrations.on_progress.append(self._progress)

    def _admitted(self, admitted: Sequence[Admitted]) -> None:
        for replica, entry, _, _ in admitted:
            if replica.n not in self._logs:
                self._logs.add(replica.n)
                self._tell("log_opened", {"log": replica.manifest.address})
            skipped = replica.skipped - self._skipped.get(replica.n, 0)
            if skipped > 0:
                self._skipped[replica.n] = replica.skipped
                self._tell("skipped", {"log": replica.manifest.address, "changes": skipped, "entry": entry.digest})

    def _moved(self, places: Sequence[Place], models: Sequence[str]) -> None:
        if models:
            self._tell("migration", {"models": list(models)})

    def _progress(self, progress: Progress) -> None:
        self._tell("migration_progress", asdict(progress) | {"errors": list(progress.errors)})
