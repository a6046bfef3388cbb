"""The limits that paths run against: one signature, one verification, one row of SQLite without anything around it."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import apsw
import libipld
from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair

from bench.document import COLUMNS
from bench.measure import Action, sync
from debros.blocks.plans import ALONE, keep_plans
from debros.identity.signing import SIGNATURE_SIZE, SigningKey
from debros.log.entry import sign_header
from debros.replica.arms import PRAGMAS
from debros.values.scalars import instant_from_wire, instant_to_wire

SIGNATURES: Final = 500  # in one turn
_SEED: Final = bytes(32)


def header_size() -> int:
    """Return the bytes that are signed for the usual entry: a header with a predecessor, and its domain."""
    header, _ = sign_header(
        SigningKey(_SEED), body_digest=bytes(32), length=400, log=bytes(32), next=(), prev=bytes(32), seq=70_000,
        clock=1 << 56,
    )  # fmt: skip
    return len(header) - SIGNATURE_SIZE


def signing() -> Action:
    """One Ed25519 signature by libsodium, of a message as long as a header."""
    _, secret = crypto_sign_seed_keypair(_SEED)
    message = bytes(header_size())

    def run(_: object) -> None:
        for _ in range(SIGNATURES):
            crypto_sign(message, secret)

    return Action("signature", SIGNATURES, sync(run))


def verifying() -> Action:
    """One Ed25519 verification by libsodium, of a message as long as a header."""
    public, secret = crypto_sign_seed_keypair(_SEED)
    signed = crypto_sign(bytes(header_size()), secret)

    def run(_: object) -> None:
        for _ in range(SIGNATURES):
            crypto_sign_open(signed, public)

    return Action("verification", SIGNATURES, sync(run))


_CREATE: Final = (
    "CREATE TABLE posts (id TEXT PRIMARY KEY, author_id TEXT, title TEXT, body TEXT, tags BLOB, likes INTEGER,"
    " rating REAL, published INTEGER, language TEXT, created_at INTEGER)",
    "CREATE INDEX posts_author ON posts (author_id, created_at DESC)",
    "CREATE INDEX posts_likes ON posts (likes)",
)
_LISTED: Final = ", ".join(COLUMNS)
_INSERT: Final = f"INSERT INTO posts ({_LISTED}) VALUES ({', '.join('?' * len(COLUMNS))})"
_UPDATE: Final = "UPDATE posts SET language = ? WHERE id = ?"
_GET: Final = f"SELECT {_LISTED} FROM posts WHERE id = ?"
_TOP: Final = f"SELECT {_LISTED} FROM posts WHERE author_id = ? ORDER BY created_at DESC LIMIT 20"
_TAGS, _PUBLISHED, _CREATED_AT = (COLUMNS.index(name) for name in ("tags", "published", "created_at"))
_in_order = itemgetter(*COLUMNS)


def to_row(document: dict[str, Any]) -> tuple[Any, ...]:
    """Return a document as SQLite takes it: times as microseconds, tags as DAG-CBOR, as debros keeps them."""
    row = list(_in_order(document))
    row[_TAGS] = libipld.encode_dag_cbor(sorted(document["tags"]))
    row[_PUBLISHED] = int(document["published"])
    row[_CREATED_AT] = instant_to_wire(document["created_at"])
    return tuple(row)


def to_document(row: tuple[Any, ...]) -> dict[str, Any]:
    """Return a row as a dict with the Python values that a typed object has."""
    document = dict(zip(COLUMNS, row))  # noqa: B905 - a strict one costs, and lengths are fixed
    document["tags"] = set(libipld.decode_dag_cbor(document["tags"]))
    document["published"] = bool(document["published"])
    document["created_at"] = instant_from_wire(document["created_at"])
    return document


class RawTable:
    """The documents in one table of SQLite through apsw, with the settings of the view."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = apsw.Connection(str(path), flags=ALONE, statementcachesize=256)
        keep_plans(self.db)
        for pragma in ("page_size = 4096", "journal_mode = WAL", *PRAGMAS):
            self.db.execute(f"PRAGMA {pragma}").fetchall()
        for statement in _CREATE:
            self.db.execute(statement)

    def insert(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert ready rows in one transaction."""
        with self.db:
            self.db.executemany(_INSERT, rows)

    def update(self, ids: Iterable[str], language: str) -> None:
        """Set one column of some rows in one transaction."""
        with self.db:
            self.db.executemany(_UPDATE, [(language, id) for id in ids])

    def get(self, id: str) -> dict[str, Any]:
        """Return one document."""
        row = self.db.execute(_GET, (id,)).fetchone()
        assert row is not None
        return to_document(row)

    def newest_of(self, author: str) -> list[dict[str, Any]]:
        """Return an author's 20 newest documents."""
        return [to_document(row) for row in self.db.execute(_TOP, (author,))]

    def close(self) -> None:
        """Close the file."""
        self.db.close()
