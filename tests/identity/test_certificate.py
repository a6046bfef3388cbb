"""Certificates: their form and their signature. What they are worth in a log is pinned by the vectors of the gate."""

from __future__ import annotations

from typing import Any

import pytest

from debros.blocks import dagcbor
from debros.blocks.cid import DAG_PB, RAW, Link
from debros.identity.certificate import Certificate, issue, parse_certificate
from debros.identity.signing import SigningKey, verify

BY, TO = SigningKey(bytes([1]) * 32), SigningKey(bytes([2]) * 32)
LOG = bytes(range(32))


@pytest.mark.parametrize(("log", "may"), [(None, "device"), (LOG, "device"), (LOG, "write")])
def test_an_issued_certificate_is_signed_and_reads_back(log: bytes | None, may: Any) -> None:
    certificate = issue(BY, TO.public, log, may)
    assert certificate[:4] == (BY.public, TO.public, log, may)
    assert certificate.is_signed()
    assert parse_certificate(dagcbor.decode(dagcbor.encode(certificate.value()))) == certificate


def test_the_signature_is_over_the_block_up_to_its_last_key() -> None:
    certificate = issue(BY, TO.public, LOG, "write")
    block = dagcbor.encode(certificate.value())
    assert block[-70:] == b"csigX@" + certificate.sig
    assert verify(BY.public, b"debros/cert/1\0" + block[:-70], certificate.sig)


@pytest.mark.parametrize(
    "change",
    [{"by": TO.public}, {"to": BY.public}, {"log": None}, {"log": bytes(32)}, {"may": "write"}, {"sig": bytes(64)}],
)
def test_a_changed_certificate_is_not_signed(change: dict[str, Any]) -> None:
    certificate = issue(BY, TO.public, LOG, "device")
    assert not certificate._replace(**change).is_signed()


@pytest.mark.parametrize(
    "change",
    [
        {"by": BY.public[:31]},
        {"to": None},
        {"to": TO.public.hex()},
        {"log": LOG},
        {"log": Link(RAW, LOG)},
        {"log": Link(DAG_PB, LOG)},
        {"log": 0},
        {"log": None},
        {"may": "read"},
        {"may": b"write"},
        {"may": True},
        {"sig": bytes(63)},
        {"sig": "x" * 64},
        {"more": 1},
    ],
)
def test_a_certificate_of_another_form_is_none(change: dict[str, Any]) -> None:
    value = issue(BY, TO.public, LOG, "write").value()
    assert isinstance(parse_certificate(value), Certificate)
    with pytest.raises(ValueError):
        parse_certificate({**value, **change})


@pytest.mark.parametrize("missing", ["by", "to", "log", "may", "sig"])
def test_a_certificate_lacks_none_of_its_keys(missing: str) -> None:
    value = issue(BY, TO.public, LOG, "write").value()
    del value[missing]
    with pytest.raises(ValueError, match="exactly the keys"):
        parse_certificate(value)


@pytest.mark.parametrize("value", [None, [], "device", b"", 1])
def test_what_is_no_map_is_no_certificate(value: object) -> None:
    with pytest.raises(ValueError, match="exactly the keys"):
        parse_certificate(value)


@pytest.mark.parametrize(
    ("to", "log", "may"), [(TO.public, None, "write"), (b"", LOG, "write"), (TO.public, b"", "device")]
)
def test_a_certificate_that_no_peer_would_take_is_not_issued(to: bytes, log: bytes | None, may: Any) -> None:
    with pytest.raises(ValueError, match="a certificate names a key"):
        issue(BY, to, log, may)
