"""The admission gate: may this entry into this log?

Three answers, from the entry and its ancestors alone: admitted; refused, for ever and by every node
(`EntryRefusedError`); held, not now (`EntryHeldError`). What an admitted entry means is decided later, by the
fold. The steps and their order are those of docs/format.md; each function here is a run of them, so that a caller
may check many signatures apart, in threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from debros.errors import (
    BodyError,
    ChainError,
    ClockError,
    EntryHeldError,
    EntryRefusedError,
    FutureError,
    MissingBodyError,
    OrphanError,
    SignatureError,
    WrongLogError,
)
from debros.identity.signing import verify
from debros.log import clock as clocks
from debros.log.body import Body, parse_body
from debros.log.certificate import user_of_chain
from debros.log.entry import Header, parse_header
from debros.log.manifest import Manifest

MOST_AHEAD_MS: Final = 300_000


class Known(NamedTuple):
    """What the gate has to know of an admitted entry."""

    author: bytes  # the key that signed it
    seq: int
    clock: int
    user: bytes  # root key of its chain


class LogState(Protocol):
    """A log as the gate sees it."""

    @property
    def log_id(self) -> bytes:
        """Digest of the manifest."""
        ...

    @property
    def manifest(self) -> Manifest:
        """Who may write."""
        ...

    def entry(self, digest: bytes) -> Known | None:
        """Return an admitted entry of this log, or `None`."""
        ...


class Checked(NamedTuple):
    """An entry behind steps 1 to 6, which need nothing but its bytes and the log's id."""

    header: Header
    body: Body | None  # None when it is encrypted


class Admission(NamedTuple):
    """An entry that may in, or is in already."""

    header: Header
    body: Body | None  # None when it is encrypted, and for an entry that was known
    user: bytes  # root key of the chain
    known: bool  # admitted before: nothing changes


_checked = partial(tuple.__new__, Checked)  # as the classes, of a tuple: a call of Python less for each entry
_admission = partial(tuple.__new__, Admission)


def judge(
    header_raw: bytes, body_raw: bytes | None, log: LogState, now_ms: int, checked: Checked | None = None
) -> Admission:
    """Put an entry through the gate. `body_raw` is `None` when it did not come; `now_ms` this node's clock.

    `checked` is what `check_alone` said of these very bytes, where it was asked before.

    Raises:
        EntryRefusedError: never to be admitted; the subclass says at which step.
        EntryHeldError: not to be admitted now.
    """
    header = read(header_raw, log) if checked is None else checked.header
    if (known := log.entry(header.digest)) is not None:
        return Admission(header, None, known.user, known=True)
    if checked is None:
        check_signature(header)
        body = check_body(header, body_raw)
    else:
        body = checked.body
    user = check_place(header, log)
    check_time(header, now_ms)
    return _admission((header, body, user, False))


def check_alone(
    entries: Iterable[tuple[bytes, bytes | None, bytes]], log: LogState, parse: Callable[[bytes], Body] = parse_body
) -> list[Checked]:
    """Steps 1 to 6 of some entries, in any thread: of the log nothing is asked but its id. It ends before the first not good.

    All are read before the first signature is verified: the tables of that are as large as a processor's first cache, and
    whatever follows finds it empty.

    Args:
        entries: of each the header, the body if it came, and the digest of the header.
        log: that they are for.
        parse: what reads a body.

    Returns:
        What is known of each. Whoever has to know why one is not among them asks `judge`.
    """
    found: list[Checked] = []
    try:
        for header_raw, body_raw, digest in entries:
            header = read(header_raw, log, digest)
            found.append(_checked((header, check_body(header, body_raw, parse))))
    except (EntryRefusedError, EntryHeldError):
        pass
    for n, (header, _) in enumerate(found):
        try:
            check_signature(header)
        except SignatureError:
            return found[:n]
    return found


def read(header_raw: bytes, log: LogState, digest: bytes | None = None) -> Header:
    """Steps 1 to 4: a header of good form, for this log. `digest` is its own, where it is known.

    Raises:
        MalformedEntryError: it is none.
        NewerFormatError: a later version of the format.
        WrongLogError: it is for another log.
    """
    header = parse_header(header_raw, digest)
    if header.log != log.log_id:
        raise WrongLogError(f"the entry is for the log {header.log.hex()}, this is {log.log_id.hex()}")
    return header


def check_signature(header: Header) -> None:
    """Step 5. Needs nothing but the header.

    Raises:
        SignatureError: the author did not sign it.
    """
    if not verify(header.author, header.signed(), header.sig):
        raise SignatureError(f"not signed by its author {header.author.hex()}")


def check_body(header: Header, body_raw: bytes | None, parse: Callable[[bytes], Body] = parse_body) -> Body | None:
    """Step 6. Return the body, or `None` when it is encrypted.

    A wrong body is the fault of who delivered it: nothing may be remembered against the header.

    Raises:
        MissingBodyError: it did not come.
        BodyError: these bytes are not the body that the header names, or it is not of the form.
    """
    if body_raw is None:
        raise MissingBodyError("the body did not come with the header")
    if len(body_raw) != header.length:
        raise BodyError(f"a body of {len(body_raw)} bytes, the header says {header.length}")
    if sha256(body_raw).digest() != header.body:
        raise BodyError("these bytes are not the body that the header names")
    return parse(body_raw) if header.epoch is None else None


def check_place(header: Header, log: LogState) -> bytes:
    """Steps 7 to 10: parents, chain, right to write, clock. Return the root key of the chain's user.

    Raises:
        OrphanError: parents are not admitted.
        ChainError: `prev` is not the author's entry before this one.
        NotAllowedError: the chain may not write here.
        ClockError: the clock is not after every parent's.
    """
    known_parents: list[Known] = []
    missing: list[bytes] = []
    for parent in header.parents():
        known = log.entry(parent)
        if known is None:
            missing.append(parent)
        else:
            known_parents.append(known)
    if missing:
        raise OrphanError(f"{len(missing)} parents are not here yet", tuple(missing))
    if header.prev is not None:
        prev = known_parents[0]
        if prev.author != header.author:
            raise ChainError("the previous entry is by another author")
        if prev.seq != header.seq - 1:
            raise ChainError(f"entry number {header.seq} follows number {prev.seq}")
        user = prev.user
    else:
        user = user_of_chain(header.author, header.certificates, log.manifest)
    for known in known_parents:
        if header.clock <= known.clock:
            raise ClockError(f"clock {header.clock} is not after a parent's, {known.clock}")
    return user


def check_time(header: Header, now_ms: int) -> None:
    """Step 11. Held until its time has come; a held clock never moves ours.

    Raises:
        FutureError: more than 300,000 ms ahead of now.
    """
    ahead = clocks.ms(header.clock) - now_ms
    if ahead > MOST_AHEAD_MS:
        raise FutureError(f"the clock is {ahead} ms ahead of this node's; {MOST_AHEAD_MS} are allowed")
