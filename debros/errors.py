"""Every exception that debros raises on purpose.

Closed classes with data: each says when it is raised, keeps what it is about as attributes, and says in its
text what to do. All derive from `DebrosError`; those with a natural Python parent have it too, so
`except LookupError` catches a missing record. A call with too few arguments, or unknown ones, is Python's own
`TypeError`; one with an argument of the wrong kind an `ArgumentError`, where no other class is about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar


def flattened(error: BaseException) -> BaseException:
    """Return what is alone in a group of errors, and in one within it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'title'?"` for the nearest known name, or nothing."""
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _public(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith("_")]


class DebrosError(Exception):
    """Base of every error raised on purpose."""

    code: ClassVar[str] = "debros"

    def __init_subclass__(cls) -> None:
        cls.code = "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.__name__.removesuffix("Error")).strip("_")


@dataclass(eq=False)
class _Told(DebrosError):
    """An error whose text is written where it is raised, for each place knows its own cure."""

    message: str

    def __str__(self) -> str:
        return self.message


class ArgumentError(_Told, TypeError):
    """A call got something of a kind that it does not take, or a record was given away that stays; nothing happened."""


class ConfigError(_Told):
    """A setting is unknown, has a wrong value, or contradicts another; the text names its path."""


class ModelError(_Told):
    """A model declaration is wrong. Raised when the class is defined, or at `open` for what needs other models."""


class MigrationError(_Told):
    """A migration cannot be used, ordered, applied or taken back; nothing of it is half done."""


class IdentityError(_Told):
    """A key file cannot be used: wrong passphrase, damaged, readable by others, or not there."""


class TopicError(_Told):
    """A topic or pattern is of no good form, reserved or unknown, or a message cannot be sent as it is."""


class LaggedError(_Told):
    """A subscriber with `overflow="error"` was too slow, and messages are lost to it."""


class RelationError(_Told):
    """A relation is used in a way it does not have, e.g. `add` on a `has_many`."""


class QueryError(_Told):
    """A query is wrong: operator, operand, direction, a negative limit. Raised while it is built."""


class CursorError(QueryError):
    """A cursor is damaged or belongs to another query; start again from the first page."""


class PermissionDeniedError(_Told):
    """The acting identity may not write this record or this log."""


class DeadlineError(_Told, TimeoutError):
    """Something did not come to its end in the time that was given for it."""


class TransactionError(_Told):
    """A transaction was used after its end, waited too long, or changed its identity."""


class NoNodeError(_Told):
    """No node is open, or several are and none is current (`with db.current():` chooses one), or not in this loop."""


class ClosedError(_Told):
    """The node is closed. Records keep their values, but nothing can be read or written any more."""


class StoreLockedError(_Told):
    """Another process, or another `open` of this one, has this home open."""


class StorageError(_Told):
    """The disk refused a read or a write. Nothing that was acknowledged is affected; the write is not done."""


@dataclass(eq=False)
class CeilingError(StorageError):
    """Content needs more room than the node gives it, and what is there may not go."""

    needed: int  # bytes
    ceiling: int

    def __init__(self, needed: int, ceiling: int, why: str) -> None:
        self.needed, self.ceiling = needed, ceiling
        self.message = (
            f"content takes {needed} bytes, and `content_bytes` allows {ceiling}: {why}; allow more, unpin what is not "
            "needed, or `await db.pins.sweep(force=True)` to let protected content go"
        )


class CorruptionError(StorageError):
    """Bytes on disk are not what their content address says. They are never served."""


class ContentError(_Told, ValueError):
    """Content, a CAR file or a name in it is not what it should be: damaged, cut off, too large, of an unknown kind."""


@dataclass(eq=False)
class ContentMissingError(DebrosError, LookupError):
    """Blocks of content are not here, and nobody who is connected has them. Try again when a peer that does is there."""

    cids: tuple[str, ...]

    def __str__(self) -> str:
        shown = ", ".join(self.cids[:3]) + (f" and {len(self.cids) - 3} more" if len(self.cids) > 3 else "")
        return (
            f"content is not here, and no connected peer has it: {shown}; try again when a peer that holds it is there"
        )


class ImmutableError(_Told):
    """A record of an append-only store (`events`, `feed`) was changed or deleted."""


class TooLargeError(_Told):
    """A record or transaction exceeds a limit of the format; nothing was written."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one value. `constraint` is pydantic's name for it, e.g. `string_too_long`."""

    field: str
    value: object
    constraint: str
    message: str


@dataclass(eq=False)
class ValidationError(DebrosError, ValueError):
    """Values do not fit the model. `errors` lists everything that is wrong, not just the first."""

    model: str
    errors: tuple[FieldError, ...]

    def __str__(self) -> str:
        return f"{self.model}: " + "; ".join(f"{e.field}: {e.message}" if e.field else e.message for e in self.errors)


@dataclass(eq=False)
class UnknownFieldError(QueryError):
    """A query names a field or relation that the model does not declare.

    Raised while the query is built, so the traceback points at the typo.
    """

    model: str
    field: str
    known: tuple[str, ...]

    def __init__(self, model: str, field: str, known: Iterable[str]) -> None:
        self.model, self.field, self.known = model, field, tuple(known)
        self.message = (
            f"{model} has no field {field!r}{did_you_mean(field, self.known) or '.'} Fields: {', '.join(self.known)}"
        )


@dataclass(eq=False)
class UnknownMethodError(QueryError, AttributeError):
    """A query, or groups of one, has no such method; the text names the one that does it."""

    method: str

    def __init__(self, of: str, method: str, known: Iterable[str], instead: str = "") -> None:
        self.method = method
        self.message = f"{of} has no {method}(){f'; {instead}' if instead else did_you_mean(method, _public(known))}"


@dataclass(eq=False)
class NotFoundError(DebrosError, LookupError):
    """No visible record has this id, or matches this query."""

    model: str
    ids: tuple[str, ...] = ()
    left_out: bool = False  # it is there, and was written under another declaration

    def __str__(self) -> str:
        if not self.ids:
            return f"no {self.model} matches; `first()` and `one_or_none()` give None instead"
        ids = ", ".join(map(repr, self.ids[:10]))
        if len(self.ids) > 10:
            ids += f" and {len(self.ids) - 10} more"
        if self.left_out:
            return (
                f"{self.model} {ids} is left out: it was written under another declaration, and a required field has no value "
                "of its type; `await db.health()` says which, and what to do"
            )
        return f"no {self.model} with id {ids}: deleted, not saved, or never here; `get_or_none` gives None instead"


@dataclass(eq=False)
class MultipleFoundError(DebrosError):
    """`one()` or `one_or_none()` found more than one record."""

    model: str

    def __str__(self) -> str:
        return f"more than one {self.model} matches; narrow the query, or take `first()`"


@dataclass(eq=False)
class UniqueError(DebrosError):
    """Another visible record holds this value of a unique field, or this id. Nothing was written."""

    model: str
    fields: tuple[str, ...]
    id: str  # of the record that holds it

    def __str__(self) -> str:
        return f"{self.model}: another record ({self.id!r}) already has this {' + '.join(self.fields)}"


@dataclass(eq=False)
class ConflictError(DebrosError):
    """`save(if_unchanged=True)` found a newer version than the one loaded; `refresh()` and decide again."""

    model: str
    id: str
    changed_fields: tuple[str, ...]

    def __str__(self) -> str:
        changed = ", ".join(self.changed_fields) or "its existence"
        return f"{self.model} {self.id!r} changed since it was loaded: {changed}; `refresh()` and decide again"


@dataclass(eq=False)
class PartialResultError(DebrosError):
    """A query asks for shards that this node does not hold, or that failed; `.allow_partial()` takes what is here."""

    model: str
    missing: tuple[str, ...]  # addresses of the logs
    why: str = ""  # the store of one of them is away

    def __str__(self) -> str:
        because = f"; {self.why}" if self.why else ""
        return (
            f"{self.model}: {len(self.missing)} shards that the query asks for are not here ({', '.join(self.missing[:3])});"
            f" `.allow_partial()` takes what is here, `rows.coverage` says what that is{because}"
        )


@dataclass(eq=False)
class ShardNotHeldError(DebrosError):
    """A record belongs into a shard that this node does not hold, so it can neither be checked nor kept here."""

    model: str
    shard: int
    why: str = ""  # its store is away

    def __str__(self) -> str:
        if self.why:
            return self.why
        return f"this node does not hold shard {self.shard} of {self.model}; hold it (setting `shards`), or write elsewhere"


@dataclass(eq=False)
class RestrictedError(RelationError):
    """A delete was refused: visible records still refer to this one by an `on_delete="restrict"` relation."""

    model: str
    id: str
    by: str  # "Movement.item"

    def __init__(self, model: str, id: str, by: str) -> None:
        self.model, self.id, self.by = model, id, by
        self.message = f"{model} {id!r} is still referred to by {by}; delete those records first"


@dataclass(eq=False)
class NotLoadedError(RelationError):
    """`.value` of a relation was read before it was loaded; attribute access never does I/O."""

    relation: str  # "Post.author"

    def __init__(self, relation: str) -> None:
        self.relation = relation
        attribute = relation.rpartition(".")[2]
        self.message = f"{relation} is not loaded: `.include({relation})` in the query, or `await record.{attribute}`"


@dataclass(eq=False)
class MigrationPendingError(DebrosError):
    """A model refuses writes, because a migration of it is not applied."""

    model: str
    migration: str

    def __str__(self) -> str:
        return (
            f"{self.model} cannot be written: the migration {self.migration!r} is pending; "
            "next: debros migrate, or `await db.migrations.apply()`"
        )


@dataclass(eq=False)
class EntryRefusedError(DebrosError):
    """An entry fails the admission gate for good: every node refuses it, now and later."""

    reason: str

    def __str__(self) -> str:
        return self.reason


class MalformedEntryError(EntryRefusedError):
    """Gate steps 1 and 3: the header is too long, not strict DAG-CBOR, or not of the form the table states."""


class WrongLogError(EntryRefusedError):
    """Gate step 4: the entry belongs to another log."""


class SignatureError(EntryRefusedError):
    """Gate step 5: the header is not signed by its author."""


class BodyError(EntryRefusedError):
    """Gate step 6: these bytes are not the body, or the body is not of the form the table states."""


class ChainError(EntryRefusedError):
    """Gate step 8: `p` is not the author's entry number `s` - 1."""


class NotAllowedError(EntryRefusedError):
    """Gate step 9: the chain's certificates do not give its author the right to write here."""


class ClockError(EntryRefusedError):
    """Gate step 10: the clock is not greater than every parent's."""


@dataclass(eq=False)
class EntryHeldError(DebrosError):
    """An entry cannot be judged yet. It is neither stored nor relayed, and may be offered again."""

    reason: str

    def __str__(self) -> str:
        return self.reason


class NewerFormatError(EntryHeldError):
    """Gate step 2: written by a newer version of the format; upgrade debros to read it."""


class MissingBodyError(EntryHeldError):
    """Gate step 6: the body did not come with the header."""


@dataclass(eq=False)
class OrphanError(EntryHeldError):
    """Gate step 7: parents of the entry are not admitted here yet; ask for them."""

    missing: tuple[bytes, ...] = ()  # digests, 32 bytes each


class FutureError(EntryHeldError):
    """Gate step 11: the clock is more than five minutes ahead of this node's."""


@dataclass(eq=False)
class TransportError(DebrosError):
    """A peer could not be reached, or broke off. The node goes on, and tries again by itself."""

    peer: str  # or the address that was dialled; empty where there is none
    reason: str

    def __str__(self) -> str:
        return f"{self.peer}: {self.reason}" if self.peer else self.reason


class ProtocolError(_Told):
    """A peer sent what the protocol does not know. It pays for it; nothing of it is used."""
