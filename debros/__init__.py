"""debros: declarative models over a signed, content-addressed CRDT log; offline-first data for Python.

General layout: every public name stands here twice, once for type checkers and once in the table that loads it when
it is first used. So `import debros` is light, and what a program does not use (the query engine, pydantic, SQLite) it
does not pay for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from debros.errors import ArgumentError as ArgumentError
from debros.errors import CeilingError as CeilingError
from debros.errors import ClosedError as ClosedError
from debros.errors import ConfigError as ConfigError
from debros.errors import ConflictError as ConflictError
from debros.errors import ContentError as ContentError
from debros.errors import ContentMissingError as ContentMissingError
from debros.errors import CorruptionError as CorruptionError
from debros.errors import CursorError as CursorError
from debros.errors import DeadlineError as DeadlineError
from debros.errors import DebrosError as DebrosError
from debros.errors import EntryHeldError as EntryHeldError
from debros.errors import EntryRefusedError as EntryRefusedError
from debros.errors import FieldError as FieldError
from debros.errors import IdentityError as IdentityError
from debros.errors import ImmutableError as ImmutableError
from debros.errors import LaggedError as LaggedError
from debros.errors import MigrationError as MigrationError
from debros.errors import MigrationPendingError as MigrationPendingError
from debros.errors import ModelError as ModelError
from debros.errors import MultipleFoundError as MultipleFoundError
from debros.errors import NoNodeError as NoNodeError
from debros.errors import NotFoundError as NotFoundError
from debros.errors import NotLoadedError as NotLoadedError
from debros.errors import PartialResultError as PartialResultError
from debros.errors import PermissionDeniedError as PermissionDeniedError
from debros.errors import QueryError as QueryError
from debros.errors import RelationError as RelationError
from debros.errors import RestrictedError as RestrictedError
from debros.errors import ShardNotHeldError as ShardNotHeldError
from debros.errors import StorageError as StorageError
from debros.errors import StoreLockedError as StoreLockedError
from debros.errors import TooLargeError as TooLargeError
from debros.errors import TopicError as TopicError
from debros.errors import TransactionError as TransactionError
from debros.errors import TransportError as TransportError
from debros.errors import UniqueError as UniqueError
from debros.errors import UnknownFieldError as UnknownFieldError
from debros.errors import UnknownMethodError as UnknownMethodError
from debros.errors import ValidationError as ValidationError

if TYPE_CHECKING:
    from debros import asyncio as asyncio
    from debros import blocks as blocks

    # models
    # the node
    from debros.config import Config as Config
    from debros.current import current_node as current_node
    from debros.events.event import Event as Event
    from debros.events.handling import Handler as Handler
    from debros.events.message import Message as Message
    from debros.events.presence import Present as Present
    from debros.events.subscription import Subscription as Subscription
    from debros.identity.keys import Identity as Identity
    from debros.migrations.builder import Migration as Migration
    from debros.migrations.builder import migration as migration
    from debros.models.bodies import pydantic_model as pydantic_model
    from debros.models.constraints import Ge as Ge
    from debros.models.constraints import Gt as Gt
    from debros.models.constraints import Le as Le
    from debros.models.constraints import Lt as Lt
    from debros.models.constraints import MaxLen as MaxLen
    from debros.models.constraints import MinLen as MinLen
    from debros.models.constraints import Pattern as Pattern
    from debros.models.declare import model as model
    from debros.models.declare import schema_of as schema_of
    from debros.models.fields import Field as Field
    from debros.models.fields import computed as computed
    from debros.models.fields import field as field
    from debros.models.hooks import after_create as after_create
    from debros.models.hooks import after_delete as after_delete
    from debros.models.hooks import after_save as after_save
    from debros.models.hooks import after_update as after_update
    from debros.models.hooks import before_create as before_create
    from debros.models.hooks import before_delete as before_delete
    from debros.models.hooks import before_save as before_save
    from debros.models.hooks import before_update as before_update
    from debros.models.hooks import hooks_of as hooks_of
    from debros.models.ids import now as now
    from debros.models.meta import Meta as Meta
    from debros.models.names import RESERVED_NAMES as RESERVED_NAMES
    from debros.models.options import Index as Index
    from debros.models.options import publish as publish
    from debros.models.record import Model as Model
    from debros.models.relations import Many as Many
    from debros.models.relations import One as One
    from debros.models.relations import Related as Related
    from debros.models.relations import RelatedMany as RelatedMany
    from debros.models.relations import belongs_to as belongs_to
    from debros.models.relations import has_many as has_many
    from debros.models.relations import has_one as has_one
    from debros.models.relations import many_to_many as many_to_many
    from debros.models.sharding import Strategy as Strategy
    from debros.models.sharding import hash_shards as hash_shards
    from debros.models.sharding import range_shards as range_shards
    from debros.models.sharding import user_shards as user_shards
    from debros.models.versions import Version as Version
    from debros.node import Debros as Debros
    from debros.opening import open as open

    # content
    from debros.pinning.rules import by_age as by_age
    from debros.pinning.rules import by_size as by_size
    from debros.pinning.rules import custom as custom
    from debros.pinning.rules import fixed as fixed
    from debros.pinning.rules import popularity as popularity
    from debros.pinning.rules import tiered as tiered
    from debros.portal import Blocking as Blocking
    from debros.portal import Bridge as Bridge
    from debros.portal import blocking as blocking

    # queries
    from debros.query.aggregates import avg as avg
    from debros.query.aggregates import count as count
    from debros.query.aggregates import max as max
    from debros.query.aggregates import min as min
    from debros.query.aggregates import sum as sum
    from debros.query.columns import Column as Column
    from debros.query.expressions import Expr as Expr
    from debros.query.groups import all_of as all_of
    from debros.query.groups import any_of as any_of
    from debros.query.live import Change as Change
    from debros.query.live import Live as Live
    from debros.query.query import Query as Query
    from debros.query.relations import Relation as Relation
    from debros.query.rows import Coverage as Coverage
    from debros.query.rows import NumberedPage as NumberedPage
    from debros.query.rows import Page as Page
    from debros.query.rows import Rows as Rows
    from debros.replica.transaction import Transaction as Transaction
    from debros.status import Status as Status
    from debros.sync.forks import Fork as Fork
    from debros.sync.receipts import Receipt as Receipt
    from debros.sync.status import LogStatus as LogStatus
    from debros.sync.status import Peer as Peer
    from debros.values.file import File as File

_HOMES = {
    "debros.models.bodies": "pydantic_model",
    "debros.portal": "Blocking Bridge blocking",
    "debros.events.event": "Event",
    "debros.events.handling": "Handler",
    "debros.events.message": "Message",
    "debros.events.presence": "Present",
    "debros.events.subscription": "Subscription",
    "debros.migrations.builder": "Migration migration",
    "debros.models.constraints": "Ge Gt Le Lt MaxLen MinLen Pattern",
    "debros.models.declare": "model schema_of",
    "debros.models.fields": "Field computed field",
    "debros.models.hooks": (
        "after_create after_delete after_save after_update before_create before_delete before_save before_update hooks_of"
    ),
    "debros.models.ids": "now",
    "debros.models.meta": "Meta",
    "debros.models.names": "RESERVED_NAMES",
    "debros.models.options": "Index publish",
    "debros.models.record": "Model",
    "debros.models.relations": "Many One Related RelatedMany belongs_to has_many has_one many_to_many",
    "debros.models.sharding": "Strategy hash_shards range_shards user_shards",
    "debros.models.versions": "Version",
    "debros.query.aggregates": "avg count max min sum",
    "debros.query.columns": "Column",
    "debros.query.expressions": "Expr",
    "debros.query.groups": "all_of any_of",
    "debros.query.live": "Change Live",
    "debros.query.query": "Query",
    "debros.query.relations": "Relation",
    "debros.query.rows": "Coverage NumberedPage Page Rows",
    "debros.config": "Config",
    "debros.current": "current_node",
    "debros.identity.keys": "Identity",
    "debros.node": "Debros",
    "debros.opening": "open",
    "debros.replica.transaction": "Transaction",
    "debros.pinning.rules": "by_age by_size custom fixed popularity tiered",
    "debros.sync.forks": "Fork",
    "debros.sync.receipts": "Receipt",
    "debros.status": "Status",
    "debros.sync.status": "LogStatus Peer",
    "debros.values.file": "File",
}
_MODULES = ("asyncio", "blocks")  # used as `debros.asyncio.open(...)` without an import of their own
_LAZY = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562)."""
    from importlib import import_module

    if name == "__all__":  # `from debros import *` must not take `open`, `sum`, `min` and `max` from a program
        import builtins

        return sorted(public for public in {*globals(), *_LAZY} if _is_ours(public) and not hasattr(builtins, public))
    if name in _MODULES:
        return import_module(f"debros.{name}")
    home = _LAZY.get(name)
    if home is None:
        raise AttributeError(f"module 'debros' has no attribute {name!r}")
    found: object = getattr(import_module(home), name)
    globals()[name] = found
    return found


def _is_ours(name: str) -> bool:
    """Whether a name is one of ours, and not an import of this file."""
    return name in _LAZY or name.endswith("Error")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_MODULES})
