"""Bodies are spliced from encoded changes, and read back strictly."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks import dagcbor
from debros.errors import BodyError
from debros.log.acts import cut_act
from debros.log.body import Body, encode_body, parse_body
from debros.log.changes import encode_change
from tests.support.entries import A

SALT = bytes(range(16))
OPS: list[Any] = [["Post", 1, f"d{n}", {"put": {"a": n}, "live": True}] for n in range(30)]


@settings(max_examples=50)
@given(st.integers(0, 30), st.none() | st.tuples(st.binary(min_size=16, max_size=16), st.integers(1, 9)), st.booleans())
def test_what_is_spliced_is_what_the_encoder_writes(count: int, tx: tuple[bytes, int] | None, cut: bool) -> None:
    acts = [cut_act(A.public, [bytes(32)])] if cut else []
    raw = encode_body([encode_change(*op) for op in OPS[:count]], salt=SALT, tx=tx, acts=acts)
    value: dict[str, Any] = {"salt": SALT}
    if tx is not None:
        value["tx"] = tx
    if cut:
        value["act"] = acts
    if count:
        value["ops"] = OPS[:count]
    assert raw == dagcbor.encode(value)
    assert parse_body(raw) == Body(tx, acts, OPS[:count], SALT)


@pytest.mark.parametrize(
    "tx",
    [None, [], [SALT], [SALT, 0], [SALT, -1], [SALT, True], [SALT, 1.0], [SALT, 1, 1], [b"", 1], {"a": 1}, ["", 1]],
)
def test_a_transaction_of_another_form_is_read_as_absent(tx: Any) -> None:
    assert parse_body(dagcbor.encode({"tx": tx, "salt": SALT})).tx is None


def test_other_keys_are_ignored() -> None:
    assert parse_body(dagcbor.encode({"salt": SALT, "zap": [1], "a": None})) == Body(None, [], [], SALT)


@pytest.mark.parametrize("raw", [b"", b"\xa0", b"\x80", b"\xf6", dagcbor.encode({"salt": SALT, "ops": 0})])
def test_what_is_no_body_is_refused(raw: bytes) -> None:
    with pytest.raises(BodyError):
        parse_body(raw)
