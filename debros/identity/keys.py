r"""Identities: a user, and the keys with which a user's homes write.

A user *is* a root key. A home does not write with it, but with a device key of its own: derived from the root's
seed and 16 random bytes that stay in the home, and certified by the root. So one identity serves in many homes
without two of them ever writing one chain, and a restored backup, which gets new bytes, forks nothing.
Derivation: the device's seed is BLAKE2b-256 of the 16 bytes, keyed by the root's seed, personalised by
`debros/device/1\0`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from debros.env import SYSTEM
from debros.errors import IdentityError
from debros.identity import did as names
from debros.identity import keyfile
from debros.identity.certificate import Certificate, issue
from debros.identity.sealing import unseal
from debros.identity.signing import SEED_SIZE, Signer, SigningKey

__all__ = ["Certificate", "Device", "Identity", "Signer"]

HOME_SALT_SIZE: Final = 16
_DEVICE: Final = b"debros/device/1\0"  # 16 bytes, all that BLAKE2b takes


class Device:
    """A key that writes for a user. `certificate` says so; it is `None` only when the key is the user's root."""

    __slots__ = ("_key", "certificate", "public", "user")

    def __init__(self, key: SigningKey, certificate: Certificate | None) -> None:
        self._key = key
        self.public: bytes = key.public  # 32 bytes, as the next
        self.user: bytes = key.public if certificate is None else certificate.by
        self.certificate = certificate

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes.

        Raises:
            ValueError: the message does not begin with `debros/`.
        """
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"<Device {self.public.hex()[:16]} of {names.did_of(self.user)}>"

    def __eq__(self, other: object) -> bool:
        return self.public == other.public if isinstance(other, Device) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.public)

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("a device holds a private key and is not copied or pickled; it is derived where it writes")

    def __getstate__(self) -> object:
        raise TypeError("a device holds a private key and is not copied or pickled; it is derived where it writes")


class Identity:
    """A user: the root key, or one device of the user without the root (`new_device`).

    Equal identities hold the same key. The secret shows in no text, copy or pickle; `save` is the way out.
    """

    __slots__ = ("_certificate", "_key", "did", "public", "tag", "user")

    def __init__(self, key: SigningKey, certificate: Certificate | None) -> None:
        self._key = key
        self._certificate = certificate  # None: the key is the root
        self.public: bytes = key.public  # of this key itself, 32 bytes: the root's, or the device's
        self.user: bytes = key.public if certificate is None else certificate.by  # the root's public key, 32 bytes
        self.did: str = names.did_of(self.user)  # always the user's, never a device's
        self.tag: str = names.tag(self.user)  # ids that end in `~` + tag belong to this user

    @property
    def key_did(self) -> str:
        """`did:key` of this very key: the user's DID for the root, a device's own for a device; what `revoke` takes."""
        return names.did_of(self.public)

    @classmethod
    def generate(cls, random_bytes: Callable[[int], bytes] = SYSTEM.random_bytes) -> Identity:
        """Make a new user."""
        return cls.from_seed(random_bytes(SEED_SIZE))

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """Return the user whose root key grows from these 32 bytes.

        Raises:
            IdentityError: they are not 32 bytes.
        """
        if len(seed) != SEED_SIZE:
            raise IdentityError(f"a seed has {SEED_SIZE} bytes, not {len(seed)}")
        return cls(SigningKey(seed), None)

    @classmethod
    def load(cls, path: str | os.PathLike[str], passphrase: str | None = None) -> Identity:
        """Read a key file.

        Raises:
            IdentityError: it is not there, not a key file, damaged, readable by others, or sealed with another
                passphrase.
        """
        secret = keyfile.read(path, passphrase)
        return cls(SigningKey(secret.seed), secret.certificate)

    def save(
        self,
        path: str | os.PathLike[str],
        passphrase: str | None = None,
        *,
        random_bytes: Callable[[int], bytes] = SYSTEM.random_bytes,
    ) -> None:
        """Write a key file that only this user of the computer can read; with a passphrase it is encrypted.

        A file that is there already is replaced, whole or not at all. Its directory, if missing, is made for
        this user of the computer only.

        Raises:
            IdentityError: the passphrase is empty, or the file cannot be written.
        """
        keyfile.write(path, keyfile.Secret(self._key.seed(), self._certificate), passphrase, random_bytes)

    @property
    def root(self) -> Device | None:
        """The root key as what it also is, the user's first device, without a certificate. `None` on a device."""
        return Device(self._key, None) if self._certificate is None else None

    def new_device(self, random_bytes: Callable[[int], bytes] = SYSTEM.random_bytes) -> Identity:
        """Make a device of this user that does not hold the root, and that the root can revoke.

        Raises:
            IdentityError: this is such a device itself; only the root certifies.
        """
        if self._certificate is not None:
            raise IdentityError(f"this is a device of {self.did}: only the identity that holds the root makes devices")
        key = SigningKey(random_bytes(SEED_SIZE))
        return Identity(key, issue(self._key, key.public, None, "device"))

    def device(self, home_salt: bytes) -> Device:
        """Return the key with which the home that keeps these 16 bytes writes for this user.

        A device without the root is itself that key, in every home.

        Raises:
            IdentityError: they are not 16 bytes.
        """
        if len(home_salt) != HOME_SALT_SIZE:
            raise IdentityError(f"the `device` file of a home has {HOME_SALT_SIZE} bytes, not {len(home_salt)}")
        if self._certificate is not None:
            return Device(self._key, self._certificate)
        seed = blake2b(home_salt, digest_size=SEED_SIZE, key=self._key.seed(), person=_DEVICE).digest()
        key = SigningKey(seed)
        return Device(key, issue(self._key, key.public, None, "device"))

    def unseal(self, sealed: bytes) -> bytes:
        """Return what is in a box that was sealed to this user (`debros.identity.sealing`).

        Raises:
            IdentityError: this is a device without the root, which opens nothing.
            ValueError: it is sealed to another key, or damaged.
        """
        if self._certificate is not None:
            raise IdentityError(f"a device of {self.did} without the root key cannot open what is sealed to the user")
        return unseal(sealed, self._key.seed(), self._key.public)

    def __repr__(self) -> str:
        return f"<Identity {self.did}>" if self._certificate is None else f"<Identity {self.did}, a device>"

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Identity) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("an identity is not copied or pickled; `save` and `load` it as a key file")

    def __getstate__(self) -> object:
        raise TypeError("an identity is not copied or pickled; `save` and `load` it as a key file")
