r"""Messages between nodes: signed, perhaps compressed, perhaps sealed; a hint that may be lost, and is not stored.

On the wire a message is DAG-CBOR `[body, signature]`, and a frame a list of messages. The body is DAG-CBOR `[topic, id,
at, key, certificate, zipped, keys, data]`: 16 random bytes, microseconds since 1970 by the sender's clock, the device key
that signed and the certificate that makes it the user's (null for a root key), whether the data is compressed (RFC 1950),
the content key sealed to each recipient, and the data: DAG-CBOR `[data, metadata]`, compressed first, then encrypted. The signature is over
`debros/message/1\0` + body. With recipients the data is XChaCha20-Poly1305 under the content key, whose nonce is zero, for
each key serves one message.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt, crypto_aead_xchacha20poly1305_ietf_encrypt
from nacl.exceptions import CryptoError

from debros.blocks import dagcbor
from debros.errors import IdentityError, TooLargeError, TopicError
from debros.events.topics import is_topic
from debros.identity.certificate import parse_certificate
from debros.identity.did import did_of
from debros.identity.sealing import seal
from debros.identity.signing import verify

if TYPE_CHECKING:
    from debros.identity.keys import Device, Identity

MAX_DATA: Final = 64 << 10  # bytes of data, encoded, not compressed
MAX_RECIPIENTS: Final = 64
ZIP_FROM: Final = 1 << 10  # bytes of data that are worth compressing
MOST_RATIO: Final = 100  # of compression: who claims more is not believed
MAX_AGE_S: Final = 600  # between sending and coming, by both clocks
_DOMAIN: Final = b"debros/message/1\0"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NONCE: Final = bytes(24)


@dataclass(frozen=True, slots=True)
class Message:
    """What a subscriber to a topic gets."""

    topic: str
    data: Any  # what JSON can hold, and bytes
    sender: str  # DID of the user who signed it
    at: datetime  # by the sender's clock, in UTC
    id: bytes  # 16 bytes that tell it from others
    metadata: Mapping[str, Any]
    is_sealed: bool = False  # whether only its recipients can read it


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message whose signature is good, and whose data nobody has looked at."""

    topic: str
    id: bytes
    at_us: int
    sender: str
    zipped: bool
    keys: tuple[bytes, ...]
    data: bytes

    def opened(self, identities: Sequence[Identity]) -> Message | None:
        """Return the message; `None` if it is sealed to others.

        Raises:
            ValueError: its data is damaged, too large, or compressed beyond belief.
        """
        data = self.data
        if self.keys:
            key = _content_key(self.keys, identities)
            if key is None:
                return None
            try:
                data = crypto_aead_xchacha20poly1305_ietf_decrypt(data, None, _NONCE, key)
            except CryptoError as error:
                raise ValueError("sealed data that is damaged") from error
        if self.zipped:
            data = _unzipped(data)
        found: Any = dagcbor.decode(data)
        if type(found) is not list or len(found) != 2 or type(found[1]) is not dict:
            raise ValueError("data of another form")
        at = _EPOCH + timedelta(microseconds=self.at_us)
        return Message(self.topic, found[0], self.sender, at, self.id, found[1], bool(self.keys))


def write(
    device: Device, topic: str, data: object, metadata: Mapping[str, Any], *, to: Sequence[bytes], compress: bool,
    at_us: int, random_bytes: Callable[[int], bytes],
) -> bytes:  # fmt: skip
    """Return a signed message; `to`: root keys of the only users who may read it.

    Raises:
        TopicError: the data is of no type that a message can hold, or a recipient is no key.
        TooLargeError: the data is too large, or there are too many recipients.
    """
    try:
        encoded = dagcbor.encode([data, dict(metadata)])
    except (ValueError, TypeError) as error:
        raise TopicError(f"a message holds what JSON can, and bytes: {error}") from error
    if len(encoded) > MAX_DATA:
        raise TooLargeError(
            f"the data has {len(encoded)} bytes, and a message at most {MAX_DATA}; save a record, or add a File, and publish its id"
        )
    if len(to) > MAX_RECIPIENTS:
        raise TooLargeError(f"a message is sealed to at most {MAX_RECIPIENTS} users, not {len(to)}")
    zipped = zlib.compress(encoded) if compress and len(encoded) >= ZIP_FROM else encoded
    is_zipped = len(zipped) < len(encoded) <= MOST_RATIO * len(zipped)
    payload = zipped if is_zipped else encoded
    keys: list[bytes] = []
    if to:
        key = random_bytes(32)
        payload = crypto_aead_xchacha20poly1305_ietf_encrypt(payload, None, _NONCE, key)
        try:
            keys = [seal(user, key, random_bytes(32)) for user in to]
        except ValueError as error:
            raise TopicError(str(error)) from error
    certificate = None if device.certificate is None else device.certificate.value()
    body = dagcbor.encode([topic, random_bytes(16), at_us, device.public, certificate, is_zipped, keys, payload])
    return dagcbor.encode([body, device.sign(_DOMAIN + body)])


def read(raw: bytes) -> Envelope:
    """Read a message and check its signature.

    Raises:
        ValueError: it is of another form, or not signed by whom it names.
    """
    match dagcbor.decode(raw):
        case [bytes(body), bytes(signature)]:
            pass
        case _:
            raise ValueError("a message of another form")
    match dagcbor.decode(body):
        case [str(topic), bytes(id), int(at_us), bytes(key), certificate, bool(zipped), list(keys), bytes(data)] if (
            is_topic(topic)
            and len(id) == 16
            and len(keys) <= MAX_RECIPIENTS
            and all(type(one) is bytes for one in keys)
        ):
            pass
        case _:
            raise ValueError("a message of another form")
    if not verify(key, _DOMAIN + body, signature):
        raise ValueError("a message whose signature is not its sender's")
    user = key
    if certificate is not None:
        found = parse_certificate(certificate)
        if found.may != "device" or found.to != key or not found.is_signed():
            raise ValueError("a message by a device that is not its user's")
        user = found.by
    return Envelope(topic, id, at_us, did_of(user), zipped, tuple(keys), data)


def _content_key(keys: Sequence[bytes], identities: Sequence[Identity]) -> bytes | None:
    for identity in identities:
        for key in keys:
            try:
                found = identity.unseal(key)
            except (ValueError, IdentityError):  # for somebody else
                continue
            if len(found) == 32:
                return found
    return None


def _unzipped(data: bytes) -> bytes:
    most = min(MAX_DATA, MOST_RATIO * len(data))
    unzip = zlib.decompressobj()
    try:
        found = unzip.decompress(data, most + 1)
    except zlib.error as error:
        raise ValueError("compressed data that is damaged") from error
    if len(found) > most or not unzip.eof or unzip.unused_data:
        raise ValueError(f"compressed data of more than {most} bytes, or with more behind it")
    return found
