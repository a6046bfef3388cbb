"""Large bodies are cut where their changes begin; what comes of it is what the authority reads, or refuses, to the byte."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks import cid, dagcbor
from debros.errors import BodyError
from debros.log.body import MAX_CHANGES, Body, encode_body, parse_body
from debros.log.changes import good_changes
from debros.log.packed import PackedOps
from debros.replica.changes import Packed, changes_in, models_of

SALT = bytes(range(16))
LARGE = "long text " * 30
FRAGMENT = dagcbor.encode(["Post", 1, "x" * 30, {}])[:-31]  # what every change below begins with, but for its head


def change(n: int, value: Any, model: str = "Post", version: int = 1) -> list[Any]:
    return [model, version, f"{n:030}", {"live": True, "put": {"text": value, "rest": LARGE}}]


def written(ops: list[Any], tx: tuple[bytes, int] | None = None) -> bytes:
    return encode_body([dagcbor.encode(op) for op in ops], salt=SALT, tx=tx)


def authority(raw: bytes) -> Body | None:
    """Read a body by the strict decoder alone, `None` where it refuses."""
    try:
        value: Any = dagcbor.decode(raw)
    except ValueError:
        return None
    tx = value.get("tx")
    return Body(None if tx is None else (tx[0], tx[1]), value.get("act", []), value["ops"], value["salt"])


def read(raw: bytes) -> Body | None:
    try:
        body = parse_body(raw)
    except BodyError:
        return None
    return body._replace(ops=list(body.ops))


texts = st.text(max_size=12) | st.sampled_from(["\x99\xb9\x9a", "щщщщ", FRAGMENT.decode("latin-1"), "84Post"])
values = st.recursive(
    texts | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=40)
    | st.sampled_from([FRAGMENT, b"\xd8\x2a\x58\x25\x00", cid.Link(cid.RAW, bytes(32))]),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(texts, parts, max_size=3), max_leaves=6,
)  # fmt: skip


@settings(max_examples=60)
@given(
    st.lists(values, min_size=14, max_size=40), st.booleans(), st.integers(0, 30), st.sampled_from(["Post", "Other"])
)
def test_a_large_body_reads_as_the_authority_reads_it(given: list[Any], is_tx: bool, version: int, last: str) -> None:
    ops = [change(n, value, version=version) for n, value in enumerate(given)]
    ops.append(change(len(ops), LARGE, last, version))
    raw = written(ops, (bytes(16), 2) if is_tx else None)
    assert dagcbor.encode(list(parse_body(raw).ops)) == dagcbor.encode(ops)  # 1 is not 1.0
    assert read(raw) == authority(raw)
    assert dagcbor.encode(list(parse_body(raw, known=True).ops)) == dagcbor.encode(ops)


def test_a_known_body_that_is_cut_in_a_value_reads_as_it_was_written() -> None:
    ops = [change(n, LARGE) for n in range(20)]
    ops[15][0] = "Other"
    ops[10][3]["put"]["text"] = FRAGMENT + bytes(40)  # so there are twenty pieces, of which some are no change
    raw = written(ops)
    assert type(parse_body(raw).ops) is list
    known = parse_body(raw, known=True).ops
    assert type(known) is PackedOps
    assert list(known) == ops
    assert [op[2] for op in known] == [op[2] for op in ops], "and again"
    assert {change.model for change in changes_in(parse_body(raw, known=True))} == {"Post", "Other"}
    assert models_of(changes_in(parse_body(raw, known=True))) == {"Post", "Other"}


def test_packed_changes_are_counted_without_being_decoded_for_their_model() -> None:
    ops: list[Any] = [change(n, LARGE) for n in range(20)]
    ops[3][3] = {"put": 5}
    ops[4] = ["Post", 1, ops[5][2], {"live": True}]
    changes = changes_in(parse_body(written(ops)))
    assert models_of(changes) == {"Post"}
    assert len(changes) == 18, "one has no good form, and of two of one document the first counts"
    assert [change.id for change in changes] == [op[2] for n, op in enumerate(ops) if n not in (3, 5)]


ids: st.SearchStrategy[Any] = st.text("abc", min_size=1, max_size=2) | st.sampled_from(
    ["", "x" * 200, "\n", 5, None, [], "щ"]
)


@settings(max_examples=100)
@given(st.lists(ids, min_size=14, max_size=40), st.sampled_from([1, 0, 100, -1, True, 1.5, None]), st.integers(1, 50))
def test_packed_changes_come_together_as_they_come_one_by_one(its: list[Any], version: Any, together: int) -> None:
    ops = [["Post", version, id, {"live": True, "put": {"text": LARGE}}] for id in its]
    changes = changes_in(parse_body(written(ops)))
    if isinstance(changes, Packed):  # else the first id has another head than one of the rest
        found = [change for some in changes.unformed(together) for change in some]
        expected = [id for _, _, _, id, _ in good_changes(ops, unformed=True)]
        assert [change.id for change in found] == expected
        assert all((change.model, change.version) == ("Post", version) for change in found)


RAW = written([change(n, [n, n / 3, "щ" * n, {"a": b"\x99" * n}]) for n in range(40)])


@settings(max_examples=150)
@given(st.integers(0, len(RAW) - 1), st.integers(0, 255), st.sampled_from(["flip", "cut", "insert", "remove"]))
def test_a_large_body_with_a_wrong_byte_is_refused_where_the_authority_refuses_it(at: int, byte: int, how: str) -> None:
    bent = {
        "flip": RAW[:at] + bytes([byte]) + RAW[at + 1 :],
        "cut": RAW[:at] + RAW[at + byte :],
        "insert": RAW[:at] + bytes([byte]) + RAW[at:],
        "remove": RAW[:at] + RAW[at + 1 :],
    }[how]
    try:
        expected = authority(bent)
    except (AttributeError, KeyError, TypeError):  # strict, and no body
        expected = None
    found = read(bent)
    assert found == expected or (expected is not None and len(expected.salt) != 16)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_the_depth_of_a_change_counts_from_the_body() -> None:
    deepest = dagcbor.MAX_DEPTH - 5  # the body, its list, the change, its map, the map of fields
    good = [change(n, nested(deepest)) for n in range(20)]
    assert list(parse_body(written(good)).ops) == good
    raw = written(good).replace(b"\x81\x01", b"\x81\x81\x01")
    with pytest.raises(BodyError, match="more than 24 levels"):
        parse_body(raw)


@pytest.mark.parametrize("count", [-1, 1])
def test_a_promise_of_more_or_fewer_changes_than_there_are_is_refused(count: int) -> None:
    head = dagcbor.head(4, 40)
    assert RAW.count(b"\x63ops" + head) == 1
    with pytest.raises(BodyError, match="strict"):
        parse_body(RAW.replace(b"\x63ops" + head, b"\x63ops" + dagcbor.head(4, 40 + count)))


def test_too_many_changes_are_refused() -> None:
    with pytest.raises(BodyError, match="at most"):
        parse_body(written([["P", 1, "x", {}]] * (MAX_CHANGES + 1)))


def test_changes_whose_floats_look_like_heads_of_long_arrays_do_not_go_to_the_slow_codec(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow:
        """Fails whoever asks it."""

        def __getattr__(self, name: str) -> Any:
            raise AssertionError("the slow codec was asked")

    monkeypatch.setattr(dagcbor, "cbor2", Slow())
    ops = [change(n, "щ\u0399\u0679" * 30) for n in range(100)]
    assert list(parse_body(written(ops)).ops) == ops
    assert type(parse_body(written(ops)).ops) is PackedOps


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"\x65marks\x05", b"\x65marks\x18\x05"),
        (b"\x65marks\x05", b"\x65marks\xf9\x45\x00"),
        (b"\x65marks\x05\x65words\x06", b"\x65words\x06\x65marks\x05"),
        (b"\x65marks\x05\x65words\x06", b"\x65marks\x05\x65marks\x06"),
        (b"\x65marks\x05", b"\x65marks\xfb\x7f\xf8" + bytes(6)),
        (b"\x65marks\x05", b"\x65marks\xc0\x05"),
    ],
)
def test_a_change_of_another_than_the_one_form_is_refused(good: bytes, bad: bytes) -> None:
    ops = [change(n, {"marks": 5, "words": 6}) for n in range(20)]
    raw = written(ops)
    assert raw.count(good) == 20
    assert list(parse_body(raw).ops) == ops
    with pytest.raises(BodyError, match="strict"):
        parse_body(raw.replace(good, bad, 1))
