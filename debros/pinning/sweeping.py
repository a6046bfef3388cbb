"""One sweep: what is new is learned, every item is judged by its rule, and blocks that nothing needs are collected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import trio

from debros.blocks.cid import Link
from debros.env import Env
from debros.pinning import ledger as states
from debros.pinning.contents import Contents
from debros.pinning.deciding import Candidate, Room, Verdict, decide
from debros.pinning.ledger import Item, Ledger
from debros.pinning.rules import DAY_S, HOUR_S
from debros.pinning.ruling import MS, Ruling
from debros.pinning.tracking import Tracker

GRACE_S: Final = HOUR_S  # that content may be here without a record that refers to it
_STEP: Final = 1000


async def learn(ledger: Ledger, contents: Contents, tracker: Tracker, now: int) -> None:
    """Write down what entries said of content, and see what of it is here."""
    await tracker.flush(ledger, now)
    for item in list(tracker.new.values()):
        if await contents.is_whole(item.link):  # the ledger is younger than the content
            ledger.change(item.n, state=states.PINNED, size=await contents.size_of(item.link))
        tracker.new.pop(item.n, None)


async def decided(env: Env, ledger: Ledger, ruling: Ruling, limit: Room, *, force: bool) -> dict[int, Verdict]:
    """Return what becomes of everything that somebody wants, by number."""
    now = ruling.now()
    copies = ledger.copies_of_all(ruling.trusted())
    models = ledger.models_of()
    candidates: list[Candidate] = []
    loose = 0  # bytes that no record refers to yet
    for n, item in enumerate(ledger.items()):
        if n % _STEP == 0:
            await trio.lowlevel.checkpoint()
        rule = ruling.rule_of(ledger, models.get(item.n, set()))
        is_here = item.state in (states.PINNED, states.UNPINNING)
        by_hand = item.hand == states.BY_HAND
        if is_here and item.promised > now and item.hand != states.AGAINST:
            by_hand = True  # others rely on it
        if item.hand == states.AGAINST or (not by_hand and item.n not in models):
            loose += max(0, item.size) if is_here else 0
            continue  # nobody wants it, or no record refers to it: `_carry_out` sees to it
        if rule is None and not by_hand and not is_here:
            continue  # it comes when it is asked for
        facts = ruling.facts(ledger, item, rule, copies.get(item.n, 0), now)
        candidates.append(Candidate(item.n, rule, facts, is_here, by_hand))
    room = Room(max(0, limit.max_bytes - loose), limit.max_pins)
    return await env.offload(lambda: decide(candidates, room, force=force))


async def carry_out(
    ledger: Ledger, ruling: Ruling, tracker: Tracker, verdicts: Mapping[int, Verdict], *, force: bool
) -> tuple[int, int, int]:
    """Write down what becomes of everything; return how much is pinned, has to go, and waits for others to hold it."""
    pinned = evicted = waiting = 0
    unreferred: list[tuple[Item, str]] = []  # what goes because no record refers to it, and the reason to note
    now = ruling.now()
    promises = ledger.promised_of_all(now)
    referred = ledger.models_of()
    for number, item in enumerate(list(ledger.items())):
        if number % _STEP == 0:
            await trio.lowlevel.checkpoint()
        verdict = verdicts.get(item.n)
        is_here = item.state in (states.PINNED, states.UNPINNING)
        if verdict is not None and verdict.stays:
            if item.state == states.UNPINNING:
                ledger.change(item.n, state=states.PINNED, note=None)
                pinned += 1
            elif item.state == states.UNPINNED and ruling.rule_of(ledger, referred.get(item.n, set())) is not None:
                ledger.change(item.n, state=states.PENDING, tries=0, due=now, note=None)
                pinned += 1
            continue
        if verdict is None and item.hand == 0:
            if item.n in referred:
                continue  # of a model without a rule, and not here
            if now - max(item.added, item.used) >= GRACE_S * MS:
                unreferred.append((item, "no record refers to it"))
            continue
        if not is_here:
            if item.state in (states.PENDING, states.FAILED):
                ledger.change(item.n, state=states.UNPINNED, note="there is no room for it")
            continue
        rule = ruling.rule_of(ledger, referred.get(item.n, set()))
        asked = 1 if rule is None else min(1, rule.copies[0]) if force else rule.copies[0]
        needed = asked if item.n in referred else 0
        held = promises.get(item.n, 0)
        if item.promised > now and item.n in referred:
            ledger.change(item.n, state=states.UNPINNING, note="is to go, and stays until a promise to others ends")
            waiting += 1
        elif held >= needed:
            why = verdict.why if verdict else "unpinned by hand"
            if item.n in referred:
                ledger.change(item.n, state=states.UNPINNED, note=why)
                evicted += 1
            else:
                unreferred.append((item, why))
        else:
            note = f"is to go, and {held} others promised to hold it; {needed} are needed"
            if item.state != states.UNPINNING:
                ledger.change(item.n, state=states.UNPINNING, note=note)
            waiting += 1
    just_referred = tracker.unwritten() if unreferred else ()
    for item, why in unreferred:
        if item.link not in just_referred and not ledger.referred(item.n):
            ledger.change(item.n, state=states.UNPINNED, note=why)
            evicted += item.state in (states.PINNED, states.UNPINNING)
    return pinned, evicted, waiting


async def collect(ledger: Ledger, contents: Contents, ruling: Ruling, tracker: Tracker) -> int:
    """Delete blocks that nothing needs, and give their room back to the disk; return their bytes.

    What a record refers to that is written meanwhile is needed: nobody could know that it was about to go.
    """
    kept = [states.PINNED, states.UNPINNING]
    if contents.used <= contents.max_bytes:  # else what is not whole goes too: a power cut may bring back what went
        kept += [states.PENDING, states.FAILED]
    if ledger.meta("found") and ruling.now() - ledger.meta("since") < DAY_S * MS:
        return 0  # the ledger was lost, and what was pinned by hand with it: a day to say so again

    async def needed() -> list[Link]:
        await learn(ledger, contents, tracker, ruling.now())
        return [*(item.link for item in ledger.items(*kept)), *tracker.unwritten()]

    freed = await contents.collect(needed)
    if freed:
        await contents.store.compact()
    for item in list(ledger.items(states.UNPINNED)):
        if item.hand == 0 and not ledger.referred(item.n):
            ledger.remove(item.n)
    return freed
