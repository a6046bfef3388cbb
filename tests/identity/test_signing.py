"""Signatures: one rule for all nodes. Keys of small and mixed order are pinned by the golden vectors."""

from __future__ import annotations

import copy
import pickle

import pytest

from debros.identity.signing import SigningKey, verify

MESSAGE = b"debros/test\0 a message"
KEY = SigningKey(bytes(range(32)))


def test_a_signature_verifies_for_its_key_and_message_only() -> None:
    signature = KEY.sign(MESSAGE)
    assert len(signature) == 64
    assert verify(KEY.public, MESSAGE, signature)
    assert not verify(KEY.public, MESSAGE + b"\0", signature)
    assert not verify(KEY.public, b"", signature)
    assert not verify(SigningKey(bytes(32)).public, MESSAGE, signature)
    for at in range(64):
        assert not verify(KEY.public, MESSAGE, signature[:at] + bytes([signature[at] ^ 4]) + signature[at + 1 :])


def test_the_first_test_vector_of_rfc_8032_has_its_public_key() -> None:
    key = SigningKey(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert key.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_key_of_another_size_verifies_nothing(size: int) -> None:
    assert not verify(bytes(size), MESSAGE, KEY.sign(MESSAGE))


@pytest.mark.parametrize("size", [0, 63, 65, 128])
def test_a_signature_of_another_size_is_none(size: int) -> None:
    assert not verify(KEY.public, MESSAGE, KEY.sign(MESSAGE).ljust(128, b"\0")[:size])


def test_bytes_do_not_move_between_key_signature_and_message() -> None:
    signature = KEY.sign(MESSAGE)
    assert not verify(KEY.public + b"\0", MESSAGE, signature)
    assert not verify(KEY.public, MESSAGE[1:], signature + MESSAGE[:1])
    assert not verify(KEY.public, signature[-1:] + MESSAGE, signature[:-1])


@pytest.mark.parametrize("message", [b"", b"debros", b"Debros/", b"x" * 200, bytes(32)])
def test_a_key_signs_nothing_that_does_not_begin_with_its_domain(message: bytes) -> None:
    with pytest.raises(ValueError, match="debros/"):
        KEY.sign(message)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(bytes(size))


def test_a_key_keeps_its_secret() -> None:
    assert KEY.seed().hex() not in repr(KEY)
    assert repr(KEY.seed()) not in repr(KEY)
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps, SigningKey.__getstate__):
        with pytest.raises(TypeError, match="not copied or pickled"):
            attempt(KEY)
    with pytest.raises(TypeError):
        vars(KEY)


def test_keys_are_equal_by_their_public_half() -> None:
    assert SigningKey(bytes(range(32))) == KEY
    assert hash(SigningKey(bytes(range(32)))) == hash(KEY)
    assert SigningKey(bytes(32)) != KEY
    assert KEY.public != KEY
