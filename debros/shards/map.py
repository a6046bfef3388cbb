"""Which log holds a record: the one function that routes every read and write.

All unsharded models of a scope share one log: the application's global log, or the user's own. Addresses derive
from these declarations alone, so two nodes that never met find the same log.
"""

from __future__ import annotations

from dataclasses import dataclass

from debros.log.manifest import Manifest, manifest_of_all, manifest_of_user
from debros.schema import Schema


@dataclass(frozen=True)
class ShardMap:
    """The logs of one application.

    `app` names it; `open` says whether anybody may write to the global log, `admins` (root keys, 32 bytes) who may
    in any case.
    """

    app: str
    open: bool
    admins: tuple[bytes, ...]

    def manifest(self, schema: Schema, user: bytes, part: str | None = None) -> Manifest:
        """Return the manifest of the log that holds a model's records.

        Args:
            schema: of the model.
            user: root key of the user, in user scope.
            part: the shard's name, of a sharded model.
        """
        if schema.scope == "user":
            return manifest_of_user(self.app, user)
        if part is None:
            return self.shared
        return manifest_of_all(self.app, self.open, self.admins, (schema.name, part))

    def holds(self, manifest: Manifest) -> bool:
        """Whether a log is one of this application: a global one lets the same people write."""
        if manifest.app != self.app:
            return False
        return manifest.scope == "user" or (manifest.open, manifest.admins) == (self.open, self.admins)

    @property
    def shared(self) -> Manifest:
        """The manifest of the global log."""
        return manifest_of_all(self.app, self.open, self.admins)
