"""How many nodes should hold content, against how many say that they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from debros.blocks.cid import Link
from debros.pinning import ledger as states
from debros.pinning.ledger import Ledger
from debros.pinning.ruling import Ruling


def concerns(ledger: Ledger, ruling: Ruling) -> tuple[list[Link], list[Link]]:
    """Return what is here and whose copies count, and what is to go once others promise to hold it."""
    counted: list[Link] = []
    leaving: list[Link] = []
    models, now = ledger.models_of(), ruling.now()
    for item in ledger.items(states.PINNED, states.UNPINNING):
        rule = ruling.rule_of(ledger, models.get(item.n, set()))
        if item.state == states.UNPINNING and item.promised <= now:
            leaving.append(item.link)
        if item.state == states.PINNED and (item.hand == states.BY_HAND or (rule is not None and rule.copies[1])):
            counted.append(item.link)
    return counted, leaving


def short_of_copies(
    ledger: Ledger, ruling: Ruling, links: Sequence[Link], peers: Sequence[str], keys: Mapping[str, bytes]
) -> dict[str, list[Link]]:
    """Return, by connected peer, of what it should be asked to keep a copy: those who used it most come first."""
    found: dict[str, list[Link]] = {}
    for link in links:
        item = ledger.find(link)
        if item is None:
            continue
        rule = ruling.rule(ledger, item)
        least = 1 if rule is None else rule.copies[0]
        least -= 1  # one is here
        holders = {by for by, _ in ledger.copies(item.n, ruling.trusted())}
        connected = [peer for peer in peers if keys.get(peer) in holders]
        asked = ledger.asked(item.n)
        others = sorted((peer for peer in peers if peer not in connected), key=lambda p: (-asked.get(p, 0), p))
        for peer in others[: max(0, least - len(connected))]:
            found.setdefault(peer, []).append(link)
    return found


def stay(ledger: Ledger, link: Link) -> None:
    """Keep what was to go: others rely on it."""
    item = ledger.find(link)
    if item is not None and item.state == states.UNPINNING:
        ledger.change(item.n, note="is to go, and stays until a promise to others ends")
