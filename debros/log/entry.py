r"""Headers: the signed half of an entry.

A header is a DAG-CBOR map whose last key is `sig`; the signature is over `debros/entry/1\0` + the header's own
bytes up to that key, so it is made by a splice and verified without encoding anything. The keys and their
meaning are in docs/format.md, Entry. The body is the other half (`debros.log.body`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache, partial
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final, NamedTuple

from debros.blocks import cid, dagcbor
from debros.blocks.dagcbor import head
from debros.errors import MalformedEntryError, NewerFormatError
from debros.identity.certificate import MAYS, Certificate, parse_certificate
from debros.identity.signing import PUBLIC_SIZE, SIGNATURE_SIZE, Signer
from debros.log import clock as clocks

VERSION: Final = 1
MAX_SIZE: Final = 4096  # bytes of a header
MAX_BODY: Final = 2**20  # bytes of a body
MAX_LINKS: Final = 32  # in `n`
MAX_CERTIFICATES: Final = 2
SEQ_LIMIT: Final = 2**53
EPOCH_SIZE: Final = 16
DOMAIN: Final = b"debros/entry/1\0"
SIG_SIZE: Final = 70  # the key `sig`, the head of its value, the signature: what is not signed

_REQUIRED: Final = {"a", "b", "l", "m", "n", "p", "s", "t", "v", "sig"}
_KNOWN: Final = _REQUIRED | {"c", "e", "x"}
_LINK: Final = b"\xd8\x2a\x58\x25\x00\x01\x71\x12\x20"  # a link to a dag-cbor block, up to its digest
_LINK_SIZE: Final = len(_LINK) + 32
_SIG: Final = b"\x63sig\x58\x40"
_AFTER: Final = b"\x80ap" + _LINK  # no other heads, and the link to the entry before


class Header(NamedTuple):
    """A header of good form; nothing about its signature, its parents or its author's rights is implied.

    Digests are sha2-256 of dag-cbor blocks, 32 bytes.
    """

    author: bytes  # `a`: the key that verifies, one per device
    body: bytes  # `b`: digest of the body
    body_codec: int  # `b`: 0x71, or 0x55 when the body is encrypted
    certificates: tuple[Certificate, ...]  # `c`: device, then write; only where a chain begins
    epoch: bytes | None  # `e`: id of the key that encrypts the body, 16 bytes
    length: int  # `l`: of the body, in bytes
    log: bytes  # `m`: the log id
    next: tuple[bytes, ...]  # `n`: other heads the author knew, ascending
    prev: bytes | None  # `p`: the author's previous entry; None exactly when `seq` is 0
    seq: int  # `s`: the author's number in this log
    clock: int  # `t`: hybrid clock
    extensions: dict[str, Any] | None  # `x`: may be ignored
    sig: bytes  # 64 bytes
    digest: bytes  # of the header itself: what links to the entry name
    raw: bytes

    def signed(self) -> bytes:
        """The bytes that `sig` is over."""
        return DOMAIN + self.raw[:-SIG_SIZE]

    def parents(self) -> tuple[bytes, ...]:
        """`prev`, if there is one, and `next`."""
        return self.next if self.prev is None else (self.prev, *self.next)


_usual = partial(tuple.__new__, Header)  # as `Header`, of a tuple: a call of Python less for each entry


def parse_header(raw: bytes, digest: bytes | None = None) -> Header:
    """Read a header: the gate's steps 1 to 3. `digest` is its sha2-256, where the caller knows it.

    Raises:
        MalformedEntryError: longer than 4 KiB, not strict DAG-CBOR, or not of the form.
        NewerFormatError: a later version of the format, an unknown key, or an unknown kind of certificate.
    """
    return _parse_usual(raw, digest) or _parse(raw)


def sign_header(
    signer: Signer,
    *,
    body_digest: bytes,
    length: int,
    log: bytes,
    next: Collection[bytes],
    prev: bytes | None,
    seq: int,
    clock: int,
    certificates: Sequence[Certificate] = (),
    epoch: bytes | None = None,
    extensions: dict[str, Any] | None = None,
) -> tuple[bytes, bytes]:
    """Sign an entry; return the header's bytes and their digest.

    `next` in any order, without `prev`. With `epoch` the body is ciphertext. What the caller passes is written as
    it is: the gate judges the result like anybody's.
    """
    start, middle = _frame(signer.public, log)
    if prev is not None and not next and epoch is None and not certificates and extensions is None:
        middle_of_chain = (
            start, body_digest, b"al", head(0, length), middle, _AFTER, prev, b"as", head(0, seq), b"at", head(0, clock),
            b"av\x01",
        )  # fmt: skip
        return _signed(signer, b"".join(middle_of_chain))
    chain = b"ap\xf6as" if prev is None else b"ap" + _LINK + prev + b"as"
    links = sorted(next)
    parts = (
        start + body_digest
        if epoch is None and not certificates and extensions is None
        else _unusual_start(signer.public, body_digest, certificates, epoch, extensions),
        b"al",
        head(0, length),
        middle,
        b"\x80" if not links else head(4, len(links)) + _LINK + _LINK.join(links),
        chain,
        head(0, seq),
        b"at",
        head(0, clock),
        b"av\x01" if extensions is None else b"av\x01ax" + dagcbor.encode(extensions),
    )
    return _signed(signer, b"".join(parts))


def _signed(signer: Signer, message: bytes) -> tuple[bytes, bytes]:
    raw = message[len(DOMAIN) :] + _SIG + signer.sign(message)
    return raw, sha256(raw).digest()


@lru_cache(maxsize=1024)
def _frame(author: bytes, log: bytes) -> tuple[bytes, bytes]:
    """What is the same in the usual headers of one author in one log: up to the digest in `b`, and from `m` to `n`."""
    return DOMAIN + b"\xaaaaX " + author + b"ab" + _LINK, b"am" + _LINK + log + b"an"


def _unusual_start(
    author: bytes,
    body_digest: bytes,
    certificates: Sequence[Certificate],
    epoch: bytes | None,
    extensions: dict[str, Any] | None,
) -> bytes:
    size = len(_REQUIRED) + bool(certificates) + (epoch is not None) + (extensions is not None)
    body = cid.Link(cid.DAG_CBOR if epoch is None else cid.RAW, body_digest)
    parts = [DOMAIN, head(5, size), b"aaX ", author, b"ab", dagcbor.encode(body)]
    if certificates:
        parts += (b"ac", dagcbor.encode([certificate.value() for certificate in certificates]))
    if epoch is not None:
        parts += (b"ae", dagcbor.encode(epoch))
    return b"".join(parts)


# The authority is `_parse`, over the strict decoder. `_parse_usual` reads in a quarter of the time what most
# headers are: the ten required keys and nothing else. It knows one byte form of them, and answers nothing to
# whatever is not of that form, so it accepts no header that the authority would not.
_UINT: Final = rb"([\x00-\x17]|\x18[\x18-\xff]|\x19(?!\x00)..|\x1a(?!\x00\x00)....|\x1b(?!\x00{4}).{8})"
_DIGEST: Final = re.escape(_LINK) + rb"(.{32})"
_USUAL: Final = re.compile(
    rb"\xaaaaX (.{32})ab" + _DIGEST + b"al" + _UINT + b"am" + _DIGEST
    + rb"an(?:\x80|([\x81-\x97]|\x98[\x18-\x20])((?:" + re.escape(_LINK) + rb".{32})+))"
    + rb"ap(?:\xf6|" + _DIGEST + rb")as" + _UINT + b"at" + _UINT + rb"av\x01" + _SIG + rb"(.{64})",
    re.DOTALL,
)  # fmt: skip


def _parse_usual(raw: bytes, digest: bytes | None = None) -> Header | None:
    found = _USUAL.fullmatch(raw)
    if found is None:
        return None
    author, body, length, log, count, links, prev, seq, clock, sig = found.groups()
    number_of = int.from_bytes  # of one byte, or of what is behind the first
    size, number, time = number_of(length[1:] or length), number_of(seq[1:] or seq), number_of(clock[1:] or clock)
    if size > MAX_BODY or number >= SEQ_LIMIT or time >= clocks.LIMIT or (prev is None) != (number == 0):
        return None
    next: tuple[bytes, ...] = ()
    if links is not None:
        next = tuple([links[at : at + 32] for at in range(len(_LINK), len(links), _LINK_SIZE)])
        promised = count[-1] if len(count) == 2 else count[0] & 31
        if promised != len(next) or prev in next or not _ascending(next):
            return None
    digest = digest or sha256(raw).digest()
    return _usual((author, body, cid.DAG_CBOR, (), None, size, log, next, prev, number, time, None, sig, digest, raw))


def _parse(raw: bytes) -> Header:
    if len(raw) > MAX_SIZE:
        raise MalformedEntryError(f"a header of {len(raw)} bytes; {MAX_SIZE} are allowed")
    try:
        value = dagcbor.decode(raw)
    except ValueError as error:
        raise MalformedEntryError(f"the header is not strict DAG-CBOR: {error}") from error
    if type(value) is not dict:
        raise MalformedEntryError("the header is not a map")
    _refuse_newer(value)
    try:
        return _header(value, raw)
    except ValueError as error:
        raise MalformedEntryError(f"the header is malformed: {error}") from error


def _refuse_newer(value: dict[str, Any]) -> None:
    version, certificates = value.get("v"), value.get("c")
    if type(version) is int and version > VERSION:
        raise NewerFormatError(f"an entry of format version {version}; upgrade debros to read it")
    if not value.keys() <= _KNOWN:
        unknown = ", ".join(repr(key[:40]) for key in sorted(value.keys() - _KNOWN)[:4])
        raise NewerFormatError(f"unknown keys in a header ({unknown}); upgrade debros to read it")
    for certificate in certificates if type(certificates) is list else ():
        may = certificate.get("may") if type(certificate) is dict else None
        if type(may) is str and may not in MAYS:
            raise NewerFormatError(f"a certificate that says {may[:40]!r}; upgrade debros to read the entry")


def _header(value: dict[str, Any], raw: bytes) -> Header:
    if not value.keys() >= _REQUIRED:
        raise ValueError(f"it lacks {', '.join(sorted(_REQUIRED - value.keys()))}")
    if type(value["v"]) is not int or value["v"] != VERSION:
        raise ValueError("`v` is not 1")
    epoch = _bytes(value["e"], EPOCH_SIZE, "e") if "e" in value else None
    body_codec = cid.DAG_CBOR if epoch is None else cid.RAW
    seq = _uint(value["s"], SEQ_LIMIT, "s")
    prev = None if value["p"] is None else _link(value["p"], "p")
    if (prev is None) != (seq == 0):
        raise ValueError("`p` is null exactly when `s` is 0")
    extensions = value.get("x")
    if "x" in value and type(extensions) is not dict:
        raise ValueError("`x` is not a map")
    return Header(
        author=_bytes(value["a"], PUBLIC_SIZE, "a"),
        body=_link(value["b"], "b", body_codec),
        body_codec=body_codec,
        certificates=_certificates(value["c"], seq) if "c" in value else (),
        epoch=epoch,
        length=_uint(value["l"], MAX_BODY + 1, "l"),
        log=_link(value["m"], "m"),
        next=_next(value["n"], prev),
        prev=prev,
        seq=seq,
        clock=_uint(value["t"], clocks.LIMIT, "t"),
        extensions=extensions,
        sig=_bytes(value["sig"], SIGNATURE_SIZE, "sig"),
        digest=sha256(raw).digest(),
        raw=raw,
    )


def _bytes(value: object, size: int, key: str) -> bytes:
    if type(value) is not bytes or len(value) != size:
        raise ValueError(f"`{key}` is not {size} bytes")
    return value


def _uint(value: object, limit: int, key: str) -> int:
    if type(value) is not int or not 0 <= value < limit:
        raise ValueError(f"`{key}` is not an integer from 0 to {limit - 1}")
    return value


def _link(value: object, key: str, codec: int = cid.DAG_CBOR) -> bytes:
    if type(value) is not cid.Link or value.codec != codec:
        raise ValueError(f"`{key}` is not a link with codec 0x{codec:x}")
    return value.digest


def _next(value: object, prev: bytes | None) -> tuple[bytes, ...]:
    if type(value) is not list or len(value) > MAX_LINKS:
        raise ValueError(f"`n` is not a list of at most {MAX_LINKS} links")
    links = tuple([_link(item, "n") for item in value])
    if prev in links or not _ascending(links):
        raise ValueError("`n` is not ascending, or repeats a link or `p`")
    return links


def _ascending(links: tuple[bytes, ...]) -> bool:
    return all(first < second for first, second in pairwise(links))


def _certificates(value: object, seq: int) -> tuple[Certificate, ...]:
    if seq != 0 or type(value) is not list or not 1 <= len(value) <= MAX_CERTIFICATES:
        raise ValueError("`c` is one or two certificates, and only where a chain begins")
    certificates = tuple([parse_certificate(item) for item in value])
    if len(certificates) == 2 and [certificate.may for certificate in certificates] != list(MAYS):
        raise ValueError("`c` is in the order device, write, one of each at most")
    return certificates
