"""Sealed boxes: what only the holder of a user's root key can read; nobody can tell who sealed it.

libsodium's `crypto_box_seal`, to the bit, but for its randomness, which the caller gives: an ephemeral X25519 key, the box under
the nonce BLAKE2b-192 of both public keys. The Ed25519 keys of users are turned into X25519 keys as RFC 7748 and
libsodium's `crypto_sign_ed25519_*_to_curve25519` say.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from nacl.bindings import (
    crypto_box,
    crypto_box_open,
    crypto_box_seed_keypair,
    crypto_scalarmult_base,
    crypto_sign_ed25519_pk_to_curve25519,
    crypto_sign_ed25519_sk_to_curve25519,
)
from nacl.exceptions import CryptoError

_KEY: Final = 32
OVERHEAD: Final = _KEY + 16  # bytes that a sealed box is longer than what is in it


def seal(to: bytes, data: bytes, randomness: bytes) -> bytes:
    """Return a box for a user, by the public root key; `randomness` are 32 bytes fit for keys.

    Raises:
        ValueError: it is no key that can be sealed to.
    """
    try:
        theirs = crypto_sign_ed25519_pk_to_curve25519(to)
    except (CryptoError, RuntimeError) as error:  # a point that is no key
        raise ValueError("nobody holds this key, so nothing can be sealed to it") from error
    public, secret = crypto_box_seed_keypair(randomness)
    box: bytes = crypto_box(data, _nonce(public, theirs), theirs, secret)
    return public + box


def unseal(sealed: bytes, seed: bytes, public: bytes) -> bytes:
    """Return what is in a box, with the seed and public part of the key that it is sealed to.

    Raises:
        ValueError: it is sealed to another key, or damaged.
    """
    secret = crypto_sign_ed25519_sk_to_curve25519(seed + public)
    theirs, box = sealed[:_KEY], sealed[_KEY:]
    try:
        data: bytes = crypto_box_open(box, _nonce(theirs, crypto_scalarmult_base(secret)), theirs, secret)
    except (CryptoError, ValueError, TypeError) as error:
        raise ValueError("sealed to another key, or damaged") from error
    return data


def _nonce(ephemeral: bytes, theirs: bytes) -> bytes:
    return blake2b(ephemeral + theirs, digest_size=24).digest()
