"""What peers say to each other: the requests and answers of `/debros/sync/1`, as DAG-CBOR with hard limits.

Every request is one list that begins with its kind, every answer one list or, for `fetch`, several frames of entries. A
frame of any other form is a `ProtocolError`, which its peer pays for. Logs are named by id (32 bytes), entries by the
digest of their header; ranges of entries by the first hex digits of their digests.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from struct import error as StructError
from typing import Any, Final, NamedTuple, TypeAlias

from debros.blocks import dagcbor
from debros.errors import ProtocolError
from debros.identity.certificate import Certificate, parse_certificate
from debros.log.entry import MAX_BODY, MAX_SIZE
from debros.replica.receive import Delivery

PROTOCOL: Final = "/debros/sync/1"

MAX_LOGS: Final = 50_000  # in one hello
MAX_HEADS: Final = 256  # in an answer; a log with more is compared by ranges
MAX_OFFERED_HEADS: Final = 16  # in a request
MAX_COMPARED: Final = 256  # logs in one request; to answer costs about as much as an offer
MAX_RANGES: Final = 256  # in one request
MAX_LISTED: Final = 4096  # entries of one range
MAX_FETCHED: Final = 1024  # entries in one request
MAX_OFFERED: Final = 256
FRAME_SIZE: Final = 256 << 10  # where a frame of entries is closed and the next begun; one sync to disk each
OFFERED_SIZE: Final = 64 << 10  # bytes of entries in an offer
MAX_ANSWER: Final = 4 << 20  # bytes of an answer
DIGEST: Final = 32
PRINT: Final = 16  # bytes of a fingerprint
MARK: Final = 16  # bytes by which a hello names a log
NONCE: Final = 16
RECORD: Final = 40  # clock (8 bytes, big-endian) and digest of an entry, in a list
FAN_OUT: Final = 16

_ENTRY: Final = Struct(">BBH").unpack_from  # how an entry begins whose header has 256 bytes and more
_LONG: Final = Struct(">BH").unpack_from  # likewise its body
_DELIVERY: Final = tuple.__new__  # a call of Python less for each
DIGITS: Final = frozenset("0123456789abcdef")
NOT_SHARED: Final = dagcbor.encode(["no"])  # the answer about a log that is not here, or not for the asker


class NotSharedError(ProtocolError):
    """The peer does not hold this log any more, or does not serve it to us."""


class Proof(NamedTuple):
    """Who a peer is in its logs: a key, what certifies it, and its signature (`debros.sync.membership`)."""

    key: bytes
    certificate: Certificate | None
    sig: bytes


class Hello(NamedTuple):
    """Which logs do we share? `marks` name those of the asker to nobody who does not hold them too."""

    nonce: bytes
    marks: list[bytes]
    proof: Proof | None


class Welcome(NamedTuple):
    """Which of the marks the answerer holds and serves, and what the asker has to sign to be served more."""

    nonce: bytes
    shared: list[int]
    refused: list[int]  # held, but served to members only


class Compare(NamedTuple):
    """Which of these logs are in another state at yours? `prints` are of all heads of each, the first half."""

    logs: list[bytes]
    prints: list[bytes]


class Verdict(NamedTuple):
    """Which of the logs are in another state here, and which are not here or not for the asker; all others are equal."""

    different: list[int]
    absent: list[int]


class Offer(NamedTuple):
    """The state of the asker's log, and entries that are new there."""

    log: bytes
    print: bytes  # of all its heads
    heads: list[bytes]  # the newest of them
    entries: list[Delivery]


class State(NamedTuple):
    """The state of the answerer's log, after an offer. `heads` is empty where they are equal."""

    equal: bool
    known: bool  # everything the asker's heads stand for is here, or was refused or is held
    size: int  # entries
    heads: list[bytes]


class Range(NamedTuple):
    """The entries whose digests begin with these hex digits, on one side."""

    prefix: str
    size: int  # entries
    print: bytes


class Ranges(NamedTuple):
    """What do you have in these ranges that may differ?"""

    log: bytes
    ranges: list[Range]


class Fetch(NamedTuple):
    """Send these entries."""

    log: bytes
    digests: list[bytes]


class Attest(NamedTuple):
    """Sign that you hold this entry, durably."""

    log: bytes
    digest: bytes


Request: TypeAlias = Hello | Compare | Offer | Ranges | Fetch | Attest
Children: TypeAlias = list[tuple[int, bytes]]  # count and fingerprint of each of the 16 ranges below a range
Difference: TypeAlias = "Children | bytes | None"  # the ranges below; or all its entries, listed; or: ask again


def encode_request(request: Request) -> bytes:
    """Return the bytes of a request."""
    match request:
        case Hello(nonce, marks, proof):
            certificate = proof.certificate.value() if proof is not None and proof.certificate is not None else None
            shown = None if proof is None else [proof.key, certificate, proof.sig]
            return dagcbor.encode(["hello", nonce, b"".join(marks), shown])
        case Compare(logs, prints):
            return dagcbor.encode(["compare", b"".join(logs), b"".join(prints)])
        case Offer(log, fingerprint, heads, entries):
            return dagcbor.encode(["offer", log, fingerprint, b"".join(heads), [list(entry) for entry in entries]])
        case Ranges(log, ranges):
            return dagcbor.encode(["ranges", log, [list(range) for range in ranges]])
        case Fetch(log, digests):
            return dagcbor.encode(["fetch", log, b"".join(digests)])
        case Attest(log, digest):
            return dagcbor.encode(["attest", log, digest])


def parse_request(frame: bytes) -> Request:
    """Read a request.

    Raises:
        ProtocolError: it has not the form of any.
    """
    match _list(frame):
        case ["hello", nonce, marks, proof]:
            return Hello(_bytes(nonce, NONCE), _split(marks, MARK, MAX_LOGS), _proof(proof))
        case ["compare", logs, prints]:
            compare = Compare(_split(logs, DIGEST, MAX_COMPARED), _split(prints, PRINT, MAX_COMPARED))
            if len(compare.logs) == len(compare.prints):
                return compare
        case ["offer", log, fingerprint, heads, entries]:
            return Offer(
                _bytes(log, DIGEST), _bytes(fingerprint, DIGEST), _split(heads, DIGEST, MAX_OFFERED_HEADS),
                _entries(entries, MAX_OFFERED),
            )  # fmt: skip
        case ["ranges", log, list(ranges)] if len(ranges) <= MAX_RANGES:
            return Ranges(_bytes(log, DIGEST), [_range(range) for range in ranges])
        case ["fetch", log, digests]:
            return Fetch(_bytes(log, DIGEST), _split(digests, DIGEST, MAX_FETCHED))
        case ["attest", log, digest]:
            return Attest(_bytes(log, DIGEST), _bytes(digest, DIGEST))
    raise ProtocolError("a request of no known kind; the peer may be newer, or no peer of ours")


def encode_welcome(welcome: Welcome) -> bytes:
    """Return the bytes of the answer to a hello."""
    return dagcbor.encode(list(welcome))


def parse_welcome(frame: bytes, asked: int) -> Welcome:
    """Read the answer to a hello with so many marks.

    Raises:
        ProtocolError: it is none.
    """
    match _list(frame):
        case [nonce, list(shared), list(refused)]:
            return Welcome(_bytes(nonce, NONCE), _indexes(shared, asked), _indexes(refused, asked))
    raise ProtocolError("not the answer to a hello")


def encode_verdict(verdict: Verdict) -> bytes:
    """Return the bytes of the answer to a comparison."""
    return dagcbor.encode(list(verdict))


def parse_verdict(frame: bytes, asked: int) -> Verdict:
    """Read the answer to a comparison of so many logs.

    Raises:
        ProtocolError: it is none.
    """
    match _list(frame):
        case [list(different), list(absent)]:
            return Verdict(_indexes(different, asked), _indexes(absent, asked))
    raise ProtocolError("not the answer to a comparison")


def encode_state(state: State) -> bytes:
    """Return the bytes of the answer to an offer."""
    return dagcbor.encode([state.equal, state.known, state.size, b"".join(state.heads)])


def parse_state(frame: bytes) -> State:
    """Read the answer to an offer.

    Raises:
        ProtocolError: it is none.
    """
    match _list(frame):
        case [bool(equal), bool(known), size, heads]:
            return State(equal, known, _uint(size), _split(heads, DIGEST, MAX_HEADS + 1))
    raise ProtocolError("not the answer to an offer")


def encode_differences(differences: Sequence[Difference]) -> bytes:
    """Return the bytes of the answer about ranges."""
    return dagcbor.encode(
        [
            [list(child) for child in difference] if isinstance(difference, list) else difference
            for difference in differences
        ]
    )


def parse_differences(frame: bytes, asked: int) -> list[Difference]:
    """Read the answer about so many ranges.

    Raises:
        ProtocolError: it is none.
    """
    found = _list(frame)
    if len(found) != asked:
        raise ProtocolError(f"an answer about {len(found)} ranges; {asked} were asked about")
    return [_difference(item) for item in found]


def encode_entries(entries: Sequence[Delivery]) -> bytes:
    """Return the bytes of a frame of entries."""
    head = dagcbor.head
    parts = [head(4, len(entries))]
    for header, body in entries:
        parts += (b"\x82", head(2, len(header)), header)
        parts += (b"\xf6",) if body is None else (head(2, len(body)), body)
    return b"".join(parts)


def parse_entries(frame: bytes) -> list[Delivery]:
    """Read a frame of entries.

    Raises:
        ProtocolError: it is none.
    """
    return _usual_entries(frame) or _entries(_list(frame), MAX_FETCHED)


def encode_receipt(receipt: bytes | None) -> bytes:
    """Return the bytes of the answer to a request for a receipt."""
    return dagcbor.encode([receipt])


def parse_receipt(frame: bytes) -> bytes | None:
    """Read the answer to a request for a receipt: its bytes, or `None` when the peer does not hold the entry.

    Raises:
        ProtocolError: it is none.
    """
    match _list(frame):
        case [None]:
            return None
        case [bytes(receipt)]:
            return receipt
    raise ProtocolError("not the answer to a request for a receipt")


# -- forms -----------------------------------------------------------------------------------------------------------


def _list(frame: bytes) -> list[Any]:
    try:
        value = dagcbor.decode_fast(frame)
    except ValueError as error:
        raise ProtocolError(f"a frame that is not strict DAG-CBOR: {error}") from error
    if type(value) is not list:
        raise ProtocolError("a frame that is no list")
    if value == ["no"]:
        raise NotSharedError("the peer does not serve this log to us")
    return value


def _bytes(value: object, size: int) -> bytes:
    if type(value) is not bytes or len(value) != size:
        raise ProtocolError(f"something else where {size} bytes belong")
    return value


def _uint(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ProtocolError("something else where a number belongs")
    return value


def _split(value: object, size: int, most: int) -> list[bytes]:
    if type(value) is not bytes or len(value) % size or len(value) > size * most:
        raise ProtocolError(f"something else where at most {most} times {size} bytes belong")
    return [value[at : at + size] for at in range(0, len(value), size)]


def _indexes(values: list[Any], below: int) -> list[int]:
    if len(values) > below or any(type(value) is not int or not 0 <= value < below for value in values):
        raise ProtocolError("an answer about logs that were not asked about")
    return values


def _entries(value: object, most: int) -> list[Delivery]:
    if type(value) is not list or len(value) > most:
        raise ProtocolError(f"something else where at most {most} entries belong")
    return [_entry(item) for item in value]


def _usual_entries(frame: bytes) -> list[Delivery] | None:
    """Cut a frame of whole entries, each half with a length of one, two or four bytes; `None`: it is not surely one.

    In a tenth of the time that the strict decoder takes, which is asked about all others and has the word.
    """
    try:
        first = frame[0]
        if 0x80 < first < 0x98:
            count, at = first & 31, 1
        elif first == 0x98:
            count, at = frame[1], 2
        else:
            count, at = int.from_bytes(frame[1:3], "big"), 3
        if not frame.startswith(dagcbor.head(4, count)) or count > MAX_FETCHED:
            return None
        found: list[Delivery] = []
        for _ in range(count):
            initial, kind, size = _ENTRY(frame, at)
            if initial != 0x82:
                return None
            if kind == 0x59 and size >= 0x100:  # what most have
                at += 4
                header = frame[at : (at := at + size)]
            else:
                header, at = _bytes_at(frame, at + 1)
            kind, size = _LONG(frame, at)
            if kind == 0x59 and size >= 0x100:
                at += 3
                body = frame[at : (at := at + size)]
            else:
                body, at = _bytes_at(frame, at)
            if len(header) > MAX_SIZE or len(body) > MAX_BODY:
                return None
            found.append(_DELIVERY(Delivery, (header, body)))
    except (IndexError, ValueError, StructError):
        return None
    return found if at == len(frame) else None  # and what was cut beyond its end is none


def _bytes_at(frame: bytes, at: int) -> tuple[bytes, int]:
    """Return the byte string of 24 bytes and more at a place, and the place behind it; ValueError: there is none."""
    initial = frame[at]
    if initial == 0x59:
        size, at = frame[at + 1] << 8 | frame[at + 2], at + 3
        is_shortest = size >= 0x100
    elif initial == 0x58:
        size, at = frame[at + 1], at + 2
        is_shortest = size >= 24
    elif initial == 0x5A:
        size, at = int.from_bytes(frame[at + 1 : at + 5], "big"), at + 5
        is_shortest = size >= 0x10000
    else:
        raise ValueError("no byte string of this size")
    end = at + size
    if not is_shortest or end > len(frame):
        raise ValueError("a length that is not the shortest, or beyond the end")
    return frame[at:end], end


def _entry(value: object) -> Delivery:
    match value:
        case [bytes(header), bytes(body)] if len(header) <= MAX_SIZE and len(body) <= MAX_BODY:
            return Delivery(header, body)
        case [bytes(header), None] if len(header) <= MAX_SIZE:
            return Delivery(header, None)
    raise ProtocolError("something else where an entry belongs: its header and its body")


def _range(value: object) -> Range:
    match value:
        case [str(prefix), count, fingerprint] if len(prefix) <= 2 * DIGEST and DIGITS.issuperset(prefix):
            return Range(prefix, _uint(count), _bytes(fingerprint, PRINT))
    raise ProtocolError("something else where a range belongs")


def _difference(value: object) -> Difference:
    if value is None:
        return None
    if type(value) is bytes and len(value) % RECORD == 0:
        return value
    if type(value) is list and len(value) == FAN_OUT:
        return [_child(item) for item in value]
    raise ProtocolError("something else where the contents of a range belong")


def _child(value: object) -> tuple[int, bytes]:
    match value:
        case [count, fingerprint]:
            return _uint(count), _bytes(fingerprint, PRINT)
    raise ProtocolError("something else where a fingerprint belongs")


def _proof(value: object) -> Proof | None:
    match value:
        case None:
            return None
        case [key, certificate, sig]:
            return Proof(_bytes(key, DIGEST), _certificate(certificate), _bytes(sig, 64))
    raise ProtocolError("something else where a proof of membership belongs")


def _certificate(value: object) -> Certificate | None:
    if value is None:
        return None
    try:
        return parse_certificate(value)
    except ValueError as error:
        raise ProtocolError(f"a proof of membership whose certificate is none: {error}") from error
