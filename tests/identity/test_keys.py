"""Identities: a root key is a user, each home has a device key of its own, and secrets stay inside."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from hashlib import blake2b
from random import Random

import pytest

from debros.errors import IdentityError
from debros.identity.did import did_of, tag
from debros.identity.keys import Device, Identity
from debros.identity.signing import SigningKey, verify

SEED = bytes(range(32))
ANA = Identity.from_seed(SEED)
MESSAGE = b"debros/test\0"
HOME, OTHER_HOME = bytes(16), bytes([1]) * 16


def test_an_identity_is_its_root_key() -> None:
    public = SigningKey(SEED).public
    assert ANA.user == public
    assert ANA.did == did_of(public)
    assert ANA.tag == tag(public)
    assert Identity.from_seed(SEED) == ANA
    assert hash(Identity.from_seed(SEED)) == hash(ANA)
    assert Identity.from_seed(bytes(32)) != ANA
    assert public != ANA


def test_new_identities_differ_and_follow_the_randomness_given() -> None:
    assert Identity.generate() != Identity.generate()
    assert Identity.generate(Random(1).randbytes) == Identity.generate(Random(1).randbytes)


def test_a_seed_has_32_bytes() -> None:
    with pytest.raises(IdentityError, match="32 bytes, not 31"):
        Identity.from_seed(SEED[:31])


def test_the_root_writes_without_a_certificate() -> None:
    root = ANA.root
    assert root is not None
    assert (root.public, root.user, root.certificate) == (ANA.user, ANA.user, None)
    assert verify(ANA.user, MESSAGE, root.sign(MESSAGE))


def test_a_home_writes_with_a_device_key_that_the_root_certifies() -> None:
    device = ANA.device(HOME)
    assert device.public != ANA.user
    assert device.user == ANA.user
    assert verify(device.public, MESSAGE, device.sign(MESSAGE))
    certificate = device.certificate
    assert certificate is not None
    assert certificate[:4] == (ANA.user, device.public, None, "device")
    assert certificate.is_signed()


def test_each_home_and_each_user_has_its_own_device_key() -> None:
    assert ANA.device(HOME) == ANA.device(HOME)
    assert ANA.device(HOME).certificate == ANA.device(HOME).certificate
    others = [ANA.device(HOME), ANA.device(OTHER_HOME), Identity.from_seed(bytes(32)).device(HOME), ANA.root]
    assert len({device.public for device in others if device is not None}) == 4


def test_the_derivation_is_the_documented_one() -> None:
    seed = blake2b(HOME, digest_size=32, key=SEED, person=b"debros/device/1\0").digest()
    assert ANA.device(HOME).public == SigningKey(seed).public


@pytest.mark.parametrize("size", [0, 15, 17])
def test_the_bytes_of_a_home_are_16(size: int) -> None:
    for identity in (ANA, ANA.new_device()):
        with pytest.raises(IdentityError, match="16 bytes"):
            identity.device(bytes(size))


def test_a_new_device_is_the_same_user_without_the_root() -> None:
    phone = ANA.new_device(Random(1).randbytes)
    assert (phone.user, phone.did, phone.tag) == (ANA.user, ANA.did, ANA.tag)
    assert phone != ANA
    assert phone.root is None
    device = phone.device(HOME)
    assert device == phone.device(OTHER_HOME), "it is itself the key, in every home"
    assert device.certificate is not None
    assert device.certificate[:4] == (ANA.user, device.public, None, "device")
    assert device.certificate.is_signed()
    with pytest.raises(IdentityError, match="holds the root"):
        phone.new_device()


def test_keys_sign_only_what_begins_with_the_domain() -> None:
    with pytest.raises(ValueError, match="debros/"):
        ANA.device(HOME).sign(b"transfer all")


@pytest.mark.parametrize("holder", [ANA, ANA.new_device(), ANA.root, ANA.device(HOME)])
def test_secrets_show_in_no_text_copy_or_pickle(holder: Identity | Device) -> None:
    @dataclasses.dataclass
    class Settings:
        key: Identity | Device

    secret = holder._key.seed()
    for text in (repr(holder), str(holder), f"{holder}", repr(Settings(holder))):
        assert secret.hex() not in text
        assert repr(secret)[2:-1] not in text
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps, type(holder).__getstate__):
        with pytest.raises(TypeError, match="not copied or pickled"):
            attempt(holder)  # type: ignore[arg-type]  # __getstate__ of the holder's own type
    with pytest.raises(TypeError, match="not copied or pickled"):
        dataclasses.asdict(Settings(holder))
    with pytest.raises(TypeError):
        vars(holder)


def test_a_text_names_the_user() -> None:
    assert repr(ANA) == f"<Identity {ANA.did}>"
    assert repr(ANA.new_device()) == f"<Identity {ANA.did}, a device>"
    assert ANA.did in repr(ANA.device(HOME))
