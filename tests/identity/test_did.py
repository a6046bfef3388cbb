"""One key has one DID and one owner tag."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from debros.identity.did import did_of, key_of, tag

# from the did:key specification, section "Ed25519"
SPECIFIED = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
KEY = bytes.fromhex("3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29")


def test_the_did_is_that_of_the_specification() -> None:
    assert did_of(KEY) == SPECIFIED
    assert key_of(SPECIFIED) == KEY


@given(st.binary(min_size=32, max_size=32))
def test_a_did_leads_back_to_its_key(key: bytes) -> None:
    did = did_of(key)
    assert did.startswith("did:key:z6Mk")
    assert key_of(did) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "did:key:",
        "did:key:z",
        "did:key:z6Mk",
        SPECIFIED[:-1],
        SPECIFIED + "1",
        SPECIFIED + " ",
        " " + SPECIFIED,
        SPECIFIED + "#key",
        SPECIFIED.replace("did:key:z", "did:key:z1"),
        SPECIFIED.replace("did:key:z", "did:key:"),
        SPECIFIED.replace("did:key:z", "did:key:m"),
        SPECIFIED.upper(),
        SPECIFIED[:-1] + "0",
        SPECIFIED[:-1] + "l",
        SPECIFIED[:-1] + "\u00e9",
        "did:web:example.com",
        "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169",  # a P-256 key
        "did:key:z6LSeu9HkTHSfLLeUs2nnzUSNedgDUevfNQgQjQC23ZCit6F",  # an X25519 key
        "did:key:z" + "z" * 1_000_000,
    ],
)
def test_other_text_is_not_the_did_of_a_key(text: str) -> None:
    with pytest.raises(ValueError, match="not a did:key"):
        key_of(text)


def test_only_32_bytes_are_a_key() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        did_of(KEY[:31])


@given(st.binary(min_size=32, max_size=32))
def test_an_owner_tag_is_20_characters_of_lower_case_base32(key: bytes) -> None:
    assert len(tag(key)) == 20
    assert set(tag(key)) <= set("abcdefghijklmnopqrstuvwxyz234567")
