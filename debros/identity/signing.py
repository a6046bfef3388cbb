"""Ed25519 as all nodes of a log have to agree on it: libsodium's rules.

S is below the group order, public keys and R of small order are refused, a key is in its one encoding, and R is
compared as bytes, hence without the cofactor. Libraries differ exactly there, so golden vectors pin a key of
mixed order: two nodes with different rules would keep different logs.

RFC 8032; Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs", 2020.
"""

from __future__ import annotations

from typing import Final, Protocol

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

SIGNATURE_SIZE: Final = 64
PUBLIC_SIZE: Final = 32
SEED_SIZE: Final = 32
DOMAIN: Final = b"debros/"  # identity keys sign nothing that does not begin so


class Signer(Protocol):
    """Something that holds a private key."""

    @property
    def public(self) -> bytes:
        """The key that verifies, 32 bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes.

        Raises:
            ValueError: the message does not begin with `debros/`.
        """
        ...


class SigningKey:
    """A private key in memory, which says nothing about itself: no text, no copy, no pickle holds the secret."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE:
            raise ValueError(f"a seed has {SEED_SIZE} bytes, not {len(seed)}")
        self.public: bytes
        self.public, self._secret = crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes.

        Raises:
            ValueError: the message does not begin with `debros/`.
        """
        if not message.startswith(DOMAIN):
            raise ValueError(f"identity keys sign only messages that begin with {DOMAIN!r}")
        signed: bytes = crypto_sign(message, self._secret)
        return signed[:SIGNATURE_SIZE]

    def seed(self) -> bytes:
        """Return the secret itself, 32 bytes: for a key file and for deriving keys, and for nothing else."""
        return self._secret[:SEED_SIZE]

    def __repr__(self) -> str:
        return f"<SigningKey of {self.public.hex()}>"

    def __eq__(self, other: object) -> bool:
        return self.public == other.public if isinstance(other, SigningKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.public)

    def __reduce_ex__(self, protocol: object) -> str:  # what copy and pickle ask
        raise TypeError("a private key is not copied or pickled; save it to a key file")

    def __getstate__(self) -> object:
        raise TypeError("a private key is not copied or pickled; save it to a key file")


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Is this the signature of the message by this key? Total: wrong sizes are false too."""
    if len(public) != PUBLIC_SIZE or len(signature) != SIGNATURE_SIZE:  # the binding would read past their ends
        return False
    try:
        crypto_sign_open(signature + message, public)
    except BadSignatureError:
        return False
    return True
