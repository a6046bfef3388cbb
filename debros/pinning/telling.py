"""How it stands with content, for programs and in words: what the ledger knows of it, as its rule sees it."""

from __future__ import annotations

from debros.pinning import ledger as states
from debros.pinning.deciding import Room, Verdict
from debros.pinning.ledger import Item, Ledger
from debros.pinning.ruling import MS, Ruling, optimal_copies
from debros.pinning.told import PinStatus, Stats, Swept


def status_of(ledger: Ledger, ruling: Ruling, item: Item) -> PinStatus:
    """Return how it stands with a piece of content."""
    facts, rule = ruling.facts(ledger, item), ruling.rule(ledger, item)
    asked = sorted(ledger.asked(item.n).items(), key=lambda entry: (-entry[1], entry[0]))
    waits = item.state in (states.PENDING, states.FAILED)
    return PinStatus(
        cid=facts.cid, state=states.STATES[item.state], is_here=item.state in (states.PINNED, states.UNPINNING),
        size=item.size, model=facts.model, strategy="none" if rule is None else rule.strategy,
        by_hand=item.hand == states.BY_HAND, accesses=facts.accesses, score=facts.score, age_s=facts.age_s,
        idle_s=facts.idle_s, copies=facts.copies, wanted_copies=(0, 0) if rule is None else rule.copies,
        optimal_copies=optimal_copies(rule, len(asked)), recommended_peers=tuple(peer for peer, _ in asked), tries=item.tries,
        next_try_s=max(0, item.due - ruling.now()) / MS if waits else None, note=item.note or "",
    )  # fmt: skip


def why_of(ledger: Ledger, ruling: Ruling, item: Item, verdict: Verdict | None) -> str:
    """Return why content stays, comes or goes, in words; `verdict` is what a sweep would make of it now."""
    status = status_of(ledger, ruling, item)
    told = f"{status.state}: {ruling.why_none(ledger, item) if verdict is None else verdict.why}"
    if status.model:
        told += f"; rule {status.strategy} of {status.model}, used {status.accesses} times"
    if item.state == states.UNPINNING:
        told += f"; held by {status.copies} others"
    return told + (f"; {item.note}" if item.note else "")


def stats_of(ledger: Ledger, room: Room, used_bytes: int, last: Swept | None) -> Stats:
    """Return pins by state and model."""
    by_state: dict[states.State, int] = {name: ledger.count(n) for n, name in enumerate(states.STATES)}
    models = dict(ledger.rows("SELECT model, count(*) FROM items WHERE state = ? GROUP BY model", (states.PINNED,)))
    failed = [str(item.link) for item in ledger.items(states.FAILED)]
    return Stats(
        states=by_state, models={ledger.name(n).decode(): count for n, count in models.items() if n},
        used_bytes=used_bytes, max_bytes=room.max_bytes, max_pins=room.max_pins,
        wanted_and_held_by_nobody=tuple(failed[:100]), last_sweep=last,
    )  # fmt: skip
