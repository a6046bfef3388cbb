"""Acts: what an entry says about rights, after the fact. Those of version 1 are cuts and certificates.

`["cut", key, [links] | null]`: of this key's entries only those on the chains that end in these links count; null
lifts it. `["cert", certificate]`: delivers a certificate, no more. Unknown acts and acts of another form are
ignored and counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple, TypeAlias

from debros.blocks import cid
from debros.identity.certificate import Certificate, parse_certificate
from debros.identity.signing import PUBLIC_SIZE

MAX_CUT_LINKS: Final = 256


class Cut(NamedTuple):
    """A cut. `ends` are digests of the last entries that count, or `None`: the key counts again."""

    key: bytes
    ends: tuple[bytes, ...] | None


Act: TypeAlias = Cut | Certificate


def parse_act(value: object) -> Act | None:
    """Read an act; `None` when it is unknown or of another form, and so ignored."""
    if type(value) is not list:
        return None
    if len(value) == 3 and value[0] == "cut":
        return _cut(value[1], value[2])
    if len(value) == 2 and value[0] == "cert":
        try:
            return parse_certificate(value[1])
        except ValueError:
            return None
    return None


def parse_acts(values: list[Any]) -> tuple[list[tuple[int, Act]], int]:
    """Return the acts with their positions in `act`, and how many others are ignored."""
    acts = [(index, act) for index, value in enumerate(values) if (act := parse_act(value)) is not None]
    return acts, len(values) - len(acts)


def cut_act(key: bytes, ends: Iterable[bytes] | None) -> list[Any]:
    """Return the act that cuts a key after these entries (digests), or lifts its cut.

    Raises:
        ValueError: more than 256 ends, or a key or digest that has not 32 bytes.
    """
    links = None if ends is None else [cid.Link(cid.DAG_CBOR, end) for end in sorted(ends)]
    if _cut(key, links) is None:
        raise ValueError(f"a cut names a key of 32 bytes and at most {MAX_CUT_LINKS} entries")
    return ["cut", key, links]


def certificate_act(certificate: Certificate) -> list[Any]:
    """Return the act that delivers a certificate."""
    return ["cert", certificate.value()]


def _cut(key: object, ends: object) -> Cut | None:
    if type(key) is not bytes or len(key) != PUBLIC_SIZE:
        return None
    if ends is None:
        return Cut(key, None)
    if type(ends) is not list or len(ends) > MAX_CUT_LINKS:
        return None
    if not all(type(end) is cid.Link and end.codec == cid.DAG_CBOR for end in ends):
        return None
    return Cut(key, tuple([end.digest for end in ends]))
