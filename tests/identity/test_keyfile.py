"""Key files: private, whole or not there, and sealed by a passphrase."""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from debros.blocks import dagcbor
from debros.errors import IdentityError
from debros.identity import keyfile
from debros.identity.keys import Identity

SEED = bytes(range(100, 132))
ANA = Identity.from_seed(SEED)
MAGIC = b"debros key 1\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "ana.key"


@pytest.fixture(autouse=True)
def _little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyfile, "PASSES", 1)
    monkeypatch.setattr(keyfile, "MEMORY", 8 * 1024)


def contents(file: Path) -> dict[str, Any]:
    value = dagcbor.decode(file.read_bytes()[len(MAGIC) + 32 :])
    assert isinstance(value, dict)
    return value


def put(file: Path, body: bytes) -> None:
    """Write a key file with a good checksum around anything."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.touch(mode=0o600)
    file.write_bytes(MAGIC + sha256(body).digest() + body)


@pytest.mark.parametrize("passphrase", [None, "correct horse", "p\u00e4ss \u2713", " "])
def test_a_saved_identity_is_loaded_again(file: Path, passphrase: str | None) -> None:
    phone = ANA.new_device()
    for identity in (ANA, phone):
        identity.save(file, passphrase)
        loaded = Identity.load(str(file), passphrase)
        assert loaded == identity
        assert loaded.did == ANA.did
        assert loaded.device(bytes(16)).certificate == identity.device(bytes(16)).certificate
        assert (loaded.root is None) == (identity is phone)


def test_the_file_and_its_directory_are_private(file: Path) -> None:
    ANA.save(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert os.listdir(file.parent) == [file.name], "nothing is left beside it"


def test_a_file_that_is_there_is_replaced_and_stays_private(file: Path) -> None:
    bo = Identity.from_seed(bytes(32))
    bo.save(file)
    file.chmod(0o644)
    ANA.save(file)
    assert Identity.load(file) == ANA
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ANA.save(file)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(IdentityError, match="No space left"):
        Identity.from_seed(bytes(32)).save(file)
    assert os.listdir(file.parent) == [file.name]
    assert Identity.load(file) == ANA


def test_a_sealed_file_does_not_hold_the_seed(file: Path) -> None:
    ANA.save(file)
    assert SEED in file.read_bytes()
    ANA.save(file, "correct horse")
    assert SEED not in file.read_bytes()
    first = file.read_bytes()
    ANA.save(file, "correct horse")
    assert contents(file)["salt"] not in first, "salt and nonce are fresh each time"
    assert contents(file)["nonce"] not in first


def test_the_work_of_a_sealed_file_is_that_of_rfc_9106(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    ANA.save(file, "correct horse")
    assert (contents(file)["passes"], contents(file)["memory"]) == (3, 64 * 1024 * 1024)
    assert Identity.load(file, "correct horse") == ANA


@pytest.mark.parametrize("wrong", ["", "Correct horse", "correct horse ", "\ud800"])
def test_a_wrong_passphrase_opens_nothing(file: Path, wrong: str) -> None:
    ANA.save(file, "correct horse")
    with pytest.raises(IdentityError, match="passphrase"):
        Identity.load(file, wrong)


def test_a_sealed_file_asks_for_its_passphrase(file: Path) -> None:
    ANA.save(file, "correct horse")
    with pytest.raises(IdentityError, match="give its passphrase"):
        Identity.load(file)


def test_an_empty_passphrase_is_a_mistake(file: Path) -> None:
    with pytest.raises(IdentityError, match="empty"):
        ANA.save(file, "")
    assert not file.exists()


def test_one_passphrase_has_one_form_on_all_keyboards(file: Path) -> None:
    ANA.save(file, "p\u00e4ss")
    assert Identity.load(file, "pa\u0308ss") == ANA


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_no_flipped_bit_goes_unnoticed(file: Path, passphrase: str | None) -> None:
    ANA.save(file, passphrase)
    good = file.read_bytes()
    for at in range(0, len(good), 3):
        file.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        with pytest.raises(IdentityError, match="damaged" if at >= len(MAGIC) else "not a key file"):
            Identity.load(file, passphrase)


@pytest.mark.parametrize("size", [0, 5, len(MAGIC), len(MAGIC) + 31, len(MAGIC) + 40])
def test_a_file_cut_short_is_damaged(file: Path, size: int) -> None:
    ANA.save(file)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(IdentityError, match="damaged" if size >= len(MAGIC) else "not a key file"):
        Identity.load(file)


SEALED = {"salt": bytes(16), "nonce": bytes(24), "passes": 1, "memory": 8192, "sealed": bytes(60)}


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"key": SEED},
        {"key": SEED[:31], "certificate": None},
        {"key": SEED.hex(), "certificate": None},
        {"key": SEED, "certificate": None, "more": 1},
        {"key": SEED, "certificate": {}},
        {"key": SEED, "certificate": ANA.new_device()._certificate.value()},  # type: ignore[union-attr]  # a device has one
        {**SEALED, "salt": bytes(15)},
        {**SEALED, "nonce": bytes(23)},
        {**SEALED, "passes": "1"},
        {**SEALED, "memory": True},
        {**SEALED, "sealed": None},
        {**SEALED, "sealed": b""},
        {**SEALED, "sealed": bytes(15)},
        {**SEALED, "more": 1},
        {"sealed": bytes(60)},
    ],
)
def test_a_file_with_other_contents_is_damaged(file: Path, value: Any) -> None:
    put(file, dagcbor.encode(value))
    with pytest.raises(IdentityError, match="damaged"):
        Identity.load(file, "correct horse")


@pytest.mark.parametrize("sealed", [bytes(16), bytes(60)])
def test_sealed_bytes_that_do_not_open_are_a_wrong_passphrase(file: Path, sealed: bytes) -> None:
    put(file, dagcbor.encode({**SEALED, "sealed": sealed}))
    with pytest.raises(IdentityError, match="wrong passphrase"):
        Identity.load(file, "correct horse")


@pytest.mark.parametrize(
    "demand",
    [{"memory": 100 * 2**30}, {"memory": 2**64 - 1}, {"memory": 0}, {"memory": -1}, {"passes": 10**9}, {"passes": 0}],
)
def test_a_hostile_file_cannot_demand_a_hundred_gigabytes(file: Path, demand: dict[str, int]) -> None:
    put(file, dagcbor.encode({**SEALED, **demand}))
    with pytest.raises(IdentityError, match="not opened"):
        Identity.load(file, "correct horse")


def test_a_large_file_is_not_read_whole(file: Path) -> None:
    put(file, bytes(10**6))
    with pytest.raises(IdentityError, match="damaged"):
        Identity.load(file)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_read_is_refused_with_the_cure(file: Path, mode: int) -> None:
    ANA.save(file)
    file.chmod(mode)
    with pytest.raises(IdentityError, match=f"chmod 600 {file}"):
        Identity.load(file)
    file.chmod(0o600)
    assert Identity.load(file) == ANA


def test_what_is_no_file_is_said_so(file: Path) -> None:
    with pytest.raises(IdentityError, match="no key file at"):
        Identity.load(file)
    file.mkdir(parents=True)
    with pytest.raises(IdentityError, match=r"cannot read|not a key file"):
        Identity.load(file)
    with pytest.raises(IdentityError, match="cannot write"):
        ANA.save(file)


def test_a_secret_has_no_text() -> None:
    assert SEED.hex() not in repr(keyfile.Secret(SEED, None))
    assert repr(keyfile.Secret(SEED, None)) == "<Secret>"
