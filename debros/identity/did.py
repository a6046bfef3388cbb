"""Names of a key: its DID, which people and other programs see, and its owner tag, which document ids carry.

A DID here is `did:key:z` + base58btc of (multicodec ed25519-pub `ed 01`, 32 bytes of key): one text for one
key. The owner tag is 20 characters of `[a-z2-7]`; an id that ends in `~` + tag can be written by that user only
(docs/format.md, Changes).

did:key: https://w3c-ccg.github.io/did-key-spec/; base58btc is Bitcoin's alphabet.
"""

from __future__ import annotations

from base64 import b32encode
from functools import lru_cache
from hashlib import sha256
from typing import Final

KEY_SIZE: Final = 32
TAG_SIZE: Final = 20

_PREFIX: Final = "did:key:z"
_ED25519: Final = b"\xed\x01"
_LONGEST: Final = 64  # a DID of ours has 56 characters; nothing longer is worth arithmetic on big integers
_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGIT: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_OWNER: Final = b"debros/owner/1\0"


@lru_cache(maxsize=4096)
def did_of(key: bytes) -> str:
    """Return the DID of an Ed25519 public key, e.g. `did:key:z6Mk...`."""
    if len(key) != KEY_SIZE:
        raise ValueError(f"an Ed25519 public key has {KEY_SIZE} bytes, not {len(key)}")
    number, letters = int.from_bytes(_ED25519 + key, "big"), []
    while number:
        number, digit = divmod(number, 58)
        letters.append(_ALPHABET[digit])
    return _PREFIX + "".join(reversed(letters))  # `ed` is not zero, so there are no leading zero bytes to mark


@lru_cache(maxsize=4096)
def key_of(did: str) -> bytes:
    """Return the public key (32 bytes) that a DID names.

    Raises:
        ValueError: it is not the `did:key` text of an Ed25519 key.
    """
    digits = did.removeprefix(_PREFIX)
    if len(did) > _LONGEST or digits == did or not _DIGIT.keys() >= set(digits):
        raise ValueError(f"not a did:key of an Ed25519 key: {did[:80]!r}")
    number = 0
    for letter in digits:
        number = number * 58 + _DIGIT[letter]
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    key = raw[len(_ED25519) :]
    if raw[: len(_ED25519)] != _ED25519 or len(key) != KEY_SIZE or did_of(key) != did:
        raise ValueError(f"not a did:key of an Ed25519 key: {did[:80]!r}")
    return key


@lru_cache(maxsize=65536)
def tag(key: bytes) -> str:
    """Return the owner tag of a user: 20 characters of `[a-z2-7]`, from the root key."""
    return b32encode(sha256(_OWNER + key).digest())[:TAG_SIZE].decode("ascii").lower()
