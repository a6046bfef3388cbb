"""Key files: where a secret rests.

Bytes: the line `debros key 1`, sha2-256 of the rest, then one DAG-CBOR map. Plain: `{"key": seed,
"certificate": map | null}`. With a passphrase: `{"salt": bytes 16, "nonce": bytes 24, "passes": uint,
"memory": uint, "sealed": bytes}`, where `sealed` is the plain map under XChaCha20-Poly1305 with a key from
Argon2id (version 1.3, one lane, `memory` in bytes) over the passphrase in Unicode form NFC, and the first line is
authenticated with it. The checksum tells a damaged file from a wrong passphrase.

RFC 9106 (Argon2); draft-irtf-cfrg-xchacha-03.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple
from unicodedata import normalize

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_pwhash_alg,
    crypto_pwhash_ALG_ARGON2ID13,
)
from nacl.exceptions import CryptoError

from debros.blocks import dagcbor
from debros.errors import IdentityError
from debros.identity.certificate import Certificate, parse_certificate
from debros.identity.signing import SEED_SIZE, SigningKey

_MAGIC: Final = b"debros key 1\n"
_CHECKSUM: Final = 32
_LARGEST: Final = 4096  # bytes; a key file has about 300
_SALT, _NONCE, _SEALING_KEY, _TAG = 16, 24, 32, 16

# RFC 9106, 4: the second recommended choice, for computers with little memory
PASSES: Final = 3
MEMORY: Final = 64 * 1024 * 1024

# What a file may demand when it is opened: a minute of work and a gigabyte, not a hundred
_MOST_PASSES: Final = 16
_LEAST_MEMORY, _MOST_MEMORY = 8 * 1024, 1024 * 1024 * 1024


class Secret(NamedTuple):
    """What a key file holds: a seed of 32 bytes, and the certificate when the key is a device's."""

    seed: bytes
    certificate: Certificate | None

    def __repr__(self) -> str:
        return "<Secret>"


def write(
    path: str | os.PathLike[str], secret: Secret, passphrase: str | None, random_bytes: Callable[[int], bytes]
) -> None:
    """Write a key file, readable by its owner only: whole or not at all, and on disk when this returns.

    Raises:
        IdentityError: the passphrase is empty, or the file cannot be written.
    """
    certificate = None if secret.certificate is None else secret.certificate.value()
    body = dagcbor.encode({"key": secret.seed, "certificate": certificate})
    if passphrase is not None:
        body = _seal(body, passphrase, random_bytes)
    place = Path(path)
    beside = place.with_name(f".{place.name}.{random_bytes(8).hex()}")
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _write_synced(beside, _MAGIC + sha256(body).digest() + body)
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)
        _sync_directory(place.parent)
    except OSError as error:
        raise IdentityError(f"cannot write the key file {place}: {error}") from error


def read(path: str | os.PathLike[str], passphrase: str | None) -> Secret:
    """Read a key file.

    Raises:
        IdentityError: it is not there, not a key file, damaged, readable by others, or sealed with another
            passphrase.
    """
    raw = _read_private(Path(path))
    if not raw.startswith(_MAGIC):
        raise IdentityError(f"{path} is not a key file of debros")
    checksum, body = raw[len(_MAGIC) :][:_CHECKSUM], raw[len(_MAGIC) + _CHECKSUM :]
    if sha256(body).digest() != checksum:
        raise IdentityError(f"the key file {path} is damaged; restore it from a copy")
    try:
        value = dagcbor.decode(body)
        if type(value) is dict and "sealed" in value:
            value = dagcbor.decode(_open(value, passphrase, str(path)))
        return _secret(value)
    except ValueError as error:
        raise IdentityError(f"the key file {path} is damaged ({error}); restore it from a copy") from error


def _secret(value: Any) -> Secret:
    if type(value) is not dict or value.keys() != {"key", "certificate"}:
        raise ValueError("unknown contents")
    seed, certificate = value["key"], value["certificate"]
    if type(seed) is not bytes or len(seed) != SEED_SIZE:
        raise ValueError("no key in it")
    if certificate is None:
        return Secret(seed, None)
    parsed = parse_certificate(certificate)
    if parsed.may != "device" or parsed.to != SigningKey(seed).public or not parsed.is_signed():
        raise ValueError("its certificate is not for its key")
    return Secret(seed, parsed)


def _seal(plain: bytes, passphrase: str, random_bytes: Callable[[int], bytes]) -> bytes:
    salt, nonce = random_bytes(_SALT), random_bytes(_NONCE)
    sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(
        plain, _MAGIC, nonce, _sealing_key(passphrase, salt, PASSES, MEMORY)
    )
    return dagcbor.encode({"salt": salt, "nonce": nonce, "passes": PASSES, "memory": MEMORY, "sealed": sealed})


def _open(value: dict[str, Any], passphrase: str | None, path: str) -> bytes:
    if value.keys() != {"salt", "nonce", "passes", "memory", "sealed"}:
        raise ValueError("unknown contents")
    salt, nonce, passes, memory, sealed = (value[k] for k in ("salt", "nonce", "passes", "memory", "sealed"))
    if not all(type(part) is bytes for part in (salt, nonce, sealed)) or (len(salt), len(nonce)) != (_SALT, _NONCE):
        raise ValueError("unknown contents")
    if not (type(passes) is type(memory) is int) or len(sealed) < _TAG:
        raise ValueError("unknown contents")
    if not (1 <= passes <= _MOST_PASSES and _LEAST_MEMORY <= memory <= _MOST_MEMORY):
        raise IdentityError(f"the key file {path} demands {memory} bytes and {passes} passes to open; not opened")
    if passphrase is None:
        raise IdentityError(f"the key file {path} is sealed: give its passphrase")
    try:
        opened: bytes = crypto_aead_xchacha20poly1305_ietf_decrypt(
            sealed, _MAGIC, nonce, _sealing_key(passphrase, salt, passes, memory)
        )
    except CryptoError:
        raise IdentityError(f"wrong passphrase for the key file {path}") from None
    return opened


def _sealing_key(passphrase: str, salt: bytes, passes: int, memory: int) -> bytes:
    if not passphrase:
        raise IdentityError("the passphrase is empty; leave it out for a key file without one")
    try:  # NFC: keyboards of different systems compose an accented letter differently
        text = normalize("NFC", passphrase).encode()
    except UnicodeEncodeError:
        raise IdentityError("the passphrase is not text that can be written in UTF-8") from None
    key: bytes = crypto_pwhash_alg(_SEALING_KEY, text, salt, passes, memory, alg=crypto_pwhash_ALG_ARGON2ID13)
    return key


def _read_private(place: Path) -> bytes:
    try:
        with place.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise IdentityError(f"{place} is not a key file of debros")
            if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
                raise IdentityError(f"others can read the key file {place}: chmod 600 {place}")
            return file.read(_LARGEST)
    except FileNotFoundError:
        raise IdentityError(f"there is no key file at {place}") from None
    except OSError as error:
        raise IdentityError(f"cannot read the key file {place}: {error}") from error


def _write_synced(place: Path, raw: bytes) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(place: Path) -> None:
    if os.name != "posix":  # elsewhere a directory cannot be opened, and a rename is durable with the file system
        return
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
