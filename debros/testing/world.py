"""A world of real nodes: homes, logs, views, signatures and sync, on a network in memory and disks that lose power.

Everything that happens comes from one seed: keys, clocks, faults, the order of tasks. So a run that fails is run again by its
seed, and goes the same way, in any process.

    async def main():
        async with World(seed=7, models=[Post]) as world:
            with world["n0"].db.current():
                await Post.create(title="hello")
            world.network.partition(["n0", "n1"], ["n2"])
            ...
            await world.settle()
            world.check()

    deterministic.run(main, seed=7)
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, Final, Self

import trio

from debros.blocks.files import MemoryFiles
from debros.errors import ArgumentError, ClosedError, DebrosError, StorageError
from debros.identity.keys import Identity
from debros.log.manifest import manifest_of_user
from debros.net.memory import Faults
from debros.node import Debros
from debros.opening import open_node
from debros.replica.store import Admitted
from debros.testing.checks import Broken, Witness, check_log
from debros.testing.environment import SimulatedEnv
from debros.testing.faults import FailingFiles, RecordingFiles
from debros.testing.network import Network, unknown

SETTLING_S: Final = 900.0  # of virtual time that a world may need to come together


@dataclass
class Life:
    """One node of a world: what survives its crashes, and the open node while it lives."""

    name: str
    env: SimulatedEnv
    identity: Identity
    home: Path
    image: MemoryFiles = field(default_factory=MemoryFiles)  # the disk, as the last crash left it
    disk: FailingFiles | None = None
    recording: RecordingFiles | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    is_wanted: bool = True  # whether it should be running
    _db: Debros | None = None
    changed: trio.Event = field(default_factory=trio.Event)

    @property
    def db(self) -> Debros:
        """The open node."""
        if self._db is None:
            raise ClosedError(f"{self.name} is down")
        return self._db

    @property
    def is_up(self) -> bool:
        """Whether it is open."""
        return self._db is not None

    def become(self, db: Debros | None) -> None:
        """Note that it is open, or down."""
        self._db = db
        self.changed.set()
        self.changed = trio.Event()


class World:
    """Some nodes; an async context manager."""

    def __init__(
        self, seed: int, *, models: Iterable[Any], nodes: int = 3, faults: Faults | None = None, skew_s: float = 0.0,
        app: str = "simulation", closed: bool = False, settings: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Describe a world.

        Args:
            seed: of everything.
            models: what the nodes show.
            nodes: how many; they are called `n0`, `n1`, ...
            faults: of the network.
            skew_s: by how many seconds clocks are off, at most, either way.
            app: the application's name.
            closed: whether only `n0`, an admin, and whom it grants may write to global logs.
            settings: of every node.

        Raises:
            ArgumentError: `seed` or `nodes` is no whole number, or `models` no list.
        """
        if type(seed) is not int:
            raise ArgumentError(f"seed= is a whole number, not {seed!r:.80}")
        if type(nodes) is not int or nodes < 1:
            raise ArgumentError(f"nodes= is how many there are, 1 or more, not {nodes!r:.80}")
        if isinstance(models, str) or not isinstance(models, Iterable):
            raise ArgumentError(f"models= takes a list of model classes, not {models!r:.80}")
        self.seed = seed
        self.random = Random(f"world {seed}")  # noqa: S311 - a simulation
        self.models = list(models)
        self.app = app
        self.closed = closed
        self.trace = sha256()
        self.witness = Witness()
        self.lives: dict[str, Life] = {}
        self._skew_s = skew_s
        self._settings = dict(settings or {})
        self._names = [f"n{n}" for n in range(nodes)]
        self.network = Network(Random(f"network {seed}"), faults, self._names)  # noqa: S311 - as above
        self._stack = AsyncExitStack()
        self._nursery: trio.Nursery

    def __getitem__(self, name: str) -> Life:
        """Return a node by its name.

        Raises:
            ArgumentError: none is called so.
        """
        if name not in self.lives:
            raise ArgumentError(unknown(name, self.lives))
        return self.lives[name]

    @property
    def admin(self) -> Identity:
        """The admin of a closed world."""
        return self.lives["n0"].identity

    @property
    def everybody(self) -> list[Life]:
        """All nodes."""
        return list(self.lives.values())

    async def __aenter__(self) -> Self:
        try:
            await self._begin()
        except BaseException:
            await self.__aexit__()  # a node that does not open is the end of its world
            raise
        return self

    async def _begin(self) -> None:
        homes = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="debros-world-")))
        self._nursery = await self._stack.enter_async_context(trio.open_nursery())
        for name in self._names:
            skew_us = round(self.random.uniform(-self._skew_s, self._skew_s) * 1e6)
            env = SimulatedEnv(f"{self.seed} {name}", skew_us)
            identity = Identity.from_seed(self.random.randbytes(32))
            self.lives[name] = Life(name, env, identity, homes / name)
        for life in self.everybody:
            self._nursery.start_soon(self._live, life)
        for life in self.everybody:
            await self.up(life.name)

    async def __aexit__(self, *exc: object) -> None:
        for life in self.everybody:
            life.is_wanted = False
            life.scope.cancel()
        self._nursery.cancel_scope.cancel()
        await self._stack.aclose()

    def note(self, *what: object) -> None:
        """Add something to the trace, by which two runs are told apart."""
        self.trace.update(repr((round(trio.current_time(), 6), *what)).encode())

    # -- lives -------------------------------------------------------------------------------------------------

    async def _live(self, life: Life) -> None:
        while True:
            while not life.is_wanted:
                await life.changed.wait()
            life.scope = trio.CancelScope()
            life.recording = RecordingFiles(life.image)
            life.disk = FailingFiles(life.recording, ())
            try:
                with life.scope:
                    await self._be_open(life)
            except (StorageError, OSError) as error:  # its disk has no power
                self.note(life.name, "broke", type(error).__name__)
            life.image = life.recording.power_cut(self.random)
            self.note(life.name, "down")
            life.become(None)
            if life.is_wanted:
                await trio.sleep(0.5)

    async def _be_open(self, life: Life) -> None:
        others = [f"/memory/{name}" for name in self._names if name < life.name]
        admins = [self.admin.did] if self.closed else []
        async with open_node(
            life.env, life.disk, life.home, app=self.app, models=self.models, identity=life.identity, admins=admins,
            anybody=not self.closed, settings=self._settings, peers=others,
            make_transport=lambda _: self.network.host(life.name),
        ) as db:  # fmt: skip
            db.store.on_admitted.append(lambda admitted: self._witness(life, admitted))
            for other in self.everybody:
                await db.follow(other.identity.did)
            self.note(life.name, "up")
            life.become(db)
            await trio.sleep_forever()

    def _witness(self, life: Life, admitted: Sequence[Admitted]) -> None:
        for one in admitted:
            self.note(life.name, one.origin, one.entry.digest)
        self.witness.saw(life.name, life.db.store if life.is_up else None, admitted)

    async def up(self, name: str) -> None:
        """Start a node, if it is down, and wait until it is open."""
        life = self[name]
        life.is_wanted = True
        if not life.is_up:
            life.changed.set()
            life.changed = trio.Event()
        while not life.is_up:
            await life.changed.wait()

    async def crash(self, name: str) -> None:
        """Cut a node's power: what was not synced may be there or not when it is started again."""
        life = self[name]
        life.is_wanted = False
        if life.disk is not None:
            life.disk.arm(1, forever=True)
        life.scope.cancel()
        while life.is_up:
            await life.changed.wait()

    def crash_soon(self, name: str, calls: int) -> None:
        """Cut a node's power behind so many further calls of its disk, wherever it is then."""
        disk = self[name].disk
        if disk is not None:
            disk.arm(calls, forever=True)

    # -- the end -----------------------------------------------------------------------------------------------

    async def settle(self, *, timeout_s: float = SETTLING_S) -> None:
        """Heal the network, start every node, and wait until all show the same.

        Raises:
            Broken: they do not come together.
        """
        self.network.heal()
        self.network.faults = Faults(delay_s=self.network.faults.delay_s)
        for life in self.everybody:
            if life.disk is not None and life.disk.fails_now():
                await self.crash(life.name)
            elif life.disk is not None:
                life.disk.arm(())
            await self.up(life.name)
        deadline = trio.current_time() + timeout_s
        prints: list[str] = []
        while trio.current_time() < deadline:
            await trio.sleep(5)
            if not all(life.is_up for life in self.everybody):
                continue
            try:
                prints = [await life.db.fingerprint() for life in self.everybody]
            except DebrosError as error:
                self.note("settling", type(error).__name__)
                continue
            sets = [frozenset(self.entries(life)) for life in self.everybody]
            if len(set(prints)) == 1 and len(set(sets)) == 1:
                self.note("settled", prints[0])
                return
        sizes = {life.name: len(self.entries(life)) for life in self.everybody if life.is_up}
        raise Broken("convergence", f"nodes show different things after {timeout_s} s: {prints}; entries {sizes}")

    def entries(self, life: Life) -> list[bytes]:
        """Return the digests of all entries of a node, in the order in which it admitted them.

        Raises:
            Broken: it gave a number to none, or to one that it has already.
        """
        store = life.db.store
        try:
            return [store.entries.by_number(e).digest for e in range(1, store.entries.next_e)]
        except StorageError as error:
            raise Broken("numbers of entries", f"of {life.name}: {error}") from error

    def check(self) -> None:
        """Check every law on every node.

        Raises:
            Broken: with the name of the law.
        """
        users = {life.identity.user for life in self.everybody}
        for life in self.everybody:
            store = life.db.store
            held = frozenset(self.entries(life))
            self.witness.check(life.name, held)
            for replica in store.by_number.values():
                check_log(store, replica)
        for digest in sorted(self.witness.forged):
            for life in self.everybody:
                if life.db.store.entries.find(digest) is not None:
                    raise Broken("authenticity", f"{life.name} admitted a forged entry: {self.witness.forged[digest]}")
        assert users

    def log_of(self, life: Life) -> bytes:
        """Return the id of a node's own user log."""
        return manifest_of_user(self.app, life.identity.user).log_id
