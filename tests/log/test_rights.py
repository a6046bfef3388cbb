"""Who may write a document, and what cuts make void: the second against the page, word for word."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks.cid import DAG_CBOR, Link
from debros.identity.did import tag
from debros.log.acts import Cut, parse_act
from debros.log.manifest import Manifest
from debros.log.rights import Cuts, Fact, Register, id_owner, may_write, void
from tests.support.entries import OPEN, TEAM, A, B, E, U


@pytest.mark.parametrize(
    ("id", "owner"),
    [
        ("x", None),
        ("", None),
        ("~", None),
        ("x~admin", "admin"),
        ("~admin", "admin"),
        ("x~admin ", None),
        ("x~Admin", None),
        ("~" + "a" * 20, "a" * 20),
        ("x~y~" + "z234567" * 2 + "abcdef", "z234567z234567abcdef"),
        ("x~" + "a" * 19, None),
        ("x~" + "a" * 21, None),
        ("x~" + "a" * 19 + "1", None),
        ("x~" + "a" * 19 + "8", None),
        ("x~" + "a" * 19 + "A", None),
        ("x" + "a" * 20, None),
        ("~" + "a" * 20 + "~", None),
        ("~" + "a" * 20 + "\n", None),
    ],
)
def test_the_end_of_an_id_names_who_may_write_it(id: str, owner: str | None) -> None:
    assert id_owner(id) == owner


def test_only_the_owner_and_admins_write_an_owned_id() -> None:
    owned = f"x~{tag(U.public)}"
    assert may_write(owned, U.public, OPEN)
    assert may_write(owned, A.public, OPEN)
    assert not may_write(owned, E.public, OPEN)


def test_only_admins_write_an_admin_id() -> None:
    assert may_write("x~admin", B.public, TEAM)
    assert not may_write("x~admin", U.public, TEAM)
    assert may_write("x", U.public, TEAM)


# -- cuts: random histories over few keys, so that everything collides --------------------------------------------

ADMIN, ADMIN_2, DEVICE, ROOT, ROOT_DEVICE, STRANGER = (bytes([n]) * 32 for n in range(1, 7))
KEYS = [ADMIN, ADMIN_2, DEVICE, ROOT, ROOT_DEVICE, STRANGER]
MANIFEST = Manifest("cuts", "global", True, (ADMIN, ADMIN_2))
CHAINS = [
    (ADMIN, ADMIN),
    (ADMIN_2, ADMIN_2),
    (DEVICE, ADMIN),
    (DEVICE, ROOT),  # one key, two users
    (ROOT, ROOT),
    (ROOT_DEVICE, ROOT),
    (STRANGER, STRANGER),
    (ADMIN, STRANGER),  # an admin's key as somebody's device
]

History = list[tuple[Fact, list[Any]]]


def name_of(n: int) -> bytes:
    return ((n * 37 + 11) % 251).to_bytes(32, "big")


@st.composite
def histories(draw: st.DrawFn, size: int = 12) -> History:
    history: History = []
    tips: dict[tuple[bytes, bytes], list[Fact]] = {}
    for n in range(draw(st.integers(1, size))):
        chain = draw(st.sampled_from(CHAINS))
        before = draw(st.sampled_from([None, *tips.get(chain, [])]))
        clock = (0 if before is None else before.clock) + draw(st.integers(1, 3))
        fact = Fact(name_of(n), *chain, before and before.digest, before.seq + 1 if before else 0, clock)
        ends = st.none() | st.lists(st.sampled_from([Link(DAG_CBOR, name_of(k)) for k in range(size)]), max_size=3)
        cuts = draw(st.lists(st.tuples(st.just("cut"), st.sampled_from(KEYS), ends).map(list), max_size=2))
        history.append((fact, cuts))
        tips.setdefault(chain, []).append(fact)
    return history


def void_by_the_page(history: History) -> set[bytes]:
    """The section "Acts", as it stands, over the whole set."""
    known = {fact.digest: fact for fact, _ in history}
    admins = set(MANIFEST.admins)

    def chains(ends: tuple[bytes, ...]) -> set[bytes]:
        counted: set[bytes] = set()
        for end in ends:
            at = known.get(end)
            while at is not None:
                counted.add(at.digest)
                at = None if at.prev is None else known[at.prev]
        return counted

    def winners(own: bool, by_admins: bool | None, dead: set[bytes]) -> dict[Register, Cut]:
        best: dict[Register, tuple[tuple[int, bytes, int], Cut]] = {}
        for fact, acts in history:
            if fact.digest in dead or (by_admins is not None and (fact.user in admins) != by_admins):
                continue
            for index, value in enumerate(acts):
                cut = parse_act(value)
                if not isinstance(cut, Cut) or (own and (fact.author != fact.user or cut.key == fact.author)):
                    continue
                register = Register(fact.user if own else None, cut.key)
                stamp = (fact.clock, fact.digest, index)
                if register not in best or best[register][0] < stamp:
                    best[register] = (stamp, cut)
        return {register: cut for register, (_, cut) in best.items()}

    def excluded(cuts: dict[Register, Cut]) -> set[bytes]:
        dead = set()
        for (root, key), cut in cuts.items():
            if cut.ends is None:
                continue
            counted = chains(cut.ends)
            for fact in known.values():
                if root is None:
                    hit = key in (fact.author, fact.user) and fact.user not in admins
                else:
                    hit = fact.author == key and fact.user == root
                if hit and fact.digest not in counted:
                    dead.add(fact.digest)
        return dead

    dead = excluded(winners(own=True, by_admins=True, dead=set()))
    dead |= excluded(winners(own=False, by_admins=True, dead=dead))
    return dead | excluded(winners(own=True, by_admins=False, dead=dead))


def arrivals(draw: st.DrawFn, history: History) -> History:
    """The history in another order that respects parents."""
    left, done, order = list(history), set[bytes | None]({None}), []
    while left:
        ready = [item for item in left if item[0].prev in done]
        item = draw(st.sampled_from(ready))
        left.remove(item)
        done.add(item[0].digest)
        order.append(item)
    return order


def hits(register: Register, fact: Fact) -> bool:
    if register.root is None:
        return register.key in (fact.author, fact.user)
    return (fact.author, fact.user) == (register.key, register.root)


@settings(max_examples=300)
@given(histories())
def test_void_is_what_the_page_says(history: History) -> None:
    facts = [fact for fact, _ in history]
    acts = {fact.digest: values for fact, values in history if values}
    assert void(facts, acts, MANIFEST) == void_by_the_page(history)


@settings(max_examples=200)
@given(st.data())
def test_entry_by_entry_in_any_order_it_is_the_same_and_what_changes_is_named(data: st.DataObject) -> None:
    history = data.draw(histories())
    order = data.draw(st.composite(arrivals)(history))
    known: dict[bytes, Fact] = {}
    cuts = Cuts(MANIFEST, known.get)
    status: dict[bytes, bool] = {}
    for done, (fact, acts) in enumerate(order, 1):
        known[fact.digest] = fact
        touched = cuts.admit(fact, acts)
        for other in known.values():
            if other is fact or any(hits(register, other) for register in touched):
                status[other.digest] = cuts.is_void(other)
        assert {digest for digest, dead in status.items() if dead} == void_by_the_page(order[:done])


def test_an_entry_without_cuts_touches_nothing() -> None:
    known: dict[bytes, Fact] = {}
    cuts = Cuts(MANIFEST, known.get)
    fact = Fact(name_of(0), STRANGER, STRANGER, None, 0, 1)
    known[fact.digest] = fact
    assert cuts.admit(fact, [["zap"], ["cut", STRANGER, None]]) == set()
    assert cuts.admit(fact, None) == set()
    assert not cuts.is_void(fact)


def test_a_late_cut_that_loses_touches_nothing() -> None:
    known: dict[bytes, Fact] = {}
    cuts = Cuts(MANIFEST, known.get)
    newer = Fact(name_of(0), ROOT, ROOT, None, 0, 9)
    older = Fact(name_of(1), ROOT, ROOT, None, 0, 8)
    known |= {newer.digest: newer, older.digest: older}
    assert cuts.admit(newer, [["cut", ROOT_DEVICE, []]]) == {Register(ROOT, ROOT_DEVICE)}
    assert cuts.admit(older, [["cut", ROOT_DEVICE, None]]) == set()
    assert cuts.is_void(Fact(name_of(2), ROOT_DEVICE, ROOT, None, 0, 1))


class Admitted:
    """A log of facts, and what `Cuts` says of it entry by entry."""

    def __init__(self) -> None:
        self.known: dict[bytes, Fact] = {}
        self.cuts = Cuts(MANIFEST, self.known.get)

    def admit(
        self, n: int, author: bytes, user: bytes, acts: list[Any], *, clock: int, prev: Fact | None = None
    ) -> Fact:
        fact = Fact(name_of(n), author, user, prev and prev.digest, prev.seq + 1 if prev else 0, clock)
        self.known[fact.digest] = fact
        self.touched = self.cuts.admit(fact, acts)
        return fact


def test_a_cut_of_a_cutting_device_names_whom_the_device_had_cut() -> None:
    log = Admitted()
    victim = log.admit(0, ROOT_DEVICE, ROOT, [], clock=1)
    log.admit(1, DEVICE, ADMIN, [["cut", ROOT, []]], clock=2)
    assert log.touched == {Register(None, ROOT)}
    own = log.admit(2, ROOT, ROOT, [["cut", ROOT_DEVICE, []]], clock=3)  # void, as long as the admin's cut counts
    assert log.cuts.is_void(victim)
    assert log.cuts.is_void(own)
    log.admit(3, ADMIN, ADMIN, [["cut", DEVICE, []]], clock=4)
    assert {Register(ADMIN, DEVICE), Register(None, ROOT), Register(ROOT, ROOT_DEVICE)} <= log.touched
    assert not log.cuts.is_void(own)
    assert log.cuts.is_void(victim), "by its own root now, whose cut counts again"


def test_an_entry_that_a_cut_names_and_that_comes_later_names_the_cut() -> None:
    log = Admitted()
    first = log.admit(0, ROOT_DEVICE, ROOT, [], clock=1)
    log.admit(1, ROOT, ROOT, [["cut", ROOT_DEVICE, [Link(DAG_CBOR, name_of(2))]]], clock=5)
    assert log.cuts.is_void(first)
    second = log.admit(2, ROOT_DEVICE, ROOT, [], clock=2, prev=first)
    assert log.touched == {Register(ROOT, ROOT_DEVICE)}
    assert not log.cuts.is_void(first)
    assert not log.cuts.is_void(second)
    third = log.admit(3, ROOT_DEVICE, ROOT, [], clock=3, prev=second)
    assert log.touched == set()
    assert log.cuts.is_void(third)
