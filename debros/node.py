"""An open node: everything goes through what it holds. `debros.opening` makes it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import trio
from cachetools import LRUCache

from debros import audit, current
from debros.config import changed
from debros.env import Env
from debros.errors import (
    ArgumentError,
    ConfigError,
    IdentityError,
    ModelError,
    PermissionDeniedError,
    TransactionError,
    did_you_mean,
)
from debros.events.events import Events
from debros.health import Checks, Health, look
from debros.home import Devices
from debros.identity.did import did_of, key_of
from debros.identity.keys import Device, Identity
from debros.log.manifest import Manifest, manifest_of_user
from debros.metrics import Meter, Metrics, metrics_of
from debros.migrations.plans import ProgramPlans
from debros.migrations.runner import Migrations
from debros.models.declare import schema_of
from debros.models.habits import instead_of_node
from debros.pinning.pins import Pins
from debros.places import Places
from debros.query.cache import Caches, ResultCache
from debros.query.functions import register
from debros.query.slow import SlowQueries
from debros.replica.acting import grant, is_device_of, revoke
from debros.replica.fingerprint import fingerprint
from debros.replica.indexing import IndexBuild
from debros.replica.opening import Opened
from debros.replica.replica import Replica
from debros.replica.transaction import Transaction, once
from debros.replica.watching import Watchers
from debros.schema import Schema
from debros.shards.collection import Collection
from debros.shards.map import ShardMap
from debros.shards.model_shards import ModelShards
from debros.shards.past import PastNode, Pasts
from debros.status import Status, status_of
from debros.sync.following import parts_meant
from debros.sync.networked import Peers
from debros.values.file import File

if TYPE_CHECKING:
    from debros.audit import Audited
    from debros.blocks.archive import Progress
    from debros.config import Config
    from debros.models.record import Model
    from debros.pinning.carrying import Exported, Imported
    from debros.sync.forks import Fork
    from debros.sync.notices import OnNotice
    from debros.sync.status import LogStatus, Peer

MEMORY = ":memory:"
_USERS_KEPT = 1024  # whose keys and logs are at hand


class ShardsOf:
    """`db.shards[Post]`: the shards of one model."""

    def __init__(self, node: Debros) -> None:
        self._node = node

    def __getitem__(self, model: type[Model]) -> ModelShards:
        """Return a model's shards.

        Raises:
            ModelError: the model is not sharded, or not open here.
        """
        home = self._node.collection(schema_of(model))
        if home.shards is None:
            raise ModelError(f"{home.schema.name} is not sharded; declare `@model(sharding=hash_shards(key, n))`")
        return ModelShards(self._node, home, home.shards)

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the sharded models that are open."""
        homes = self._node.collections()
        return iter(sorted(home.schema.name for home in homes if home.shards is not None))


class Debros:
    """An open node. `async with debros.open(...) as db:` gives it."""

    as_of: int | None = None  # the clock whose state it shows: the present's

    if not TYPE_CHECKING:  # checkers know the names

        def __getattr__(self, name):
            raise AttributeError(f"a node has no {name!r}{instead_of_node(type(self), name)}")

    def __init__(
        self, home: str, env: Env, config: Config, opened: Opened, identity: Identity, devices: Devices, map: ShardMap,
        tasks: trio.Nursery, plans: ProgramPlans, classes: Sequence[type[Model]],
        pins: Pins, met: Peers, places: Places,
    ) -> None:  # fmt: skip
        self.met = met  # other nodes
        self.places = places  # of shards that have a store of their own
        self.moves = trio.Lock()  # one shard moves at a time
        self.tasks = tasks  # what runs beside the program, as long as the node is open
        self.home = home
        self.env = env
        self.config = config
        self.identity = identity
        self.store = opened.store
        self.thread = self.store.view.thread.number  # that it lives in
        self._opened = opened
        self.cache = Caches(
            ResultCache(
                env.monotonic_s,
                entries=config.query_cache,
                max_bytes=config.query_cache_bytes,
                ttl_s=config.query_cache_ttl_s,
            ),
            ResultCache(
                env.monotonic_s,
                entries=config.relation_cache,
                max_bytes=config.query_cache_bytes,
                ttl_s=config.relation_cache_ttl_s,
            ),
        )
        self.meter = Meter(env.monotonic_s())
        self.store.on_admitted.append(self.meter.on_admitted)
        self.checks = Checks(self)
        self.store.reader.places.total_tokens = config.concurrent_queries
        self.slow_queries = SlowQueries(config.slow_query_s, self.meter.queries)
        self._pasts = Pasts(self, register)
        self._devices = devices
        self.pins = pins
        self._map = map
        self._device_of: LRUCache[bytes, Device] = LRUCache(_USERS_KEPT)  # by the identity's own key
        self._own_device: Device | None = None  # of the node's own identity, once it is asked for
        self._replicas: LRUCache[tuple[str, bytes], Replica] = LRUCache(_USERS_KEPT)
        self.migrations = Migrations(self, plans, {schema_of(cls).name: cls for cls in classes})
        self.watchers = Watchers(self.store)
        self.shards = ShardsOf(self)
        self._collections = {
            model.table.schema: Collection(self, model)
            for model in self.store.models.values()
            if not model.table.schema.is_internal
        }
        self._choose_shards()
        self.store.layouts.on_changed.append(self._choose_shards)
        self._class_of = {schema_of(cls): cls for cls in classes}
        self.events = Events(self, devices.salt, lambda: devices.keys, f"debros-{map.app}/{map.shared.address}/topics")
        self.store.on_admitted.append(pins.tracker.on_admitted)
        self.store.on_moved.append(pins.tracker.on_moved)
        if pins.has_work:
            tasks.start_soon(pins.run)

    def __repr__(self) -> str:
        return f"<debros node {self.home!r}, app {self.app!r}>"

    @property
    def content(self) -> Pins:
        """Where `File` adds and reads."""
        return self.pins

    @property
    def app(self) -> str:
        """The application whose logs these are."""
        return self._map.app

    # -- what models ask ---------------------------------------------------------------------------------------

    def collection(self, schema: Schema) -> Collection:
        """Return one model's records.

        Raises:
            ModelError: the node was opened without this model.
        """
        found = self._collections.get(schema)
        if found is None:
            opened = ", ".join(sorted(s.name for s in self._collections)) or "none"
            if any(schema.name == other.name for other in self._collections):
                raise ModelError(
                    f"this class {schema.name} is not open on this node, another of that name is: a module was loaded again, or a cell "
                    "run again, after the node was opened; open the node again"
                )
            raise ModelError(
                f"{schema.name} is not open on this node (open: {opened}); pass it to `debros.open(..., models=[...])`, "
                "and open the node after the class is defined"
            )
        return found

    def model(self, name: str) -> type[Model]:
        """Return an open model by its name, as a class or as it is stored.

        Raises:
            ModelError: none is called so.
            ArgumentError: this is no name.
        """
        if not isinstance(name, str):
            raise ArgumentError(f"model takes the name of a model, text, not {name!r:.80}")
        for schema, cls in self._class_of.items():
            if name in (schema.name, cls.__name__):
                return cls
        known = sorted(schema.name for schema in self._class_of)
        raise ModelError(
            f"no open model is called {name!r}{did_you_mean(name, known)}; open: {', '.join(known) or 'none'}"
        )

    def class_of(self, schema: Schema) -> type[Model]:
        """Return the model class of a schema that is open."""
        return self._class_of[schema]

    def collections(self) -> list[Collection]:
        """Return the records of all models that are open."""
        return list(self._collections.values())

    def device(self) -> Device:
        """Return the key that the acting identity writes with in this home."""
        identity = current.context().identity
        if identity is not None:
            return self.device_of(identity)
        if self._own_device is None:
            self._own_device = self.device_of(self.identity)
        return self._own_device

    def device_of(self, identity: Identity) -> Device:
        """Return the key that an identity writes with in this home."""
        device = self._device_of.get(identity.public)
        if device is None:
            device = identity.device(self._devices.salt)
            self._devices.note(device.public)
            self._device_of[identity.public] = device
        return device

    def replica_of(self, schema: Schema, user: bytes) -> Replica:
        """Return the log that holds a model's records, for the user whose root key this is."""
        place = (schema.scope, user)
        found = self._replicas.get(place)
        if found is None:
            found = self._replicas[place] = self.store.replica(self._map.manifest(schema, user))
        return found

    def log_of(self, schema: Schema, user: bytes) -> int:
        """Return the number of the log that holds a model's records, for this user; 0 if there is none here."""
        if (found := self._replicas.get((schema.scope, user))) is not None:
            return found.n
        known = self.store.by_number.find(self._map.manifest(schema, user).log_id)
        return 0 if known is None else known.n

    def manifest_of(self, schema: Schema, part: str) -> Manifest:
        """Return what the log of a shard is."""
        return self._map.manifest(schema, b"", part)

    def shard_of(self, schema: Schema, part: str) -> Replica:
        """Return the local copy of a shard's log."""
        return self.store.replica(self.manifest_of(schema, part))

    async def past(self, at: int) -> PastNode:
        """Return this node as it was at a clock, to read from."""
        return await self._pasts.at(at)

    def past_at(self, at: int) -> PastNode:
        """Return what `past` made, as long as somebody holds it."""
        return self._pasts.ready(at)

    # -- the surface -------------------------------------------------------------------------------------------

    @contextmanager
    def current(self) -> Iterator[Debros]:
        """Make this the current node for the block, and for the tasks it starts."""
        with current.choosing(node=self):
            yield self

    @asynccontextmanager
    async def acting_as(self, identity: Identity) -> AsyncIterator[Identity]:
        """Write as this identity in the block; user-scoped models mean its records. Nests, and makes the node current.

        Raises:
            TransactionError: inside a transaction, which has one identity.
            IdentityError: it is none; a DID names a user, and cannot sign.
        """
        current.check_here(self.thread)
        check_identity(identity)
        chosen = current.context()
        if chosen.transaction is not None and identity.user != (chosen.identity or self.identity).user:
            raise TransactionError("a transaction has one identity: use `acting_as` around it, not inside")
        await trio.lowlevel.checkpoint()
        with current.choosing(node=self, identity=identity):
            if self.config.auto_migrate and chosen.transaction is None and not self.migrations.is_running:
                await self.migrations.apply()  # what its own log lacks
            yield identity

    @once
    @asynccontextmanager
    async def transaction(self, *, timeout_s: float = 30) -> AsyncIterator[Transaction]:
        """All or nothing: one signed entry per log touched; a raise writes nothing. Nested, it is a savepoint.

        Transactions of one node run one after another, and saves outside wait; plain reads do not.

        Raises:
            TransactionError: others held the log for `timeout_s` seconds, or the transaction around has ended; or this
                was entered before.
        """
        if not isinstance(timeout_s, (int, float)) or not timeout_s >= 0:
            raise TransactionError(f"timeout_s={timeout_s!r} is how many seconds to wait: a number, 0 or more")
        current.check_here(self.thread)
        outer = current.context().transaction
        if outer is not None and outer.belongs_to(self.store):
            await outer.until_free()
            with outer.savepoint():
                yield outer
            return
        self.store.check_open()
        async with AsyncExitStack() as stack:
            with trio.move_on_after(timeout_s) as waiting:
                await stack.enter_async_context(self.store.writer.exclusive())
            if waiting.cancelled_caught:
                raise TransactionError(
                    f"other transactions held the log for {timeout_s} s; keep network calls out of them"
                )
            await self.store.until_writable()
            self.store.flush()
            transaction = Transaction(self.store, self.device())
            with current.choosing(node=self, transaction=transaction):
                try:
                    yield transaction
                    await self.measured(transaction.commit())
                except BaseException:
                    transaction.abandon()
                    raise
        for hook in transaction.after_commit:
            await hook()

    async def measured(self, commit: Coroutine[Any, Any, None]) -> None:
        """Await a commit, and count it with its time, or its failure."""
        begun_s = self.env.monotonic_s()
        try:
            await commit
        except Exception as error:
            self.meter.failed(error)
            if isinstance(error, PermissionDeniedError):
                audit.note("refused", by=did_of(self.device().user), why=str(error))
            raise
        self.meter.commits.observe(self.env.monotonic_s() - begun_s)

    async def grant(self, did: str) -> None:
        """Give a user the right to write to the global log where it is not open; lifts a `revoke` of the user.

        Raises:
            PermissionDeniedError: the acting identity is no admin of the log, or does not hold its root key.
        """
        self.refuse_inside("grant")
        self.store.check_open()
        user = _key(did)
        await grant(self.store, self._globals(), self.device(), self.root(), user)
        audit.note("grant", whom=did, by=did_of(self.device().user))

    async def revoke(self, did: str, *, keep: bool = True) -> None:
        """Let the entries of a user (by an admin) or of a device (by its user) count no more.

        Args:
            did: of the user, or `key_did` of the device.
            keep: whether what this node knows of them goes on counting; otherwise nothing does.

        Raises:
            PermissionDeniedError: the acting identity may not do that.
        """
        key = _key(did)
        self.refuse_inside("revoke")
        self.store.check_open()
        await self.store.until_writable()
        self.store.flush()
        replicas = [self.store.by_number[n] for n in self.store.entries.logs_of(key)]
        root = self.root()
        is_device = root is not None and is_device_of(self.store, root, key)
        is_unknown = root is not None and not replicas  # perhaps a device of its own, that was never met
        is_admin = self.shared.manifest.is_admin(self._acting().user)
        if is_device or is_admin:  # nor may it write where it has not yet
            replicas += [replica for replica in self._globals() if replica not in replicas]
        if is_device or (is_admin and is_unknown):
            own = self.store.replica(manifest_of_user(self._map.app, self._acting().user))
            replicas += [] if own in replicas else [own]
        await revoke(self.store, replicas or [self.shared], self.device(), self.root(), key, keep=keep)
        audit.note("revoke", whom=did, by=did_of(self.device().user), keep=keep)

    async def audit(self) -> list[Audited]:
        """Return who gave rights to whom and who took them, in all logs here, oldest first; the log proves it.

        The logger `debros.audit` tells as it happens of what only this node knows: openings, refused writes, its health.
        """
        current.check_here(self.thread)
        self.store.check_open()
        await self.store.until_writable()
        self.store.view.hide_provisional()
        self.store.flush()
        await trio.lowlevel.checkpoint()
        return audit.trail(self)

    def refuse_inside(self, what: str) -> None:
        """Raise `TransactionError` inside a transaction, for what is an entry of its own."""
        transaction = current.context().transaction
        if transaction is not None and transaction.belongs_to(self.store):
            raise TransactionError(f"{what} is an entry of its own: call it before or after the transaction")

    def _acting(self) -> Identity:
        return current.context().identity or self.identity

    def root(self) -> Device | None:
        """Return the acting identity's root key, if it is held here."""
        return self._acting().root

    @property
    def shared(self) -> Replica:
        """The log that all users of the application share."""
        return self.store.replica(self._map.shared)

    def written(self) -> list[Replica]:
        """Return the logs that writes here go to: global ones, and those of users that were asked for."""
        return [*self._globals(), *(replica for (scope, _), replica in self._replicas.items() if scope == "user")]

    def _globals(self) -> list[Replica]:
        """Return all global logs: the unsharded one, and those of shards that are held here."""
        sharded = [home.shards.replicas() for home in self._collections.values() if home.shards is not None]
        return [self.shared, *(replica for replicas in sharded for replica in replicas)]

    # -- peers -------------------------------------------------------------------------------------------------

    @property
    def peers(self) -> list[Peer]:
        """Peers that are connected, and those that were configured and are not."""
        return self.met.known()

    @property
    def addresses(self) -> list[str]:
        """Where this node listens: what others pass as `peers=`. Empty if it does not listen."""
        return self.met.addresses()

    @property
    def on_notice(self) -> list[OnNotice]:
        """Called with a kind and its data when a peer comes or goes, a log is synced or lags, a fork is detected."""
        return self.met.notices.on_notice

    @property
    def forks(self) -> list[Fork]:
        """Proofs of equivocation found since the node opened; the home keeps those of before too."""
        return [] if self.met.sync is None else list(self.met.sync.forks)

    def sync_status(self) -> list[LogStatus]:
        """Return where every log that this node keeps stands beside its peers'; empty without peers."""
        self.store.check_open()
        return self.store.view.thread.call(self.met.status)

    async def synced(self, *, timeout_s: float | None = None) -> None:
        """Wait until this node and its peers have nothing to tell each other.

        It returns when, for every connected peer and every log that both hold, a comparison that began after the call
        found equal heads, or all that it found missing on either side has been admitted there, refused or held. With
        configured peers none of which is connected it waits; a node that neither listens nor dials returns at once.

        Raises:
            DeadlineError: not within `timeout_s`; the text says who is waited for.
            PermissionDeniedError: a log with entries here is served by peers to members only, and this user is none.
            ArgumentError: `timeout_s` is no number of seconds.
        """
        if timeout_s is not None and not (isinstance(timeout_s, (int, float)) and timeout_s >= 0):
            raise ArgumentError(f"timeout_s={timeout_s!r:.80} is how many seconds to wait: a number, 0 or more")
        current.check_here(self.thread)
        self.store.check_open()
        await self.met.synced(timeout_s)

    async def follow(self, what: str | type[Model], /, *, shards: Iterable[int] | None = None) -> None:
        """Keep more logs: a user's, by DID, or shards of a sharded model. The home remembers it.

        Args:
            what: a DID, the address of a log of this application, or a model.
            shards: numbers of shards of the model; only followed ones are kept then. All if not given.

        Raises:
            ConfigError: no log of this application is meant.
        """
        current.check_here(self.thread)
        self.store.check_open()
        self.met.change(self._meant(what, shards), follow=True)
        self._choose_shards()
        await trio.lowlevel.checkpoint()

    async def unfollow(self, what: str | type[Model], /, *, shards: Iterable[int] | None = None) -> None:
        """Replicate these logs no more; what is here stays. Arguments and errors are those of `follow`."""
        current.check_here(self.thread)
        self.store.check_open()
        self.met.change(self._meant(what, shards), follow=False)
        self._choose_shards()
        await trio.lowlevel.checkpoint()

    def _choose_shards(self, model: str | None = None) -> None:
        for home in self._collections.values():
            if home.shards is not None and model in (None, home.schema.name):
                home.shards.choose()

    def _meant(self, what: str | type[Model], shards: Iterable[int] | None) -> list[str]:
        if not isinstance(what, str):
            home = self.collection(schema_of(what))
            parts = () if home.shards is None else home.shards.parts
            return parts_meant(home.schema.name, parts, shards)
        if what.startswith("did:"):
            self.keep_logs_of(_key(what))
            return [what]
        for replica in self.store.by_number.values():  # rare, and a home may be new to the user's log
            if replica.manifest.address == what and replica.manifest.scope == "user":
                return [did_of(replica.manifest.admins[0])]
        raise ConfigError(f"{what!r} is no DID and no address of a user's log here; `follow` a DID or a sharded model")

    def keep_logs_of(self, user: bytes) -> None:
        """Have the logs of a user, empty until their entries come."""
        for schema in self._collections:
            if schema.scope == "user":
                self.replica_of(schema, user)

    def users_here(self) -> frozenset[bytes]:
        """Return the root keys that write in this home."""
        return frozenset((self.identity.user, *(device.user for device in self._device_of.values())))

    async def export_car(
        self, target: str | os.PathLike[str], what: Model | File | type[Model] | str | None = None, /, *,
        files: bool = True, version: int = 1, progress: Progress | None = None,
    ) -> Exported:  # fmt: skip
        """Write a CAR file: of a record with its history, a file, a model's logs, a user's log, or of everything.

        Args:
            target: the file; it is there when it is whole, or not at all.
            what: a record, a `File`, a model class, a user's DID, a log's address, or nothing for the whole database.
            files: whether the content that records refer to goes along, as far as it is on this node.
            version: of the CAR format, 1 or 2.
            progress: called with the bytes written so far, and 0.

        Raises:
            ContentMissingError: a file that was asked for is not on this node.
            NotFoundError: this node holds no such record or log.
            StorageError: the file cannot be written.
            ArgumentError: `target` is no path, or `what` none of these.
        """
        from debros.pinning import carrying

        check_path("export_car", target)
        current.check_here(self.thread)
        logs, entries, content = await carrying.chosen(self.store, what)
        return await carrying.export(
            self.store, self.pins, target, logs=logs, entries=entries, content=content, version=version, files=files,
            progress=progress,
        )  # fmt: skip

    async def import_car(self, source: str | os.PathLike[str], /, *, progress: Progress | None = None) -> Imported:
        """Take in a CAR file: entries go through the gate, blocks are hashed. What was taken before an error stays.

        Raises:
            ContentError: it is no CAR, cut off, damaged, or of another application, or of a group with other `admins` or `open`.
            CeilingError: there is no room for its content.
            StorageError: it cannot be read, or the disk refused.
            ArgumentError: `source` is no path.
        """
        from debros.pinning import carrying

        check_path("import_car", source)
        current.check_here(self.thread)
        return await carrying.load(self.store, self.pins, source, is_ours=self._map.holds, progress=progress)

    async def owners(self) -> list[str]:
        """Return the DIDs of users whose logs this node holds."""
        self.store.check_open()
        return sorted(map(did_of, self.store.by_number.owners()))

    async def fingerprint(self) -> str:
        """Return a digest of what the node shows: equal for nodes that show the same records."""
        current.check_here(self.thread)
        self.store.check_open()
        return await fingerprint(self.store)

    @property
    def indexing(self) -> list[IndexBuild]:
        """Indexes that models declare and that are still being built, the one at work first; queries do without them."""
        return list(self.store.building)

    def status(self) -> Status:
        """Return what the node is and how it is.

        Raises:
            StorageError: the log cannot be read.
        """
        return self.store.view.thread.call(status_of, self, self._opened)

    async def health(self) -> Health:
        """Return whether the node is well: each part with its state, its last error, and the cure."""
        current.check_here(self.thread)
        await trio.lowlevel.checkpoint()
        return look(self, [] if self.store.closed else self.migrations.pending_names())

    def metrics(self) -> Metrics:
        """Return what the node has counted since it opened; `.prometheus()` is its text for a scraper.

        Raises:
            StorageError: the log cannot be read.
        """
        return self.store.view.thread.call(metrics_of, self)

    def configure(self, **settings: Any) -> Config:
        """Change settings while the node is open, and return all of them; they hold until it is closed.

        Raises:
            ConfigError: a setting is unknown, has a wrong value, or is read only when a node is opened.
        """
        self.config = changed(self.config, settings)
        chosen = self.config
        self.store.tune(flush_rows=chosen.flush_rows, row_cache=chosen.row_cache)
        self.cache.queries.tune(
            entries=chosen.query_cache, max_bytes=chosen.query_cache_bytes, ttl_s=chosen.query_cache_ttl_s
        )
        self.cache.relations.tune(
            entries=chosen.relation_cache, max_bytes=chosen.query_cache_bytes, ttl_s=chosen.relation_cache_ttl_s
        )
        self.slow_queries.threshold_s = chosen.slow_query_s
        self.store.reader.places.total_tokens = chosen.concurrent_queries
        return chosen

    async def close(self) -> None:
        """Flush and close; leaving the `async with` does it, behind a `close` too."""
        try:
            await self.pins.aclose()
        finally:
            await self.store.aclose()


def check_identity(given: object) -> None:
    """Raise `IdentityError` for what is no identity."""
    if not isinstance(given, Identity):
        raise IdentityError(
            f"{given!r} is no identity: `Identity.generate()` or `Identity.load(path)`; a DID only names a user"
        )


def check_path(what: str, given: object) -> None:
    """Raise `ArgumentError` for what is no path of a file."""
    if not isinstance(given, (str, os.PathLike)):
        raise ArgumentError(f"{what} takes the path of a CAR file first, text or pathlib.Path, not {given!r:.80}")


def _key(did: str) -> bytes:
    if isinstance(did, Identity):
        raise IdentityError("a user is named by the DID: `identity.did`")
    try:
        return key_of(did)
    except (ValueError, TypeError, AttributeError) as error:
        raise IdentityError(f"{did!r} is not the DID of a key: {error}") from error
