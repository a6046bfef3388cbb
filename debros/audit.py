"""The audit trail: who gave which right to whom, who took it, and what else concerns security.

What is shared is in the log, signed and chained to all that followed, so it can be neither denied nor changed:
`trail` reads it. What only this node knows (that it was opened and closed, which writes it refused, that it is not
well) goes to the logger `debros.audit`, one record each, whose `event` and `facts` are for programs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from debros.blocks import cid
from debros.identity.did import did_of
from debros.log import clock
from debros.log.acts import Cut, parse_acts
from debros.log.body import parse_body

if TYPE_CHECKING:
    from debros.log.acts import Act
    from debros.node import Debros
    from debros.replica.entries import EntryRow

Kind = Literal["grant", "certify", "revoke", "restore"]
LOGGER: Final = logging.getLogger("debros.audit")


@dataclass(frozen=True, slots=True)
class Audited:
    """One act on rights, as a log tells it.

    `grant` lets a user write to a log that is not open, `certify` lets a device write for a user, `revoke` lets entries
    of a user or device count no more, and `restore` lifts that.
    """

    kind: Kind
    whom: str  # DID of the user, or `did:key` of the device
    by: str  # DID of the user who signed
    at: datetime
    address: str  # of the log
    cid: str  # of the entry
    counts: bool  # whether the entry counts: false for one whose own author was cut


def trail(node: Debros) -> list[Audited]:
    """Return all acts on rights in the logs of a node, oldest first. What is pending must be in the view's file.

    Raises:
        CorruptionError: an entry is damaged.
    """
    store, found = node.store, list[tuple[int, bytes, Audited]]()
    for (e,) in store.view.read("SELECT e FROM acts ORDER BY e", ()):
        entry = store.entries.by_number(e)
        found += [(entry.clock, entry.digest, one) for one in _acts(node, entry)]
    return [one for _, _, one in sorted(found, key=lambda item: item[:2])]


def _acts(node: Debros, entry: EntryRow) -> Iterator[Audited]:
    store = node.store
    _, _, block = store.log.read_section(entry.body)
    at = datetime.fromtimestamp(clock.ms(entry.clock) / 1000, UTC)
    address = store.by_number[entry.log].manifest.address
    for _, act in parse_acts(parse_body(block).acts)[0]:
        kind, whom = _told(act)
        yield Audited(kind, did_of(whom), did_of(entry.user), at, address, cid.to_text(entry.digest), not entry.void)


def _told(act: Act) -> tuple[Kind, bytes]:
    if isinstance(act, Cut):
        return ("restore" if act.ends is None else "revoke"), act.key
    return ("grant" if act.may == "write" else "certify"), act.to


def note(event: str, **facts: Any) -> None:
    """Write one record to the logger `debros.audit`."""
    told = " ".join(f"{name}={value!r}" for name, value in facts.items())
    LOGGER.info("%s %s", event, told, extra={"event": event, "facts": facts})
