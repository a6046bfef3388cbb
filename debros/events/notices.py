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
        found = node.store.view.read("SELECT n FROM logs WHERE length(heads) > 0", ())
        # those there were, and how many skipped changes were told of
        self._logs: dict[int, int] = {n: 0 for (n,) in found}

    def begin(self) -> None:
        """Begin to listen."""
        self._node.met.notices.on_notice.append(self._tell)
        self._node.store.on_admitted.append(self._admitted)
        self._node.store.on_moved.append(self._moved)
        self._node.migrations.on_progress.append(self._progress)

    def _admitted(self, admitted: Sequence[Admitted]) -> None:
        last = None
        for replica, entry, _, _ in admitted:
            if replica is last:  # what was skipped of it is told already
                continue
            last = replica
            told = self._logs.get(replica.n)
            if told == replica.skipped:  # nearly always
                continue
            self._logs[replica.n] = replica.skipped
            if told is None:
                self._tell("log_opened", {"log": replica.manifest.address})
            if (skipped := replica.skipped - (told or 0)) > 0:
                self._tell("skipped", {"log": replica.manifest.address, "changes": skipped, "entry": entry.digest})

    def _moved(self, places: Sequence[Place], models: Sequence[str]) -> None:
        if models:
            self._tell("migration", {"models": list(models)})

    def _progress(self, progress: Progress) -> None:
        self._tell("migration_progress", asdict(progress) | {"errors": list(progress.errors)})
