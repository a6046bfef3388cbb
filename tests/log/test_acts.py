"""Acts are read totally: what is of another form is ignored and counted."""

from __future__ import annotations

from typing import Any

import pytest

from debros.blocks.cid import DAG_PB, RAW
from debros.identity.certificate import issue
from debros.log.acts import Cut, certificate_act, cut_act, parse_act, parse_acts
from tests.support.entries import TEAM, A, U, link

KEY = U.public
ENDS = [bytes([n]) * 32 for n in (3, 1, 2)]


def test_a_cut_names_a_key_and_the_last_entries_that_count() -> None:
    assert parse_act(cut_act(KEY, ENDS)) == Cut(KEY, tuple(sorted(ENDS)))
    assert parse_act(["cut", KEY, [link(end) for end in ENDS]]) == Cut(KEY, tuple(ENDS)), "in any order"
    assert parse_act(cut_act(KEY, [])) == Cut(KEY, ())
    assert parse_act(cut_act(KEY, None)) == Cut(KEY, None)


def test_a_certificate_act_delivers_a_certificate() -> None:
    certificate = issue(A, KEY, TEAM.log_id, "write")
    assert parse_act(certificate_act(certificate)) == certificate


@pytest.mark.parametrize(
    "act",
    [
        None,
        {},
        "cut",
        [],
        ["cut"],
        ["cut", KEY],
        ["cut", KEY, [], 0],
        ["cut", KEY[:31], []],
        ["cut", KEY.hex(), []],
        ["cut", None, None],
        ["cut", KEY, {}],
        ["cut", KEY, False],
        ["cut", KEY, [bytes(32)]],
        ["cut", KEY, [link(bytes(32), RAW)]],
        ["cut", KEY, [link(bytes(32), DAG_PB)]],
        ["cut", KEY, [link(bytes(32))] * 257],
        ["Cut", KEY, []],
        [b"cut", KEY, []],
        ["erase", KEY, []],
        ["cert"],
        ["cert", None],
        ["cert", {}],
        ["cert", issue(A, KEY, None, "device").value(), 0],
        ["cert", {**issue(A, KEY, None, "device").value(), "may": "read"}],
        ["cert", {**issue(A, KEY, None, "device").value(), "may": "write"}],
        [["cut"], KEY, []],
    ],
)
def test_acts_of_another_form_are_ignored_and_counted(act: Any) -> None:
    assert parse_act(act) is None
    good = cut_act(KEY, None)
    assert parse_acts([act, good, act]) == ([(1, Cut(KEY, None))], 2)


def test_256_ends_are_the_most() -> None:
    ends = [n.to_bytes(32, "big") for n in range(257)]
    assert parse_act(["cut", KEY, [link(end) for end in ends[:256]]]) == Cut(KEY, tuple(ends[:256]))
    with pytest.raises(ValueError, match="256"):
        cut_act(KEY, ends)
    with pytest.raises(ValueError, match="32 bytes"):
        cut_act(KEY[:31], [])
