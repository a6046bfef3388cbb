"""Whether a node is well, and why not: each of its parts with its state, its last error and what to do."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

import trio
from trio.lowlevel import enable_ki_protection

from debros import audit
from debros.log import clock
from debros.log.gate import MOST_AHEAD_MS
from debros.replica.misread import misread
from debros.sync.reporting import share_nothing, waiting_for_time
from debros.sync.waiting import WITHHELD

if TYPE_CHECKING:
    from debros.node import Debros

State = Literal["good", "degraded", "bad"]
_SHARES_NOTHING: Final = (
    "is connected and shares no log with this node, so nothing is told: it has another `app`, other `admins` or `open`, or keeps none of "
    "this user's logs; here `app` is"
)
LEAST_FREE_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a node."""

    name: str
    state: State
    reason: str = ""  # why it is not good, and the cure
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """A node's health: as bad as its worst part."""

    components: tuple[Component, ...]

    @property
    def state(self) -> State:
        """The worst state of all parts."""
        states = {component.state for component in self.components}
        return "bad" if "bad" in states else "degraded" if "degraded" in states else "good"

    @property
    def is_healthy(self) -> bool:
        """Whether reads and writes work; a node without its peers is degraded, and healthy."""
        return self.state != "bad"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not good."""
        return tuple(f"{each.name}: {each.reason}" for each in self.components if each.reason)

    def __getitem__(self, name: str) -> Component:
        """Return one part."""
        return next(component for component in self.components if component.name == name)


class Checks:
    """Looks at a node's health every so often, and tells where its state has changed: `node.health`, and the audit trail."""

    def __init__(self, node: Debros) -> None:
        self._node = node
        self.last: Health | None = None  # what was found last

    @enable_ki_protection
    async def run(self) -> None:
        """Look, until it is cancelled."""
        while True:
            await trio.sleep(self._node.config.health_check_s)
            self.check()

    def check(self) -> Health:
        """Look once."""
        found = look(self._node, self._node.migrations.pending_names())
        before, self.last = self.last, found
        if found.state != ("good" if before is None else before.state):
            audit.note("health", state=found.state, reasons=list(found.reasons))
            self._node.met.notices.tell("health", state=found.state, reasons=list(found.reasons))
        return found


def look(node: Debros, pending: list[str]) -> Health:
    """Look at all parts of a node; `pending` are its migrations that are not applied."""
    if node.store.closed or node.store.is_closing:
        return Health((Component("node", "bad", "it is closed; open it again"),))
    parts = (
        _log(node),
        _stores(node),
        _view(node),
        _records(node, pending),
        _disk(node),
        _migrations(pending),
        _peers(node),
    )
    return Health((Component("node", "good"), *parts))


def _log(node: Debros) -> Component:
    store, status = node.store, node.status()
    if store.broken:
        return Component("log", "bad", "an entry is on disk and cannot be shown; open the node again", store.broken)
    if status.findings:
        damaged = [finding for finding in status.findings if "damage" in finding]
        if damaged:
            return Component("log", "degraded", f"{len(damaged)} places are damaged; next: debros verify", damaged[0])
    newest_ms = clock.ms(max(replica.clock for replica in node.written()))
    if newest_ms - node.env.now_us() // 1000 > MOST_AHEAD_MS:
        date = _date(newest_ms)
        return Component(
            "log", "degraded", f"the clock was ahead when something was written, or is behind now: peers let in what is written here at "
            f"{date} and not before; set the clock, and write what they need earlier in another home"
        )  # fmt: skip
    return Component("log", "good")


def _stores(node: Debros) -> Component:
    away = list(node.store.away.values())
    if away:
        return Component("stores", "bad", away[0])
    left = node.places.unremoved
    return Component("stores", "degraded", f"left and not removed: {left[0]}") if left else Component("stores", "good")


def _view(node: Debros) -> Component:
    if node.store.view.is_damaged:
        return Component("view", "bad", "its file is damaged; open the node again, and it is made anew from the log")
    if node.store.flush_failure is not None:
        why = "what is written cannot be moved into its file; the next write or query tries again"
        return Component("view", "bad", why, str(node.store.flush_failure))
    return Component("view", "good")


def _records(node: Debros, pending: list[str]) -> Component:
    found = [] if pending else misread(node.store)  # what waits for a migration is told as that
    if found:
        return Component("records", "degraded", "; ".join(one.text for one in found))
    return Component("records", "good")


def _disk(node: Debros) -> Component:
    if node.home == ":memory:":
        return Component("disk", "good")
    try:
        free = shutil.disk_usage(node.home).free
    except OSError as error:
        return Component("disk", "bad", f"{node.home} is gone: {error.strerror}", str(error))
    if free < LEAST_FREE_BYTES:
        return Component("disk", "bad", f"{free >> 20} MiB are free; a full disk refuses writes")
    return Component("disk", "good")


def _migrations(pending: list[str]) -> Component:
    if pending:
        return Component("migrations", "degraded", f"{', '.join(pending)} pending; next: debros migrate")
    return Component("migrations", "good")


def _peers(node: Debros) -> Component:
    known = node.peers
    if known and not any(peer.connected for peer in known):
        return Component("peers", "degraded", f"none of {len(known)} configured peers is connected")
    refusing = [peer.id for peer in known if peer.withheld]
    if refusing:
        return Component("peers", "degraded", f"{', '.join(refusing)} {WITHHELD}: {node.identity.did}")
    strangers = [] if node.met.sync is None else share_nothing(node.met.sync)
    if strangers:
        return Component("peers", "degraded", f"{', '.join(strangers)} {_SHARES_NOTHING} {node.app!r}")
    early = {} if node.met.sync is None else waiting_for_time(node.met.sync)
    if early:
        since = ", ".join(f"{peer} from {_date(ms)} on" for peer, ms in early.items())
        return Component(
            "peers", "degraded", f"entries are held until their time comes, of {since}: the clock was ahead where they were written, or is "
            "behind here; set it"
        )  # fmt: skip
    return Component("peers", "good")


def _date(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
