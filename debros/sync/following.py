"""Which logs a node keeps, that is, compares with its peers and serves to them.

Without a word of the user: the global logs of its models, the logs of users that write here, and logs of others that are
here already. A node learns of logs from its own models and from `follow`, never from what strangers claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set

from debros.errors import ConfigError
from debros.identity.did import did_of
from debros.log.manifest import Manifest
from debros.replica.replica import Replica
from debros.sync.remembered import Remembered


class Following:
    """The choice, over what the home remembers of it."""

    def __init__(
        self, remembered: Remembered, own_users: Callable[[], Set[bytes]], is_ours: Callable[[Manifest], bool]
    ) -> None:
        """`is_ours` says whether a log is one of the application: others are kept by nobody's word."""
        self._remembered = remembered
        self._is_ours = is_ours
        self._own_users = own_users
        self.on_followed: list[Callable[[str], None]] = []  # told of each that is asked for, before it is remembered

    @property
    def owners(self) -> list[str]:
        """DIDs that are followed."""
        return sorted(text for text in self._remembered.follow if text.startswith("did:"))

    def keeps(self, replica: Replica) -> bool:
        """Whether a log is kept."""
        manifest = replica.manifest
        if not self._is_ours(manifest):
            return False
        if manifest.scope == "user":
            owner = did_of(manifest.admins[0])
            if owner in self._remembered.unfollow:
                return False
            return bool(replica.heads) or owner in self._remembered.follow or manifest.admins[0] in self._own_users()
        return self.keeps_part(manifest)

    def keeps_part(self, manifest: Manifest) -> bool:
        """Whether the log of a shard is kept; one that is not sharded is."""
        if manifest.part is None:
            return True
        model, shard = manifest.part
        follow, unfollow = self._remembered.follow, self._remembered.unfollow
        if not {model, f"{model} {shard}"}.isdisjoint(unfollow):
            return False
        chosen = _shards_of(model, follow)
        return not chosen or f"{model} {shard}" in chosen

    def change(self, texts: Iterable[str], *, follow: bool) -> None:
        """Follow, or do not; on return it is remembered.

        The newest word counts: one on a whole model ends what was said of its shards.

        Raises:
            StorageError: the disk refused; what was chosen before counts.
        """
        remembered = self._remembered
        before = set(remembered.follow), set(remembered.unfollow)
        try:
            for text in texts:
                for tell in self.on_followed if follow else ():
                    tell(text)
                self._change(text, follow)
            remembered.save()
        except BaseException:
            remembered.follow, remembered.unfollow = before
            raise

    def _change(self, text: str, follow: bool) -> None:
        into, out_of = self._remembered.follow, self._remembered.unfollow
        if not follow:
            into, out_of = out_of, into
        model, _, shard = text.partition(" ")
        chosen = _shards_of(model, self._remembered.follow)
        if follow and shard and text in out_of and not chosen and model not in out_of:
            out_of.discard(text)  # one of all that are kept comes back
            return
        into.add(text)
        out_of.discard(text)
        if not shard:
            into -= _shards_of(text, into)
            out_of -= _shards_of(text, out_of)
        elif follow:
            out_of.discard(model)
        elif chosen == {text}:  # the last of those that were chosen: none is kept now
            self._change(model, follow)


def _shards_of(model: str, texts: Set[str]) -> set[str]:
    """Return those of the texts that name single shards of a model."""
    return {text for text in texts if text.startswith(f"{model} ")}


def parts_meant(model: str, parts: Sequence[str], shards: Iterable[int] | None) -> list[str]:
    """Return what to remember for some shards of a model, or for all of them.

    Args:
        model: its name.
        parts: the names of its shards, in the order of their numbers.
        shards: numbers.

    Raises:
        ConfigError: the model is not sharded, or has no such shard.
    """
    if not parts:
        raise ConfigError(
            f"{model} is not sharded: its records lie in one log with those of other models, and a node keeps that log "
            "whole or, for a user's, not at all: follow the owner's DID"
        )
    if shards is None:
        return [model]
    chosen: list[str] = []
    for number in shards:
        if not 0 <= number < len(parts):
            raise ConfigError(f"{model} has no shard {number}; they are numbered from 0 to {len(parts) - 1}")
        chosen.append(f"{model} {parts[number]}")
    return chosen
