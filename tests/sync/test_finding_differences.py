"""Ten entries missing of many are found in a few round trips and few bytes."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from debros.net.memory import MemoryNetwork
from debros.sync.fingerprints import Fingerprints, fingerprint, split_records
from debros.sync.pulling import Pull
from debros.sync.wire import Range
from tests.support.peers import in_virtual_time, peer
from tests.sync.test_two_nodes import models


class Sums(Fingerprints):
    """Fingerprints over plain digests."""

    def __init__(self, digests: set[bytes]) -> None:
        self._sums = {1: {}}
        self._digests = sorted(digests)
        for digest in digests:
            place = (digest[0] << 8) | digest[1]
            count, total = self._sums[1].get(place, (0, 0))
            self._sums[1][place] = count + 1, total + int.from_bytes(digest, "big")

    def records(self, log: int, prefix: str) -> list[bytes]:
        return [bytes(8) + digest for digest in self._digests if digest.hex().startswith(prefix)]


def difference(ours: set[bytes], theirs: set[bytes]) -> tuple[set[bytes], int]:
    """Find what is missing as two nodes do; return it, and the round trips."""
    here, there = Sums(ours), Sums(theirs)
    todo, found, trips = [""], set[bytes](), 0
    pull = Pull.__new__(Pull)
    pull.prints = here
    pull.replica = type("R", (), {"n": 1})()
    pull.lacking = lambda digests: set(digests) - ours
    while todo:
        trips += 1
        asked, todo = todo, []
        for prefix in asked:
            range = here.range(1, prefix)
            answer = there.difference(1, range)
            if isinstance(answer, bytes):
                found.update(record[8:] for record in pull._unjudged(range, answer))
            else:
                assert answer is not None
                todo += pull._differing(range, answer)
    return found, trips


digests = st.sets(st.integers(0, 400).map(lambda n: Random(n).randbytes(32)), max_size=120)


@settings(max_examples=40)
@given(digests, digests)
def test_what_the_other_side_has_more_is_found_whatever_is_missing_there(ours: set[bytes], theirs: set[bytes]) -> None:
    found, _ = difference(ours, theirs)
    assert found == theirs - ours


def test_a_fingerprint_tells_sets_with_the_same_sum_by_their_size() -> None:
    assert fingerprint(1, 5) != fingerprint(2, 5)
    assert fingerprint(1, 5) == fingerprint(1, 5 + 2**256)
    assert split_records(bytes(80)) == [bytes(40), bytes(40)]
    assert Range("a", 1, bytes(16)) != Range("a", 2, bytes(16))


@in_virtual_time
async def test_a_few_entries_of_thousands_cost_a_few_round_trips() -> None:
    network, both = MemoryNetwork(), models()
    thing = both[0]
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        with left.current():
            for n in range(2000):
                await thing.create(title=f"{n}")
        await right.synced(timeout_s=60)
        await left.synced(timeout_s=60)
        network.partition(["left"], ["right"])
        with left.current():
            for n in range(10):
                await thing.create(title=f"more {n}")
        for link in left.met.sync.links.values():  # type: ignore[union-attr]
            for lot in link.lots.values():
                lot.fresh = []  # as if all offers were lost
        network.heal()
        requests, sent = network.requests, network.sent_bytes
        await right.synced(timeout_s=60)
        assert network.requests - requests <= 20  # both sides, all logs, greetings too
        assert network.sent_bytes - sent <= 64 << 10
        assert await left.fingerprint() == await right.fingerprint()
