"""Writing down in the log what became of a migration."""

from __future__ import annotations

from typing import Any, Final

from debros.errors import PermissionDeniedError
from debros.identity.keys import Device
from debros.log.changes import encode_change
from debros.log.manifest import Manifest
from debros.replica.changes import Change
from debros.replica.group import Group
from debros.replica.lifting import ADMINS_ONLY, MODEL
from debros.replica.replica import Replica, Staged
from debros.replica.store import Store

VERSION: Final = 1  # of the form of these documents


def change_of(manifest: Manifest, name: str, **said: Any) -> Change:
    """Return the change that says this of a migration; in a log with admins only they can."""
    id = name + ADMINS_ONLY if manifest.admins else name
    return Change(MODEL, VERSION, id, {"put": said, "live": True})


def check_right(replica: Replica, device: Device) -> None:
    """Raise `PermissionDeniedError` if this key may not apply migrations in a log."""
    replica.check_right(device)
    if replica.manifest.admins and not replica.manifest.is_admin(device.user):
        raise PermissionDeniedError(
            "only an admin of this log applies migrations to it; ask one to run: debros migrate"
        )


class Record:
    """A request that writes one such change."""

    def __init__(self, store: Store, replica: Replica, device: Device, change: Change) -> None:
        self._store, self._replica, self._device, self._change = store, replica, device, change
        self.weight = 1
        self.done = False
        self.error: BaseException | None = None

    def stage(self, group: Group) -> bool:
        """Sign the entry; it is alone in its group."""
        if group.staged:
            return False
        check_right(self._replica, self._device)
        change = self._change
        staged = Staged(self._replica, self._device)
        staged.changes.append(change)
        staged.encoded.append(encode_change(change.model, change.version, change.id, change.value))
        group.add(staged)
        group.is_closed = True
        return True

    def finish(self) -> None:
        """Rows show it."""
        self._store.flush()
