"""Writing acts: grants, cuts, and lifting them. Signed by the acting identity, one entry per log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import trio

from debros.errors import PermissionDeniedError
from debros.identity.keys import Device
from debros.log.acts import MAX_CUT_LINKS, certificate_act, cut_act
from debros.log.certificate import issue
from debros.log.entry import parse_header
from debros.replica.entries import EntryRow
from debros.replica.group import Group
from debros.replica.replica import Replica, Staged
from debros.replica.store import Store

_EVERYTHING: Final = None  # a cut with these ends is lifted


class Signed(NamedTuple):
    """Acts, and the key that signs them."""

    signer: Device
    acts: list[Any]


class Act:
    """A request for one entry that holds acts and no changes."""

    weight = 1

    def __init__(self, store: Store, replica: Replica, choose: Callable[[], Signed]) -> None:
        """`choose` says what is to be signed once the log is held, and raises what refuses it."""
        self._store, self._replica, self._choose = store, replica, choose
        self.done = False
        self.error: BaseException | None = None

    def stage(self, group: Group) -> bool:
        """Build the entry, alone in its group: what it changes is not known before it is admitted."""
        if group.staged:
            return False
        signer, acts = self._choose()
        self._replica.check_right(signer)
        group.add(Staged(self._replica, signer, acts))
        group.is_closed = True
        return True

    def finish(self) -> None:
        """The acts have taken effect."""


async def grant(store: Store, replicas: Sequence[Replica], device: Device, root: Device | None, user: bytes) -> None:
    """Give a user the right to write to logs that are not open, and lift cuts of the user: in all of them, or in none.

    Raises:
        PermissionDeniedError: the acting identity is no admin of the logs, or does not hold its root key.
    """
    for n, replica in enumerate(replicas):
        if not replica.manifest.is_admin(device.user) or root is None:
            raise PermissionDeniedError(
                "only the root key of an admin grants; name admins in `debros.open(..., admins=[did])`"
            )
        with trio.CancelScope(shield=n > 0):
            await store.commit(Act(store, replica, partial(_granted, replica, device, root, user)))


def _granted(replica: Replica, device: Device, root: Device, user: bytes) -> Signed:
    certificate = issue(root, user, replica.log_id, "write")
    return Signed(device, [certificate_act(certificate), cut_act(user, _EVERYTHING)])


async def revoke(
    store: Store, replicas: Sequence[Replica], device: Device, root: Device | None, key: bytes, *, keep: bool
) -> None:
    """Let entries of a key count no more: a user's, by an admin, or a device's, by its user.

    What the acting identity may not do in one of the logs is left out there, if it may in another: an admin of the
    global log has no say in a user's own.

    Args:
        store: the home.
        replicas: the logs.
        device: the key that signs for the acting identity.
        root: the acting identity's root key, if it is held here.
        key: root key of the user, or the device's key.
        keep: whether what is known here goes on counting; otherwise nothing of it does.

    Raises:
        PermissionDeniedError: the acting identity is no admin, and the key is no device of its own.
    """
    store.flush()
    is_device = root is not None and is_device_of(store, root, key)
    refused: PermissionDeniedError | None = None
    done = False
    for replica in replicas:
        try:
            with trio.CancelScope(shield=done):  # in all of these logs, or in none
                # what is known is looked up once the log is held: whoever is writing meanwhile is told that it counts
                cut = partial(_cut, store, replica, device, root, key, keep=keep, is_device=is_device)
                await store.commit(Act(store, replica, cut))
                done = True
        except PermissionDeniedError as error:
            refused = error
    if refused is not None and not done:
        raise refused


def is_device_of(store: Store, root: Device, key: bytes) -> bool:
    """Whether a key has written as a device of the user with this root; what is pending is in the view."""
    logs = store.entries.logs_of(key) if key != root.public else ()
    return any(entry.user == root.public for log in logs for entry in store.entries.of_author(log, key))


def _cut(
    store: Store, replica: Replica, device: Device, root: Device | None, key: bytes, *, keep: bool, is_device: bool
) -> Signed:
    store.flush()
    entries = {
        entry.digest: entry
        for entry in (*store.entries.of_author(replica.n, key), *store.entries.of_user(replica.n, key))
    }
    if root is not None and is_device and all(entry.user == root.public for entry in entries.values()):
        device = root  # only the root itself cuts its devices
    elif not replica.manifest.is_admin(device.user):
        raise PermissionDeniedError("only an admin revokes a user, and only the user, with the root key, a device")
    elif root is not None and not entries:
        device = root  # it may be a device of the admin's own, that only the root cuts
    last = _ends(store, entries.values()) if keep else []
    return Signed(device, [cut_act(key, last[:MAX_CUT_LINKS])])


def _ends(store: Store, entries: Iterable[EntryRow]) -> list[bytes]:
    """Return the last entries of some keys' chains that count, those with most entries first.

    A key that two homes wrote with has several.
    """
    chains: dict[bytes, list[EntryRow]] = {}
    for entry in entries:
        if entry.void:  # written after an earlier revocation, and let in by no later one
            continue
        chains.setdefault(entry.author, []).append(entry)
    ends: list[tuple[int, bytes]] = []
    for chain in chains.values():
        newest = max(chain, key=lambda entry: entry.seq)
        if len(chain) == newest.seq + 1:  # one line
            ends.append((newest.seq, newest.digest))
            continue
        before = {parse_header(store.log.read(entry.header)).prev for entry in chain}
        ends += [(entry.seq, entry.digest) for entry in chain if entry.digest not in before]
    return [digest for _, digest in sorted(ends, reverse=True)]
