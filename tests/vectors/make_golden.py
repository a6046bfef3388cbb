"""Makes golden_v1.json: the project's own vectors, in the layout of format_v1.json.

    python -m tests.vectors.make_golden

Keys are fixed seeds, clocks fixed numbers, and every expectation is stated here by hand: the script makes only
bytes. A test holds that the committed file is what the script makes, so bytes change only
on purpose, with a version number.
"""

from __future__ import annotations

import json
from hashlib import sha512
from pathlib import Path
from typing import Any

from nacl import bindings as nacl

from debros.blocks import cid, dagcbor
from debros.identity.certificate import Certificate, issue
from debros.identity.did import tag
from debros.identity.signing import SigningKey
from debros.log.entry import DOMAIN
from debros.log.manifest import Manifest
from tests.support.entries import (
    NOW,
    OPEN,
    T0,
    TEAM,
    U2,
    USER,
    V2,
    WILD,
    A,
    B,
    D,
    E,
    MemoryLog,
    U,
    V,
    Writer,
    body,
    digest,
    fields,
    first,
    link,
    post,
    resign,
    sign,
)

FILE = Path(__file__).with_name("golden_v1.json")
KEYS = {"A": A, "D": D, "E": E, "U": U, "U2": U2, "B": B, "V": V, "V2": V2}
LOGS = {"user": USER, "open": OPEN, "wild": WILD, "team": TEAM}
SOME = digest(b"some block that is nowhere")


class Entries:
    """The table of cases at the gate. The number that begins the name of a refused or held one is the step."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def _add(self, name: str, log: str, header: bytes, raw: bytes | None, given: tuple[str, ...], **row: Any) -> bytes:
        row = {
            "name": name,
            "log": log,
            "given": list(given),
            "now": row.pop("now", NOW),
            "header": header.hex(),
            "body": None if raw is None else raw.hex(),
            "cid": cid.to_text(digest(header)),
            **row,
        }
        self.rows.append(row)
        return digest(header)

    def admitted(
        self, name: str, log: str, header: bytes, raw: bytes, user: SigningKey | bytes, *given: str, now: int = NOW
    ) -> bytes:
        public = user if isinstance(user, bytes) else user.public
        return self._add(name, log, header, raw, given, now=now, verdict="admitted", error=None, user=public.hex())

    def known(self, name: str, log: str, header: bytes, raw: bytes | None, user: SigningKey, *given: str) -> None:
        self._add(name, log, header, raw, given, verdict="known", error=None, user=user.public.hex())

    def refused(
        self, name: str, error: str, log: str, header: bytes, raw: bytes | None, *given: str, now: int = NOW
    ) -> None:
        self._add(name, log, header, raw, given, now=now, verdict="refused", error=error, user=None)

    def held(
        self, name: str, error: str, log: str, header: bytes, raw: bytes | None, *given: str, now: int = NOW
    ) -> None:
        self._add(name, log, header, raw, given, now=now, verdict="held", error=error, user=None)


def forged(certificate: Certificate) -> Certificate:
    return certificate._replace(sig=certificate.sig[:-1] + bytes([certificate.sig[-1] ^ 1]))


def padded(signer: SigningKey, log: Manifest, raw: bytes, size: int) -> bytes:
    """A header of exactly this size, by an extension that may be ignored."""
    room = size - len(first(signer, log, raw, x={"pad": bytes(3000)})) + 3000
    return first(signer, log, raw, x={"pad": bytes(room)})


def entries() -> list[dict[str, Any]]:
    made = Entries()
    raw = body([post()])
    root = first(A, USER, raw)
    at = made.admitted("root", "user", root, raw, A)
    mine = fields(A.public, USER, raw, p=link(at), s=1, t=T0 + 1)  # the usual second entry, to be bent
    second = sign(A, mine)
    at2 = made.admitted("second", "user", second, raw, A, "root")

    def bent(**more: Any) -> bytes:
        return sign(A, {key: item for key, item in {**mine, **more}.items() if item is not ...})

    device = issue(A, D.public, None, "device")
    device_here = issue(A, D.public, USER.log_id, "device")
    _shapes(made, raw, at, bent)
    _certificates(made, raw, device, device_here)
    _step_1(made, raw, second)
    _steps_2_and_3(made, raw, at, bent, device)
    _step_4_and_5(made, raw, at, second, bent)
    _step_6(made, bent)
    _steps_7_to_11(made, raw, at, at2, bent)
    return made.rows


def _shapes(made: Entries, raw: bytes, at: bytes, bent: Any) -> None:
    cipher = b"\x9b" * 40
    encrypted = bent(b=link(digest(cipher), cid.RAW), l=40, e=bytes(16))
    made.admitted("encrypted", "user", encrypted, cipher, A, "root")
    made.admitted("extension", "user", bent(x={"later": [1, None, "x"]}), raw, A, "root")
    made.admitted("extension, empty", "user", bent(x={}), raw, A, "root")
    empty = b""
    made.admitted(
        "encrypted, extension, empty body",
        "user",
        bent(b=link(digest(empty), cid.RAW), l=0, e=b"\xff" * 16, x={"a": 1.5}),
        empty,
        A,
        "root",
    )
    made.admitted("header of 4,096 bytes", "wild", padded(E, WILD, raw, 4096), raw, E)
    made.admitted("greatest clock", "wild", first(E, WILD, raw, t=2**63 - 1), raw, E, now=2**47)
    for number in (0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32):
        made.admitted(f"clock {number}", "wild", first(E, WILD, raw, t=number), raw, E)

    made.admitted("ops is not a list of changes but a list", "wild", first(E, WILD, body([1, "x"])), body([1, "x"]), E)
    merge = body()
    heads = [made.admitted(f"head {n}", "open", first(KEYS[n], OPEN, merge), merge, KEYS[n]) for n in ("E", "U", "V")]
    names = ("head E", "head U", "head V")
    all_heads = [link(head) for head in sorted(heads)]
    made.admitted("merge of three heads", "open", first(B, OPEN, merge, n=all_heads, t=T0 + 1), merge, B, *names)
    made.known("the same entry again", "open", first(E, OPEN, merge), merge, E, "head E")
    made.known("known, with another body", "open", first(E, OPEN, merge), raw, E, "head E")
    made.known("known, without a body", "open", first(E, OPEN, merge), None, E, "head E")
    other = body(None, salt=1)
    made.admitted("same author and number, another entry", "open", first(E, OPEN, other), other, E, "head E")
    for name, body_raw in {
        "body: transaction": body([post()], tx=[bytes(16), 3]),
        "body: transaction of another form": body([post()], tx=[bytes(15), 3]),
        "body: unknown key": body([post()], zzz=[1.5]),
        "body: 10,000 changes": body([0] * 10_000),
        "body: 100 acts": body(None, act=["?"] * 100),
        "body: 24 levels": body(None, zzz=nested(23)),
    }.items():
        made.admitted(name, "wild", first(E, WILD, body_raw), body_raw, E)


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def _certificates(made: Entries, raw: bytes, device: Certificate, device_here: Certificate) -> None:
    grant = issue(A, U.public, TEAM.log_id, "write")
    u2 = issue(U, U2.public, TEAM.log_id, "device")

    def team(signer: SigningKey, *certificates: Certificate) -> bytes:
        return first(signer, TEAM, raw, c=[certificate.value() for certificate in certificates])

    made.admitted("device for every log", "user", first(D, USER, raw, c=[device.value()]), raw, A)
    made.admitted("device for this log", "user", first(D, USER, raw, c=[device_here.value()]), raw, A)
    made.admitted("device in an open log", "open", first(D, OPEN, raw, c=[device.value()]), raw, A)
    made.admitted("stranger's device in an open log", "wild",
                  first(U2, WILD, raw, c=[issue(U, U2.public, None, "device").value()]), raw, U)  # fmt: skip
    made.admitted("grant", "team", team(U, grant), raw, U)
    made.admitted("grant by the other admin", "team", team(U, issue(B, U.public, TEAM.log_id, "write")), raw, U)
    made.admitted("device, then grant", "team", team(U2, u2, grant), raw, U)
    made.admitted("admin's device", "team", team(D, device), raw, A)
    made.admitted("admin as a stranger's device, in an open log", "open",
                  first(A, OPEN, raw, c=[issue(E, A.public, None, "device").value()]), raw, E)  # fmt: skip
    user_grant = issue(A, E.public, USER.log_id, "write")
    made.admitted("grant in a user's log", "user", first(E, USER, raw, c=[user_grant.value()]), raw, E)
    for name, header in {
        "no grant": first(U, TEAM, raw),
        "stranger in a user's log": first(E, USER, raw),
        "grant by a stranger": team(U, issue(E, U.public, TEAM.log_id, "write")),
        "grant by an admin's device": team(U, issue(D, U.public, TEAM.log_id, "write")),
        "grant for another log": team(U, issue(A, U.public, OPEN.log_id, "write")),
        "grant for another user": team(U, issue(A, V.public, TEAM.log_id, "write")),
        "grant to the device, not the user": team(U2, u2, issue(A, U2.public, TEAM.log_id, "write")),
        "grant to an admin": team(B, issue(A, B.public, TEAM.log_id, "write")),
        "grant in an open log": first(U, OPEN, raw, c=[issue(A, U.public, OPEN.log_id, "write").value()]),
        "forged grant": team(U, forged(grant)),
        "device for another log": first(D, USER, raw, c=[issue(A, D.public, OPEN.log_id, "device").value()]),
        "device of a stranger": first(D, USER, raw, c=[issue(E, D.public, None, "device").value()]),
        "another device's certificate": first(V, USER, raw, c=[device.value()]),
        "device of itself": first(A, USER, raw, c=[issue(A, A.public, None, "device").value()]),
        "forged device": first(D, OPEN, raw, c=[forged(device).value()]),
        "grant in the other domain": team(U, grant._replace(sig=A.sign(DOMAIN + dagcbor.encode(grant.value())[:-70]))),
    }.items():
        log = next(log for log, manifest in LOGS.items() if b"am" + dagcbor.encode(link(manifest.log_id)) in header)
        made.refused(f"9 {name}", "NotAllowedError", log, header, raw)
    made.refused("9 not allowed, and clock of a link", "NotAllowedError", "team",
                 first(U, TEAM, raw, n=[link(digest(team(D, device)))]), raw, "admin's device")  # fmt: skip


def _step_1(made: Entries, raw: bytes, second: bytes) -> None:
    bad = "MalformedEntryError"
    made.refused("1 header of 4,097 bytes", bad, "wild", padded(E, WILD, raw, 4097), raw)
    made.refused("1 no bytes", bad, "user", b"", raw, "root")
    made.refused("1 a byte behind", bad, "user", second + b"\0", raw, "root")
    made.refused("1 a byte short", bad, "user", second[:-1], raw, "root")
    made.refused("1 a list", bad, "user", dagcbor.encode([1]), raw, "root")
    at = second.index(b"av\x01")
    longer = second[:at] + b"av\x18\x01" + second[at + 3 :]
    made.refused("1 v in two bytes", bad, "user", resign(A, longer), raw, "root")
    made.refused("1 v a short float", bad, "user", resign(A, second[:at] + b"av\xf9\x3c\x00" + second[at + 3 :]), raw)
    indefinite = resign(A, b"\xbf" + second[1:])
    made.refused("1 indefinite map", bad, "user", indefinite + b"\xff", raw, "root")
    twice = b"\xab" + second[1:at] + b"av\x01" + second[at:]
    made.refused("1 v twice", bad, "user", resign(A, twice), raw, "root")
    swapped = second[:1] + second[38 : 38 + 43] + second[1:38] + second[38 + 43 :]
    made.refused("1 b before a", bad, "user", resign(A, swapped), raw, "root")
    made.refused("1 tag 43", bad, "user", resign(A, second.replace(b"\xd8\x2a", b"\xd8\x2b", 1)), raw, "root")
    deep = first(E, WILD, raw, x={"y": nested(22)})  # the header, `x`, and 22 arrays: 24 levels
    made.admitted("x of 24 levels", "wild", deep, raw, E)
    deeper = deep.replace(b"ax\xa1ay", b"ax\xa1ay\x81")
    made.refused("1 x of 25 levels", bad, "wild", resign(E, deeper), raw)
    made.refused("1 newer, and not strict", bad, "user", resign(A, second[:at] + b"av\x18\x02" + second[at + 3 :]), raw)


def _steps_2_and_3(made: Entries, raw: bytes, at: bytes, bent: Any, device: Certificate) -> None:
    newer, bad = "NewerFormatError", "MalformedEntryError"
    later = {**device.value(), "may": "read"}
    for name, header in {
        "v 2": bent(v=2),
        "greatest v": bent(v=2**64 - 1),
        "v 2 and all else wrong": sign(A, {"v": 2}),
        "unknown key": bent(d=1),
        "unknown key, and a missing one": bent(d=1, a=...),
        "unknown key, other log": bent(d=1, m=link(SOME)),
        "unknown may": first(D, USER, raw, c=[later]),
        "unknown may beside a number": first(D, USER, raw, c=[1, {"may": ""}]),
        "unknown may, not first of its chain": bent(c=[later]),
    }.items():
        made.held(f"2 {name}", newer, "user", header, raw, "root")
    malformed: dict[str, dict[str, Any]] = {
        "v 0": {"v": 0},
        "v -1": {"v": -1},
        "v text": {"v": "2"},
        "v null": {"v": None},
        "a 31 bytes": {"a": bytes(31)},
        "a a link": {"a": link(bytes(32))},
        "b bytes": {"b": digest(raw)},
        "b raw without e": {"b": link(digest(raw), cid.RAW)},
        "b dag-cbor with e": {"e": bytes(16)},
        "b dag-pb": {"b": link(digest(raw), cid.DAG_PB)},
        "e 15 bytes": {"e": bytes(15), "b": link(digest(raw), cid.RAW)},
        "e null": {"e": None, "b": link(digest(raw), cid.RAW)},
        "l above a mebibyte": {"l": 2**20 + 1},
        "l a float": {"l": 1.5},
        "l true": {"l": True},
        "m raw": {"m": link(USER.log_id, cid.RAW)},
        "n null": {"n": None},
        "n twice the same": {"n": [link(SOME), link(SOME)]},
        "n holds p": {"n": [link(at)]},
        "n holds bytes": {"n": [SOME]},
        "n raw": {"n": [link(SOME, cid.RAW)]},
        "p null at 1": {"p": None},
        "p at 0": {"s": 0},
        "p missing": {"p": ...},
        "s 2^53": {"s": 2**53},
        "s -1": {"s": -1},
        "t 2^63": {"t": 2**63},
        "t -1": {"t": -1},
        "x null": {"x": None},
        "c at 1": {"c": [device.value()]},
        "bad form, other log": {"m": link(SOME), "s": 2**53},
    }
    for name, more in malformed.items():
        made.refused(f"3 {name}", bad, "user", bent(**more), raw, "root")
    for key in ("a", "b", "l", "m", "n", "s", "t", "v"):
        made.refused(f"3 {key} missing", bad, "user", bent(**{key: ...}), raw, "root")
    unsigned = fields(A.public, USER, raw)
    made.refused("3 sig missing", bad, "user", dagcbor.encode(unsigned), raw)
    made.refused("3 sig of 63 bytes", bad, "user", dagcbor.encode({**unsigned, "sig": bytes(63)}), raw)
    grant = issue(A, U.public, TEAM.log_id, "write").value()
    u2 = issue(U, U2.public, None, "device").value()
    for name, c in {
        "null": None,
        "empty": [],
        "three": [u2, grant, grant],
        "grant before device": [grant, u2],
        "two devices": [u2, u2],
        "two grants": [grant, grant],
        "null in the list": [None],
        "a key missing": [{key: grant[key] for key in ("by", "to", "log", "may")}],
        "grant without a log": [{**grant, "log": None}],
        "log raw": [{**grant, "log": link(TEAM.log_id, cid.RAW)}],
        "by of 31 bytes": [{**grant, "by": bytes(31)}],
        "may null": [{**grant, "may": None}],
    }.items():
        made.refused(f"3 certificates: {name}", bad, "team", first(U2, TEAM, raw, c=c), raw)


def _step_4_and_5(made: Entries, raw: bytes, at: bytes, second: bytes, bent: Any) -> None:
    made.refused("4 another log", "WrongLogError", "open", second, raw)
    made.refused("4 another log, no body, orphan", "WrongLogError", "open", second, None)
    wrong = "SignatureError"
    made.refused("5 last byte", wrong, "user", second[:-1] + bytes([second[-1] ^ 1]), raw, "root")
    made.refused("5 by another key", wrong, "user", resign(D, second), raw, "root")
    made.refused("5 no domain", wrong, "user", second[:-64] + _bare(A, second[:-70]), raw, "root")
    made.refused("5 over the digest", wrong, "user", second[:-64] + A.sign(DOMAIN + digest(second[:-70])), raw, "root")
    made.refused("5 all zero", wrong, "user", second[:-64] + bytes(64), raw, "root")
    made.refused("5 wrong, and the body missing", wrong, "user", resign(D, second), None, "root")
    made.refused("5 wrong, and a wrong body", wrong, "user", resign(D, second), b"?", "root")
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(second[-32:], "little") + order
    made.refused("5 S not below the order", wrong, "user", second[:-32] + s.to_bytes(32, "little"), raw, "root")
    small = [bytes([1]) + bytes(31), bytes(32), _ORDER_8]
    for n, key in enumerate(small):
        header = dagcbor.encode({**fields(key, WILD, raw), "sig": key + bytes(32)})
        made.refused(f"5 key of small order {n}", wrong, "wild", header, raw)
    mixed = nacl.crypto_core_ed25519_add(A.public, _ORDER_8)
    for divisible in (True, False):
        header = _mixed(mixed, raw, divisible)
        if divisible:
            made.admitted("mixed-order key, equation holds without the cofactor", "wild", header, raw, mixed)
        else:
            made.refused("5 mixed-order key, equation holds only with the cofactor", wrong, "wild", header, raw)


_ORDER_8 = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")


def _bare(signer: SigningKey, message: bytes) -> bytes:
    return nacl.crypto_sign(message, nacl.crypto_sign_seed_keypair(signer.seed())[1])[:64]


def _mixed(public: bytes, raw: bytes, divisible: bool) -> bytes:
    """Sign for A's key plus a point of order 8. S*B = R + h*key holds exactly when 8 divides h."""
    secret = bytearray(sha512(A.seed()).digest()[:32])
    secret[0] &= 248
    secret[31] = secret[31] & 63 | 64
    scalar = nacl.crypto_core_ed25519_scalar_reduce(bytes(secret) + bytes(32))
    for attempt in range(1000):
        header = dagcbor.encode({**fields(public, WILD, raw, t=T0 + attempt), "sig": bytes(64)})
        message = DOMAIN + header[:-70]
        nonce = nacl.crypto_core_ed25519_scalar_reduce(sha512(b"nonce" + message).digest())
        point = nacl.crypto_scalarmult_ed25519_base_noclamp(nonce)
        challenge = nacl.crypto_core_ed25519_scalar_reduce(sha512(point + public + message).digest())
        if (challenge[0] % 8 == 0) == divisible:
            product = nacl.crypto_core_ed25519_scalar_mul(challenge, scalar)
            return header[:-64] + point + nacl.crypto_core_ed25519_scalar_add(nonce, product)
    raise AssertionError("a thousand challenges, and none as wanted")


def _step_6(made: Entries, bent: Any) -> None:
    wrong = "BodyError"
    salt = {"salt": bytes(16)}
    for name, raw in {
        "no map": dagcbor.encode([]),
        "salt of 15 bytes": dagcbor.encode({"salt": bytes(15)}),
        "salt of text": dagcbor.encode({"salt": "x" * 16}),
        "ops null": dagcbor.encode({**salt, "ops": None}),
        "ops a map": dagcbor.encode({**salt, "ops": {}}),
        "10,001 changes": dagcbor.encode({**salt, "ops": [0] * 10_001}),
        "act null": dagcbor.encode({**salt, "act": None}),
        "101 acts": dagcbor.encode({**salt, "act": [0] * 101}),
        "25 levels": b"\xa2czzz" + b"\x81" * 24 + b"\x00" + b"dsaltP" + bytes(16),
        "keys out of order": b"\xa2dsaltP" + bytes(16) + b"cops\x80",
        "salt twice": b"\xa2" + 2 * (b"dsaltP" + bytes(16)),
        "long length": b"\xa1dsaltX\x10" + bytes(16),
        "no bytes": b"",
        "float32": b"\xa2czzz\xfa\x3f\x80\x00\x00dsaltP" + bytes(16),
        "NaN": b"\xa2czzz\xfb\x7f\xf8" + bytes(6) + b"dsaltP" + bytes(16),
        "not UTF-8": b"\xa2czzza\xffdsaltP" + bytes(16),
        "tag 2": b"\xa2czzz\xc2A\x01dsaltP" + bytes(16),
    }.items():
        made.refused(f"6 body: {name}", wrong, "user", bent(b=link(digest(raw)), l=len(raw)), raw, "root")
    raw, other = body([post()]), body([post(2)])
    made.refused("6 another body", wrong, "user", bent(), other, "root")
    made.refused("6 length", wrong, "user", bent(l=len(raw) + 1), raw, "root")
    made.refused("6 encrypted, another body", wrong, "user", bent(b=link(digest(b"x"), cid.RAW), l=1, e=bytes(16)),
                 b"y", "root")  # fmt: skip
    made.held("6 body missing", "MissingBodyError", "user", bent(), None, "root")
    made.held("6 body missing, and orphan", "MissingBodyError", "user", bent(), None)


def _steps_7_to_11(made: Entries, raw: bytes, at: bytes, at2: bytes, bent: Any) -> None:
    made.held("7 p unknown", "OrphanError", "user", bent(), raw)
    made.held("7 a link unknown", "OrphanError", "user", bent(n=[link(SOME)]), raw, "root")
    made.held("7 p unknown, clock too far", "OrphanError", "user", bent(t=T0 + (10**7 << 16)), raw)
    made.held(
        "7 p of another author unknown",
        "OrphanError",
        "open",
        sign(E, fields(E.public, OPEN, raw, p=link(SOME), s=1)),
        raw,
    )
    chain = "ChainError"
    made.refused("8 number skipped", chain, "user", bent(s=2), raw, "root")
    made.refused("8 number repeated", chain, "user", bent(p=link(at2), s=1, t=T0 + 2), raw, "root", "second")
    stolen = sign(U, fields(U.public, OPEN, raw, p=link(digest(first(E, OPEN, body()))), s=1, t=T0 + 1))
    made.refused("8 another author's entry", chain, "open", stolen, raw, "head E")
    clock = "ClockError"
    made.refused("10 clock of p", clock, "user", bent(t=T0), raw, "root")
    made.refused("10 clock zero behind p", clock, "user", bent(t=0), raw, "root")
    late = sign(E, fields(E.public, OPEN, body(), p=None, n=[link(digest(first(U, OPEN, body())))], t=T0 - 1))
    made.refused("10 clock below a link's", clock, "open", late, body(), "head U")
    future = (NOW + 300_001) << 16
    made.held("11 300,001 ms ahead", "FutureError", "user", bent(t=future), raw, "root")
    made.held("11 greatest clock", "FutureError", "user", bent(t=2**63 - 1), raw, "root")
    made.admitted("300,000 ms ahead, last count", "user", bent(t=future - 1), raw, A, "root")
    made.admitted("300,001 ms ahead, a millisecond later", "user", bent(t=future), raw, A, "root", now=NOW + 1)


def manifests() -> list[dict[str, str]]:
    good = {"v": 1, "app": "a", "open": True, "part": [], "scope": "global", "admins": []}
    two = sorted((A.public, B.public))
    many = sorted(bytes([n]) * 32 for n in range(17))
    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("app of 64", "valid", {"app": "a-9" * 21 + "z"}),
        ("user", "valid", {"scope": "user", "open": False, "admins": [A.public]}),
        ("shard of a user's log", "valid",
         {"scope": "user", "open": False, "admins": [A.public], "part": ["Post", "user 0/4"]}),
        ("16 admins, closed", "valid", {"open": False, "admins": many[:16]}),
        ("shard of 128", "valid", {"part": ["_" * 63, "~" * 127 + " "]}),
        ("v 2", "newer", {"v": 2}),
        ("v 2, all else missing", "newer", {"v": 2, "app": 0, "scope": 0}),
        ("v 0", "invalid", {"v": 0}),
        ("v true", "invalid", {"v": True}),
        ("app of 65", "invalid", {"app": "a" * 65}),
        ("app empty", "invalid", {"app": ""}),
        ("app with a line end", "invalid", {"app": "a\n"}),
        ("app of other digits", "invalid", {"app": "\u0661"}),
        ("17 admins", "invalid", {"admins": many}),
        ("admins descending", "invalid", {"admins": two[::-1]}),
        ("admin twice", "invalid", {"admins": [A.public, A.public]}),
        ("admin of 31 bytes", "invalid", {"admins": [bytes(31)]}),
        ("admins null", "invalid", {"admins": None}),
        ("closed without admins", "invalid", {"open": False}),
        ("user, open", "invalid", {"scope": "user", "admins": [A.public]}),
        ("user, no admin", "invalid", {"scope": "user", "open": False}),
        ("scope null", "invalid", {"scope": None}),
        ("part of one", "invalid", {"part": ["Post"]}),
        ("part of three", "invalid", {"part": ["Post", "0/2", ""]}),
        ("part null", "invalid", {"part": None}),
        ("part a map", "invalid", {"part": {}}),
        ("model of 64", "invalid", {"part": ["m" * 64, "0/2"]}),
        ("model begins with a digit", "invalid", {"part": ["9x", "0/2"]}),
        ("model with a line end", "invalid", {"part": ["Post\n", "0/2"]}),
        ("shard empty", "invalid", {"part": ["Post", ""]}),
        ("shard of 129", "invalid", {"part": ["Post", "x" * 129]}),
        ("shard with DEL", "invalid", {"part": ["Post", "\x7f"]}),
    ]  # fmt: skip
    rows = [(name, verdict, dagcbor.encode({**good, **more})) for name, verdict, more in cases]
    rows += [(f"{key} missing", "invalid", dagcbor.encode({k: good[k] for k in good if k != key})) for key in good]
    block = dagcbor.encode(good)
    rows += [
        ("a byte behind", "invalid", block + b"\0"),
        ("a list", "invalid", b"\x80"),
        ("no bytes", "invalid", b""),
        ("unknown key, not strict", "invalid", dagcbor.encode({**good, "zz": 1}) + b"\0"),
    ]
    return [{"name": name, "bytes": block.hex(), "verdict": verdict} for name, verdict, block in rows]


def folds() -> list[dict[str, Any]]:
    return [_ids(), _forms(), *_cuts()]


def _fold(name: str, log: MemoryLog, void: list[bytes], skipped: list[tuple[bytes, int]]) -> dict[str, Any]:
    manifest = next(name for name, manifest in LOGS.items() if manifest == log.manifest)
    return {
        "name": name,
        "log": manifest,
        "now": NOW,
        "entries": [[header.hex(), raw.hex()] for header, raw in log.raw],
        "void": sorted(digest.hex() for digest in void),
        "skipped": sorted([digest.hex(), at] for digest, at in skipped),
    }


def _ids() -> dict[str, Any]:
    log = MemoryLog(OPEN)
    of_u, of_e = f"x~{tag(U.public)}", f"~{tag(E.public)}"

    def ops(*ids: str) -> list[Any]:
        return [["Post", 1, id, {"put": {"a": 1}}] for id in ids]

    ids = ("free", of_u, of_e, "x~admin", "~admin", "x~" + "a" * 20, "x~" + "A" * 20, "x~" + "a" * 19, "x~1" + "a" * 19)
    by_u = Writer(log, U).write(ops(*ids), t=0)
    by_u2 = Writer(log, U2, issue(U, U2.public, None, "device")).write(ops(*ids), t=1)
    Writer(log, A).write(ops(*ids), t=2)
    Writer(log, D, issue(A, D.public, None, "device")).write(ops(*ids), t=3)
    skipped = [(digest, at) for digest in (by_u, by_u2) for at in (2, 3, 4, 5)]
    return _fold("owner tags and admin ids", log, [], skipped)


def _forms() -> dict[str, Any]:
    log = MemoryLog(WILD)
    dot = bytes(32)
    dots = [n.to_bytes(32, "big") for n in range(257)]
    control = [f"a{chr(n)}" for n in (0, 0x1F, 0x7F, 0x80, 0x9F)]
    good: list[Any] = [
        ["P", 0, "~", {}],
        ["P", 2**64 - 1, "\u00a0", {"put": {}, "inc": {}, "add": {}, "rem": {}, "keep": {}}],
        ["_" * 63, 1, "é" * 64, {"put": {"_" * 63: None}}],
        ["P", 1, "i" * 128, {"inc": {"n": 2**63 - 1, "m": -(2**63)}}],
        ["P", 1, "g1", {"rem": {"s": [["x", dots[:256]]]}, "add": {"s": []}}],
        ["P", 1, "g2", {"keep": {"k": [None, []]}, "live": False}],
        ["P", 1, "g3", {"keep": {"k": [None, dots[:256]]}}],
        ["P", 1, "g4", {"rem": {"s": []}, "later": {"é": 1}}],
        ["Q", 1, "g4", {"live": True}],
    ]
    bad: list[Any] = [
        [],
        None,
        {},
        ["P", 1, "b0", {}, 0],
        ["é", 1, "b1", {}],
        ["", 1, "b1", {}],
        ["P\n", 1, "b1", {}],
        [b"P", 1, "b1", {}],
        ["P", True, "b1", {}],
        ["P", 1.0, "b1", {}],
        ["P", None, "b1", {}],
        ["P", 1, "é" * 65, {}],
        ["P", 1, None, {}],
        *(["P", 1, id, {}] for id in control),
        ["P", 1, "b2", None],
        ["P", 1, "b3", {"put": []}],
        ["P", 1, "b4", {"put": {"": 1}}],
        ["P", 1, "b5", {"put": {"n" * 64: 1}}],
        ["P", 1, "b6", {"inc": {"n": True}}],
        ["P", 1, "b7", {"inc": {"n": 2**63}}],
        ["P", 1, "b8", {"inc": {"n": None}}],
        ["P", 1, "b9", {"add": {"s": {}}}],
        ["P", 1, "c0", {"rem": {"s": {}}}],
        ["P", 1, "c1", {"rem": {"s": [["x"]]}}],
        ["P", 1, "c2", {"rem": {"s": [["x", [dot], 0]]}}],
        ["P", 1, "c3", {"rem": {"s": [["x", dots]]}}],
        ["P", 1, "c4", {"rem": {"s": [["x", [dot, dot]]]}}],
        ["P", 1, "c5", {"rem": {"s": [["x", [bytes(31)]]]}}],
        ["P", 1, "c6", {"rem": {"s": [["x", None]]}}],
        ["P", 1, "c7", {"keep": {"k": ["x", dots]}}],
        ["P", 1, "c8", {"keep": {"k": ["x", [dots[1], dots[0]]]}}],
        ["P", 1, "c9", {"keep": {"k": "x"}}],
        ["P", 1, "d0", {"keep": []}],
        ["P", 1, "d1", {"live": 0}],
        ["P", 1, "d2", {"put": {"a": 1}, "inc": {"é": 1}}],
        ["P", 2, "g4", {"put": {"a": 1}}],  # a second change for (P, g4), whatever its version
        ["P", 1, "b2", {"put": {"a": 1}}],  # the first was skipped, and is the first all the same
    ]
    made = Writer(log, E).write(good + bad, t=0)
    return _fold("forms of changes", log, [], [(made, at) for at in range(len(good), len(good) + len(bad))])


def _cut(key: SigningKey, *ends: bytes, lift: bool = False) -> list[Any]:
    return ["cut", key.public, None if lift else [link(end) for end in ends]]


def _cuts() -> list[dict[str, Any]]:
    rows = []
    u2_is_u = issue(U, U2.public, None, "device")
    d_is_a = issue(A, D.public, None, "device")

    log = MemoryLog(WILD)
    device = Writer(log, U2, u2_is_u)
    kept, gone = device.write([post()], t=0), device.write([post(2)], t=1)
    branch = device.at(kept).write([post(3)], t=2)
    Writer(log, U).write(acts=[_cut(U2, kept)], t=3)
    later = device.write([post(4)], t=4)
    rows.append(_fold("a user cuts its device behind an entry", log, [gone, branch, later], []))

    log = MemoryLog(WILD)
    device = Writer(log, U2, u2_is_u)
    device.write([post()], t=0)
    root = Writer(log, U)
    root.write(acts=[_cut(U2)], t=1)
    root.write(acts=[_cut(U2, lift=True)], t=2)
    rows.append(_fold("the greatest stamp wins: a cut is lifted", log, [], []))

    log = MemoryLog(WILD)
    stranger, victim = Writer(log, E), Writer(log, U)
    victim.write([post()], t=0)
    stranger.write(acts=[_cut(U), _cut(E)], t=1)
    device = Writer(log, U2, u2_is_u)
    device.write(acts=[_cut(U), _cut(E)], t=2)
    rows.append(_fold("cuts of others, of oneself and by devices hit nobody", log, [], []))

    log = MemoryLog(OPEN)
    by_device = Writer(log, U2, u2_is_u).write([post()], t=0)
    by_root = Writer(log, U).write([post(2)], t=1)
    Writer(log, U2).write([post(3)], t=2)  # the same key as a user of its own: another chain, another user
    spared = Writer(log, E).write([post(4)], t=3)
    Writer(log, A).write(acts=[_cut(U), ["cut", E.public, [link(spared)], 0], ["zap"], _cut(B)], t=4)
    rows.append(_fold("an admin's cut of a user hits all chains of the user", log, [by_device, by_root], []))

    log = MemoryLog(OPEN)
    as_device = Writer(log, U2, u2_is_u).write([post()], t=0)
    as_user = Writer(log, U2).write([post(2)], t=1)
    Writer(log, U).write([post(3)], t=2)
    Writer(log, D, d_is_a).write(acts=[_cut(U2)], t=3)
    rows.append(_fold("an admin's cut of a key hits it in every role", log, [as_device, as_user], []))

    log = MemoryLog(TEAM)
    Writer(log, B).write([post()], t=0)
    admin_device = Writer(log, D, d_is_a).write([post(2)], t=1)
    root = Writer(log, A)
    root.write(acts=[_cut(B), _cut(D)], t=2)
    rows.append(_fold("admins cannot cut admins, but their own devices", log, [admin_device], []))

    log = MemoryLog(OPEN)
    Writer(log, U).write([post()], t=0)
    stolen = Writer(log, D, d_is_a)
    cut_by_stolen = stolen.write(acts=[_cut(U)], t=1)
    Writer(log, A).write(acts=[_cut(D)], t=2)
    rows.append(_fold("first pass before the second: a stolen admin device cuts nobody", log, [cut_by_stolen], []))

    log = MemoryLog(OPEN)
    Writer(log, U2, u2_is_u).write([post()], t=0)
    own_cut = Writer(log, U).write(acts=[_cut(U2)], t=1)
    Writer(log, A).write(acts=[_cut(U), _cut(U2, lift=True)], t=2)
    device_entry = next(fact.digest for fact in log.facts.values() if fact.author == U2.public)
    rows.append(_fold("second pass before the third: void by the user, not by its void root", log,
                      [own_cut, device_entry], []))  # fmt: skip

    log = MemoryLog(OPEN)
    Writer(log, U2, u2_is_u).write([post()], t=0)
    root = Writer(log, U)
    before = root.write([post(2)], t=1)
    own_cut = root.write(acts=[_cut(U2)], t=2)
    device_entry = next(fact.digest for fact in log.facts.values() if fact.author == U2.public)
    Writer(log, A).write(acts=[_cut(U, before, device_entry)], t=3)
    rows.append(_fold("an own cut behind an admin's cut counts no more", log, [own_cut], []))

    log = MemoryLog(OPEN)
    tail = Writer(log, E)
    one, two = tail.write([post()], t=0), tail.write([post(2)], t=1)
    Writer(log, A).write(acts=[_cut(E, SOME)], t=2)
    rows.append(_fold("an end that is not known adds nothing", log, [one, two], []))

    log = MemoryLog(OPEN)
    Writer(log, E).write([post()], t=0)
    Writer(log, A).write(acts=[_cut(E), _cut(E, lift=True)], t=5)
    rows.append(_fold("within one entry the index decides", log, [], []))
    return rows


def build() -> dict[str, Any]:
    """The whole file."""
    return {
        "format": 1,
        "keys": {
            name: {"seed": key.seed().hex(), "public": key.public.hex(), "tag": tag(key.public)}
            for name, key in KEYS.items()
        },
        "logs": {name: manifest.block.hex() for name, manifest in LOGS.items()},
        "manifests": manifests(),
        "entries": entries(),
        "folds": folds(),
    }


def text() -> str:
    """The file as it is committed."""
    return json.dumps(build(), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
