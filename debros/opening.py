"""Opening a node: settings, the home, the log and its view, peers and what runs beside the program."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial, wraps
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, cast

import trio

from debros import audit, current
from debros.blocks.carstore import CarStore
from debros.blocks.files import DiskFiles, Files, MemoryFiles
from debros.config import DEFAULT_APP, Config, load
from debros.env import SYSTEM, Env
from debros.errors import ArgumentError, ConfigError, IdentityError, ModelError, NoNodeError, did_you_mean, flattened
from debros.home import Devices, Home
from debros.identity.did import did_of, key_of
from debros.identity.keys import Identity
from debros.log.manifest import Manifest, manifest_of_user
from debros.migrations.files import Source
from debros.migrations.files import load as load_migrations
from debros.migrations.plans import ProgramPlans, rename_models
from debros.models.declare import schema_of
from debros.models.linking import check_models
from debros.models.registry import defined_models
from debros.node import MEMORY, Debros, check_identity
from debros.pinning.departing import Departures
from debros.pinning.leaving import Leaving
from debros.pinning.pins import Pins
from debros.places import Places
from debros.query.functions import register
from debros.replica import resident
from debros.replica.arms import Volume
from debros.replica.indexing import build_indexes
from debros.replica.misread import misread
from debros.replica.opening import Opened, open_store
from debros.schema import Schema
from debros.shards.map import ShardMap
from debros.shards.moving import move
from debros.sync.networked import Peers
from debros.sync.remembered import Remembered

if TYPE_CHECKING:
    from debros.config import Preset
    from debros.models.record import Model
    from debros.net.transport import Transport

P = ParamSpec("P")
_ENTERED: Final = "a node is open inside a block, which closes it: `async with debros.open(home) as db:`"
_LOGGER: Final = logging.getLogger("debros.records")


class _Opening(AbstractAsyncContextManager[Debros]):
    """What `open` gives: a block to be entered, once. Other ways to use it say so."""

    def __init__(self, block: AbstractAsyncContextManager[Debros]) -> None:
        self._block = block
        self._was_entered = False

    def __repr__(self) -> str:
        return f"<not open yet: {_ENTERED}>"

    async def __aenter__(self) -> Debros:
        if self._was_entered:
            raise ArgumentError("this block was entered before: call `debros.open(...)` for each block")
        self._was_entered = True
        return await self._block.__aenter__()

    async def __aexit__(self, *left: Any) -> bool | None:
        return await self._block.__aexit__(*left)

    if not TYPE_CHECKING:  # checkers know what it is

        def __await__(self):
            raise ArgumentError(_ENTERED)

        def __enter__(self):
            raise ArgumentError(f"{_ENTERED}; without a loop: `with debros.blocking(home) as db:`")

        def __exit__(self, *left):
            raise ArgumentError(_ENTERED)

        def __getattr__(self, name):
            raise AttributeError(f"no {name!r} here: {_ENTERED}")


def _entered(function: Callable[P, AsyncIterator[Debros]]) -> Callable[P, AbstractAsyncContextManager[Debros]]:
    block = asynccontextmanager(function)

    @wraps(function)
    def open(*args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[Debros]:
        return _Opening(block(*args, **kwargs))

    return open


@_entered
async def open(
    home: str | os.PathLike[str], *, app: str | None = None, models: Iterable[type] | None = None,
    identity: Identity | None = None, listen: str | Sequence[str] | None = None, peers: Iterable[str] = (),
    admins: Sequence[str] = (), open: bool = True, migrations: Source = (), config: Config | Preset | None = None,
    **settings: Any,
) -> AsyncIterator[Debros]:  # fmt: skip
    """Open a node in a directory, which is made if it is not there; `":memory:"` keeps everything in memory.

    Args:
        home: the directory.
        app: name of the application; nodes share logs only under the same name, `admins` and `open`. If it is named nowhere, a
            home that has been written to goes by its own.
        models: what to show; every `@model` class defined so far if not given.
        identity: who writes; if not given, the key kept in the home, made when there is none.
        listen: addresses to listen on, e.g. `/ip4/127.0.0.1/tcp/0`; needs `debros[net]`.
        peers: addresses of other nodes, to be connected with as long as the node is open.
        admins: DIDs who may always write to the global log, and may grant and revoke.
        open: whether anybody may write to the global log.
        migrations: a package, its name, a folder, or a list; `db.migrations` applies them.
        config: `"development"`, `"production"`, `"testing"`, or a `debros.Config`.
        settings: single settings by name, e.g. `durability="process"`; they outrank all other sources.

    Raises:
        ArgumentError: the home is no path.
        ConfigError: a setting or argument is unknown or wrong, nobody could write to the global log, or the home holds other logs:
            those of another app, or of other `admins` or `open`.
        ModelError: the models contradict each other.
        StoreLockedError: the home is open already.
        StorageError: the disk refused.
        IdentityError: the key file cannot be used.
        MigrationError: the migrations contradict each other or the models, or cannot be read.
        TransportError: an address cannot be listened on.
    """
    listening, dialled = _addresses("listen", () if listen is None else listen), _addresses("peers", peers)
    make = partial(_libp2p, listening, dialled) if listening or dialled else None
    async with open_node(
        SYSTEM, None, home, app=app, models=models, identity=identity, admins=admins, anybody=open, config=config,
        settings=settings, migrations=migrations, peers=dialled, make_transport=make,
    ) as node:  # fmt: skip
        if make is not None and node.config.app == DEFAULT_APP:
            warnings.warn(
                f"this node has peers, and app={DEFAULT_APP!r}, as every program that names none: it would share its logs with "
                'strangers. `debros.open(..., app="blog-7f3a")`, or `debros init` writes a name that nobody else has',
                UserWarning,
                stacklevel=4,  # where the node is opened, behind contextlib and its block
            )
        yield node


@asynccontextmanager
async def open_node(
    env: Env, files: Files | None, home: str | os.PathLike[str], *, app: str | None = None,
    models: Iterable[type] | None = None, identity: Identity | None = None, admins: Sequence[str] = (),
    anybody: bool = True, config: Config | Preset | None = None, settings: Mapping[str, Any] | None = None,
    migrations: Source = (),
    peers: Iterable[str] = (), make_transport: Callable[[Path | None], Transport] | None = None,
) -> AsyncIterator[Debros]:  # fmt: skip
    """Open a node in a given world: like `open`, with the environment, the log's files and the transport to use.

    `make_transport` gets the home's directory, or `None` in memory, once the home is open.
    """
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        raise NoNodeError(
            "debros.open runs under trio (`trio.run(main)`); for asyncio there is `async with debros.asyncio.open(...)`, "
            "for programs without a loop `with debros.blocking(...)`"
        ) from None
    if not isinstance(home, (str, os.PathLike)):
        raise ArgumentError(f'home is the directory of the node, or ":memory:", not {home!r:.80}')
    for what, given in (("models", models), ("admins", admins), ("migrations", migrations)):
        is_one = isinstance(given, (str, os.PathLike, ModuleType))
        if given is not None and (what != "migrations" if is_one else not isinstance(given, Iterable)):
            of = {"models": " of model classes", "admins": " of DIDs"}.get(what, "")
            raise ConfigError(f"{what}= takes a list{of}, not {given!r:.80}")
    admins = tuple(admins)
    if any(isinstance(admin, Identity) for admin in admins):
        raise ConfigError("admins= takes a list of DIDs: `admins=[identity.did]`, not the identities")
    if type(anybody) is not bool:
        raise ConfigError(f"open= is True or False, whether anybody may write to the global log, not {anybody!r:.80}")
    if config is not None and not isinstance(config, (str, Config)):
        raise ConfigError(
            f"config= is the name of a preset or a debros.Config, not {config!r:.80}; settings go by their names"
        )
    if not os.fspath(home):
        raise ConfigError('home is empty: it is the directory of the node, or ":memory:"')
    if "\0" in str(home):
        raise ConfigError(f"home is the directory of the node, and no path holds a null character: {str(home)!r:.80}")
    if "://" in str(home):
        raise ConfigError(f'home is the directory of the node, or ":memory:", not the address {str(home)!r:.80}')
    in_memory = str(home) == MEMORY
    arguments = {**(settings or {}), **({} if app is None else {"app": app})}
    chosen = load(
        None if in_memory else Path(home), preset=config, arguments=arguments, environ=env.environ(), cwd=env.cwd()
    )
    classes = cast("tuple[type[Model], ...]", tuple(dict.fromkeys(defined_models() if models is None else models)))
    ordered = load_migrations(migrations)
    rename_models(classes, ordered)
    check_models(classes)
    schemas = [schema_of(model) for model in classes]
    plans = ProgramPlans(ordered, schemas)
    map = _map(chosen.app, anybody, admins, schemas)
    _check_shards(chosen, schemas)
    if identity is not None:
        check_identity(identity)
    place = None if in_memory else Home(Path(home))
    try:
        who = identity or (Identity.generate(env.random_bytes) if place is None else place.identity(env))
        devices = Devices(None if place is None else place.path / "device", env)
        manifests = (map.shared, manifest_of_user(map.app, who.user))

        def renew() -> None:
            if who.root is None:
                raise IdentityError(
                    "the log lost entries of this device's key, and it must not sign their numbers again; "
                    "make a new device with `identity.new_device()`"
                )
            devices.renew(env)  # on disk before the view goes that knows why

        disk = files or (MemoryFiles() if place is None else DiskFiles())
        places = Places(None if place is None else place.path, env, disk)
        places.follow(chosen.placement)
        leaving = Leaving(None if place is None else place.path)
        opened = await env.offload(
            _open_without, leaving, env, disk, place, chosen, schemas, devices.keys, manifests, renew, plans,
            places.volumes(),
        )  # fmt: skip
        opened.store.view.thread.take()
        try:
            held = opened.store.by_number.samples()
            if held and "app" not in chosen.model_fields_set:  # nobody names another: a program may run from anywhere
                chosen = chosen.model_copy(update={"app": held[0].app})
                map = _map(chosen.app, anybody, admins, schemas)
            _check_home(home, map, held)
            if opened.orphaned and who.root is not None:
                devices.renew(env)
            devices.keep()
            pins = _pins(env, files, place, chosen, opened)
            try:
                transport = None if make_transport is None else make_transport(None if place is None else place.path)
                async with transport or nullcontext(), _tasks() as tasks:
                    met = Peers(None if place is None else place.path, lambda: node.users_here(), map.holds)
                    node = Debros(
                        str(home), env, chosen, opened, who, devices, map, tasks, plans, classes, pins, met, places
                    )
                    if place is not None:
                        pins.departures = Departures(
                            opened.store, leaving, met.following, lambda did: met.change([did], follow=False),
                            lambda: devices.keys | node.users_here(), max_bytes=chosen.log_bytes,
                            copies=pins.ruling.copies_of_users, now_ms=lambda: env.now_us() // 1000,
                        )  # fmt: skip
                        met.following.on_followed.append(leaving.keep)
                    for user in (who.user, *[key_of(did) for did in met.following.owners]):
                        node.keep_logs_of(user)
                    tasks.start_soon(build_indexes, opened.store)
                    if resident.is_worth_it(opened.store.view.name):
                        tasks.start_soon(env.offload, resident.enter, opened.store.view.name)
                    if plans.migrations:
                        tasks.start_soon(node.migrations.following.run)
                    if files is None:
                        tasks.start_soon(node.checks.run)
                    members_only = chosen.serve == "members"
                    device = partial(node.device_of, who)
                    current.open_nodes.append(node)
                    audit.note("opened", home=node.home, app=chosen.app, did=who.did)
                    try:
                        await env.offload(places.clean)
                        await _place_new(node)
                        if chosen.auto_migrate:
                            await node.migrations.apply()
                        if not node.migrations.pending_names():
                            for one in misread(opened.store):
                                _LOGGER.warning("%s: %s", node.home, one.text)
                        async with met.meeting(
                            opened.store, transport, tasks, device, node._globals, peers, members_only=members_only
                        ):
                            if transport is not None:
                                pins.meet(transport, device, met.serves)
                            yield node
                    finally:
                        current.open_nodes.remove(node)
                        audit.note("closed", home=node.home, did=who.did)
                        node.watchers.close()
                        await node.events.aclose()
            finally:
                await pins.aclose()
        finally:
            await opened.store.aclose()
    finally:
        if place is not None:
            place.close()


def _addresses(what: str, given: object) -> tuple[str, ...]:
    """Return addresses that were given one or many.

    Raises:
        ConfigError: they are no text.
    """
    found = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else None
    if found is None or not all(isinstance(one, str) for one in found):
        raise ConfigError(f"{what}= takes addresses, such as '/ip4/127.0.0.1/tcp/4001', not {given!r:.80}")
    return found


@asynccontextmanager
async def _tasks() -> AsyncIterator[trio.Nursery]:
    """A nursery that is cancelled at the end of the block, and whose block raises what it raises, not a group of it."""
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:  # told on below
                failure = error
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:  # of a task's, such as a handler's that ends the program
        raise flattened(group) from None
    if failure is not None:
        raise failure


def _libp2p(listen: Sequence[str], peers: Sequence[str], home: Path | None) -> Transport:
    """Return the transport over libp2p, which is loaded only now."""
    from debros.net.libp2p import libp2p_transport

    return libp2p_transport(listen, peers, home)


def _open_without(
    leaving: Leaving, env: Env, files: Files, place: Home | None, config: Config, schemas: Sequence[Schema],
    keys: frozenset[bytes], manifests: Sequence[Manifest], on_lost: Callable[[], None], plans: ProgramPlans,
    volumes: Sequence[Volume],
) -> Opened:  # fmt: skip
    """Open the store, once the logs that were given up have left it."""
    if place is not None and leaving.is_going:
        leaving.carry_out(files, place.log, place.view)
    opened = _open_store(env, files, place, config, schemas, keys, manifests, on_lost, plans, volumes)
    if place is None or not leaving.logs or opened.fresh_key_needed or opened.report or opened.rejected:
        return opened
    try:
        unfollowed = Remembered(place.path / "peers").unfollow
        own = keys | {manifest.admins[0] for manifest in manifests if manifest.scope == "user"}
        goes = leaving.choose(opened.store, place.log, files, unfollowed, own, env.now_us() // 1000)
    except BaseException:
        opened.store.close()
        raise
    if not goes:
        return opened
    opened.store.close()
    leaving.carry_out(files, place.log, place.view)
    return _open_store(env, files, place, config, schemas, keys, manifests, on_lost, plans, volumes)


def _open_store(
    env: Env, files: Files, place: Home | None, config: Config, schemas: Sequence[Schema], keys: frozenset[bytes],
    manifests: Sequence[Manifest], on_lost: Callable[[], None], plans: ProgramPlans, volumes: Sequence[Volume],
) -> Opened:  # fmt: skip
    return open_store(
        env,
        files,
        "/log" if place is None else place.log,
        MEMORY if place is None else place.view,
        schemas,
        prepare=register,
        own_keys=keys,
        durable=config.durability == "disk" and place is not None,
        flush_rows=config.flush_rows,
        row_cache=config.row_cache,
        max_segment=config.max_segment_bytes,
        manifests=manifests,
        on_lost=on_lost,
        plans=plans if plans.migrations else None,
        volumes=volumes,
    )


async def _place_new(node: Debros) -> None:
    """Give shards that are still empty the stores of their own that the settings say.

    Raises:
        ConfigError: there is no such shard, or it has records in the home already.
    """
    for name, chosen in node.config.placement.items():
        [shards] = [home.shards for home in node.collections() if home.schema.name == name]
        assert shards is not None, "checked before"
        for number, path in chosen.items():
            if number >= shards.count:
                raise ConfigError(f"placement: {name} has no shard {number}; they are 0 to {shards.count - 1}")
            replica = None if not shards.is_held(number) else shards.replica(number)
            if replica is None or node.places.of(replica.log_id) is not None:
                continue
            if replica.heads and node.places.unfinished(replica.log_id) is None:
                raise ConfigError(
                    f"placement: shard {number} of {name} has records in the home; open it without, and "
                    f"`await db.shards[{name}].move({number}, to={str(path)!r})`"
                )
            await move(node, shards, number, path, lambda how_far: None)


def _pins(env: Env, files: Files | None, place: Home | None, config: Config, opened: Opened) -> Pins:
    where = "/content" if place is None else str(place.path / "content")
    index = MEMORY if place is None or files is not None else str(place.path / "content" / "index.sqlite")
    disk = files or (MemoryFiles() if place is None else DiskFiles())
    ledger = MEMORY if place is None else str(place.path / "pins.sqlite")
    return Pins(env, config, opened.store, lambda: CarStore.open(env, disk, where, index), ledger)


def _check_shards(config: Config, schemas: Sequence[Schema]) -> None:
    """Refuse a choice of shards that would be passed over."""
    sharded = {schema.name for schema in schemas if schema.sharding is not None}
    for setting, names in (("shards", config.shards), ("placement", config.placement)):
        for name in names:
            if name not in sharded:
                known = did_you_mean(name, sharded) or f"; sharded are: {', '.join(sorted(sharded)) or 'none'}"
                raise ConfigError(f"{setting}: {name!r} is no sharded model that is opened{known}")


def _check_home(home: str | os.PathLike[str], map: ShardMap, manifests: Iterable[Manifest]) -> None:
    """Refuse a home whose logs are not those that the node would write to: the view shows all logs of its home.

    Otherwise a query would show records that `get` does not find and nobody can change.
    """
    for found in manifests:
        if found.app != map.app:
            raise ConfigError(
                f"{home} belongs to the app {found.app!r}, not {map.app!r}, as `app=`, DEBROS_APP or a pyproject.toml upward from the "
                "working directory says; use one home for each"
            )
        if found.scope == "global" and (found.open, found.admins) != (map.open, map.admins):
            admins = [did_of(key) for key in found.admins]
            raise ConfigError(
                f"{home} was written with open={found.open} and admins={admins}, which are fixed for the life of a log; "
                "open it with the same"
            )


def _map(app: str, anybody: bool, admins: Sequence[str], schemas: Sequence[Schema]) -> ShardMap:
    if not anybody and not admins:
        raise ConfigError("open=False without admins: nobody could ever write to the global log; name admins by DID")
    for schema in schemas:
        if schema.write == "admins" and schema.scope == "global" and not admins:
            raise ModelError(f'{schema.name} is write="admins", and there are none; `debros.open(..., admins=[did])`')
    try:
        return ShardMap(app, anybody, tuple(sorted({key_of(did) for did in admins})))
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"admins: {error}") from error
