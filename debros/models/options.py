"""The options of `@model`, checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from debros.errors import ModelError, did_you_mean
from debros.models.names import check_model_name
from debros.models.sharding import Sharding, Strategy
from debros.pinning.rules import Rule
from debros.schema import Scope, Store, Write


class Index:
    """An index over several fields: `Index("author_id", "-created_at")`; `"-"` means descending."""

    __slots__ = ("fields", "unique")

    def __init__(self, *fields: str, unique: bool = False) -> None:
        self.fields = fields
        self.unique = unique

    def __repr__(self) -> str:
        return f"Index({', '.join(map(repr, self.fields))}{', unique=True' if self.unique else ''})"


@dataclass(frozen=True, slots=True)
class Publish:
    """Which operations a model announces, as messages of the topics `model.<name>.<operation>`."""

    operations: tuple[str, ...]


def publish(*operations: Literal["create", "update", "delete", "restore"]) -> Publish:
    """Announce these operations to peers: `@model(pubsub=publish("create", "update"))`.

    Raises:
        ModelError: there is no such operation, or none is named.
    """
    known = ("create", "update", "delete", "restore")
    for operation in operations:
        if operation not in known:
            near = did_you_mean(str(operation), known)
            raise ModelError(f"publish({operation!r}): operations are {', '.join(map(repr, known))}{near}")
    if not operations:
        raise ModelError("publish() names no operation: publish('create', 'update')")
    return Publish(tuple(dict.fromkeys(operations)))


@dataclass(frozen=True, slots=True)
class Options:
    """What `@model(...)` was given, with defaults filled in."""

    scope: Scope
    store: Store
    name: str
    indexes: tuple[Index, ...]
    version: int  # major * 10**6 + minor * 10**3 + patch
    strict: bool
    keeps_extra: bool
    write: Write
    sharding: Sharding | Strategy | None = None
    pinning: Rule | None = None
    pubsub: Publish | None = None

    @classmethod
    def checked(
        cls,
        model: str,
        scope: Scope,
        store: Store,
        name: str | None,
        indexes: Iterable[Index | tuple[str, ...]],
        version: str,
        strict: bool,
        extra: Literal["forbid", "keep"],
        write: Write | None,
        sharding: Sharding | Strategy | None = None,
        pinning: Rule | None = None,
        pubsub: Publish | None = None,
    ) -> Options:
        """Check and complete the options of one model.

        Raises:
            ModelError: naming the model, the option and what it may be.
        """
        _check_choice(model, "scope", scope, Scope)
        _check_choice(model, "store", store, Store)
        _check_choice(model, "extra", extra, Literal["forbid", "keep"])
        if write is not None:
            _check_choice(model, "write", write, Write)
        if not isinstance(strict, bool):
            raise ModelError(f"{model}: strict={strict!r} is not True or False")
        if pubsub is not None and not isinstance(pubsub, Publish):
            raise ModelError(f"{model}: pubsub={pubsub!r} is not publish('create', 'update')")
        if pinning is not None and not isinstance(pinning, Rule):
            raise ModelError(
                f"{model}: pinning={pinning!r} is not a rule; fixed(), popularity(), by_size(), by_age(), tiered(), custom()"
            )
        name = model if name is None else name
        check_model_name(name)
        return cls(
            scope=scope,
            store=store,
            name=name,
            indexes=tuple(_index(model, index) for index in indexes),
            version=version_number(model, version),
            strict=strict,
            keeps_extra=extra == "keep",
            write=_write(model, scope, store, write, sharding),
            sharding=sharding,
            pinning=pinning,
            pubsub=pubsub,
        )


def version_number(model: str, version: str) -> int:
    """Return `major.minor.patch` as one number."""
    parts = version.split(".") if isinstance(version, str) else []
    if len(parts) != 3 or not all(part.isdecimal() and part == str(int(part)) and int(part) < 1000 for part in parts):
        raise ModelError(f"{model}: version={version!r} is not major.minor.patch with numbers below 1000, as '1.0.0'")
    major, minor, patch = map(int, parts)
    return major * 10**6 + minor * 10**3 + patch


def version_text(number: int) -> str:
    """Return a schema version as people write it: `1.2.3`."""
    return f"{number // 10**6}.{number // 1000 % 1000}.{number % 1000}"


def _check_choice(model: str, option: str, value: object, choices: Any) -> None:
    allowed: Final = get_args(choices)
    if value not in allowed:
        near = did_you_mean(value, allowed) if isinstance(value, str) else ""
        raise ModelError(f"{model}: {option}={value!r} is not one of {', '.join(map(repr, allowed))}{near}")


def _index(model: str, index: Index | tuple[str, ...]) -> Index:
    if isinstance(index, tuple):
        index = Index(*index)
    if not isinstance(index, Index):
        raise ModelError(f"{model}: indexes takes Index('a', '-b') or tuples of field names, not {index!r}")
    names = [name.removeprefix("-") for name in index.fields if isinstance(name, str)]
    if not names or len(names) != len(index.fields) or len(set(names)) != len(names):
        raise ModelError(f"{model}: {index!r} does not name one or more different fields")
    return index


def _write(model: str, scope: Scope, store: Store, write: Write | None, sharding: Sharding | Strategy | None) -> Write:
    if scope == "user":
        if write is not None:
            raise ModelError(f"{model}: write={write!r} is for global models; only its owner writes a user's records")
        return "anyone"
    if store in ("events", "feed"):
        if write == "anyone":
            raise ModelError(
                f"{model}: a global {store!r} store is write='owner' or 'admins', so that nobody can rewrite"
                " another's records; leave write= out"
            )
        return write or "owner"
    if isinstance(sharding, Sharding) and sharding.kind == "user":
        if write not in (None, "owner"):
            raise ModelError(f"{model}: user_shards() goes by the owner in the id, so write='owner'; leave write= out")
        return "owner"
    return write or "anyone"
