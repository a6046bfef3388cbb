from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks import cid
from debros.blocks.cid import Link

DIGESTS = st.binary(min_size=32, max_size=32)
CODECS = st.sampled_from(sorted(cid.CODECS))
TEXT = "bafyreidxq3ccyndshensnthke5hnacxopllu2p62yukn4rgcnamvfxenpi"


@settings(max_examples=200)
@given(DIGESTS, CODECS)
def test_text_and_bytes_lead_back_to_the_link(digest: bytes, codec: int) -> None:
    link = Link(codec, digest)
    assert cid.from_text(cid.to_text(digest, codec)) == link
    assert cid.from_bytes(cid.to_bytes(digest, codec)) == link
    assert str(link) == cid.to_text(digest, codec)


@settings(max_examples=200)
@given(DIGESTS, CODECS)
def test_the_text_is_base32_of_rfc_4648_in_lower_case_without_padding(digest: bytes, codec: int) -> None:
    binary = bytes([1, codec, 0x12, 0x20]) + digest
    assert cid.to_text(digest, codec) == "b" + base64.b32encode(binary).decode().rstrip("=").lower()


def test_the_digest_of_a_block_is_its_sha2_256() -> None:
    assert cid.digest_of(b"block") == hashlib.sha256(b"block").digest()


@pytest.mark.parametrize(("codec", "start"), [(cid.DAG_CBOR, "bafyrei"), (cid.RAW, "bafkrei"), (cid.DAG_PB, "bafybei")])
def test_the_text_begins_as_ipfs_tools_show_it(codec: int, start: str) -> None:
    assert cid.to_text(cid.digest_of(b"x"), codec).startswith(start)


def test_a_known_block_has_its_known_cid() -> None:
    # the manifest in docs/format.md: an implementation of another hand gives the same
    digest = bytes.fromhex("7786c42c3472391b26ccea274ed00aee7ad74d3fdac514de44c2681952dc8d7a")
    assert cid.to_text(digest) == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        TEXT[1:],
        TEXT[:-1],
        TEXT + "a",
        TEXT + "=",
        TEXT[:-1] + "j",  # another text of the same bytes, but for bits that say nothing
        TEXT.upper(),
        "B" + TEXT[1:].upper(),
        TEXT[:20] + TEXT[20].upper() + TEXT[21:],
        " " + TEXT,
        TEXT + "\n",
        "z" + TEXT[1:],
        TEXT[:-1] + "1",
        TEXT[:-1] + "é",
        TEXT[:-1] + "\ud800",
        TEXT[:10] + "\0" + TEXT[11:],
        "/debros/" + TEXT,
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
        "bafireidxq3ccyndshensnthke5hnacxopllu2p62yukn4rgcnamvfxenpi",
        "f01711220" + "00" * 32,
    ],
)
def test_what_is_not_the_one_text_of_a_cid_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a CID"):
        cid.from_text(text)


@pytest.mark.parametrize(
    "binary",
    [
        b"",
        bytes(36),
        cid.to_bytes(bytes(32))[:-1],
        cid.to_bytes(bytes(32)) + b"\0",
        b"\x12\x20" + bytes(32),
        b"\x00\x71\x12\x20" + bytes(32),
        b"\x02\x71\x12\x20" + bytes(32),
        b"\x01\x72\x12\x20" + bytes(32),
        b"\x01\x71\x13\x20" + bytes(32),
        b"\x01\x71\x12\x21" + bytes(32),
    ],
)
def test_what_is_not_a_binary_cid_of_ours_is_refused(binary: bytes) -> None:
    with pytest.raises(ValueError, match="not a CID"):
        cid.from_bytes(binary)


@pytest.mark.parametrize(("digest", "codec"), [(bytes(32), 0x72), (bytes(31), cid.RAW), (bytes(33), cid.DAG_CBOR)])
def test_a_codec_of_others_or_a_digest_of_another_length_has_no_cid(digest: bytes, codec: int) -> None:
    for make in (cid.to_bytes, cid.to_text):
        with pytest.raises(ValueError, match="no CID"):
            make(digest, codec)


@settings(max_examples=100)
@given(st.text(max_size=70))
def test_any_text_is_refused_or_is_the_text_of_what_it_parses_to(text: str) -> None:
    try:
        link = cid.from_text(text)
    except ValueError:
        return
    assert str(link) == text
