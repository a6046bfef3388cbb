"""The pytest plugin: tests with a fresh node, and tests in a simulated world that are run again by their seed.

pytest loads it by its entry point in every suite of an environment that debros is installed in, so it imports nothing of the
database before a test asks for it, its names begin with `debros_`, and it touches no test that asks for none of them.
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from typing import Any, Final, TypeAlias, final

import pytest

Test: TypeAlias = Callable[..., Awaitable[object]]

MARK: Final = "debros"
WORLD: Final = "debros_world"
SEED: Final = "debros_seed"
_RUNNERS: Final = frozenset(
    {"anyio", "pytest_asyncio", "pytest_trio", "trio"}
)  # who wrap `async def` tests into others
SEEDS: Final = "seeds"  # of the marker: how many, or which


@final
class Wanted:
    """What a fixture stands for until the test runs; the plugin puts the open node or world in its place."""

    def __init__(self, seed: int | None, options: Mapping[str, Any]) -> None:
        self.seed = seed  # of a world; `None` for a node
        self.options = options

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # whoever looks at it from outside is no test
        raise pytest.UsageError(
            f"{name!r} of a debros fixture: it opens for an `async def` test, and for nothing before it"
        )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--debros-seed`."""
    parser.getgroup("debros").addoption(
        "--debros-seed", type=int, default=None, metavar="N", help="run tests in simulated worlds with this seed only"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        "debros(seeds=1, **options): by how many seeds, or by which, a test in a simulated world is run; the options are those "
        "of debros.testing.world.World, or of debros.open for a test with a node",
    )


def _marked(node: pytest.Item) -> dict[str, Any]:
    marks = list(reversed(list(node.iter_markers(MARK))))  # the nearest counts most
    for mark in marks:
        if mark.args:
            raise pytest.UsageError(
                f"debros({', '.join(map(repr, mark.args))}): its options go by their names, e.g. `debros(seeds=3)`"
            )
    return {name: value for mark in marks for name, value in mark.kwargs.items()}


def _options(node: pytest.Item) -> dict[str, Any]:
    return {name: value for name, value in _marked(node).items() if name != SEEDS}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test in a world once for each seed."""
    if WORLD not in metafunc.fixturenames:
        return
    seeds = _seeds(_marked(metafunc.definition).get(SEEDS, 1))
    only = metafunc.config.getoption("--debros-seed")
    metafunc.parametrize(SEED, seeds if only is None else [only])


def _seeds(wanted: object) -> list[int]:
    """Return the seeds that are wanted: so many, or these."""
    if isinstance(wanted, Iterable) and not isinstance(wanted, (str, bytes)):
        seeds = list(wanted)
    else:
        seeds = list(range(wanted)) if type(wanted) is int else []
    if not seeds or any(type(seed) is not int for seed in seeds):
        raise pytest.UsageError(f"debros(seeds={wanted!r}): how many seeds, 1 or more, or a list of them: `seeds=[7]`")
    return seeds


@pytest.fixture
def debros_node(request: pytest.FixtureRequest) -> Any:
    """A fresh node in memory (`debros.Debros`), for an `async def` test; the test runs under trio, and it is the current node."""
    return Wanted(None, _options(request.node))


@pytest.fixture
def debros_world(request: pytest.FixtureRequest, debros_seed: int) -> Any:
    """A simulated world (`debros.testing.world.World`), for an `async def` test, which runs in virtual time."""
    return Wanted(debros_seed, _options(request.node))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that asked for a node or a world; all others are left to whoever runs them."""
    given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    wanted = {name: value for name, value in given.items() if isinstance(value, Wanted)}
    if not wanted:
        return None
    test = _unwrapped(pyfuncitem.obj)
    if not inspect.iscoroutinefunction(test):
        raise pytest.UsageError(f"{', '.join(wanted)}: nodes are for tests that are written `async def`")
    if len(wanted) > 1:
        raise pytest.UsageError(f"{' and '.join(wanted)}: a test has one node or one world; a world has many nodes")
    [(name, value)] = wanted.items()
    run = _in_node if value.seed is None else _in_world
    run(value, test, name, given)
    return True


def _unwrapped(test: Any) -> Any:
    """Return a test that a plugin for other loops has wrapped, without that: it would run it in its own."""
    while not inspect.iscoroutinefunction(test) and hasattr(test, "__wrapped__"):
        if getattr(test, "__globals__", {}).get("__name__", "").partition(".")[0] not in _RUNNERS:
            break
        test = test.__wrapped__
    return test


def _in_node(wanted: Wanted, test: Test, name: str, given: Mapping[str, Any]) -> None:
    import trio

    import debros

    async def main() -> None:
        async with debros.open(":memory:", **wanted.options) as node:
            await test(**{**given, name: node})

    trio.run(main)


def _in_world(wanted: Wanted, test: Test, name: str, given: Mapping[str, Any]) -> None:
    import outcome

    from debros.models.registry import defined_models
    from debros.testing import deterministic
    from debros.testing.world import World

    if "seed" in wanted.options:
        raise pytest.UsageError(f"debros(seed=...): which seeds are wanted is `seeds=[{wanted.options['seed']!r}]`")
    seed = 0 if wanted.seed is None else wanted.seed
    options = {"models": defined_models(), **wanted.options}

    async def main() -> None:
        async with World(seed, **options) as world:
            result = await outcome.acapture(lambda: test(**{**given, name: world}))
        result.unwrap()  # behind the world: its tasks would make a group of what the test raised

    deterministic.run(main, seed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say by which seed a run failed, and how to see the same run again."""
    report = yield
    found = item.funcargs.get(SEED) if isinstance(item, pytest.Function) else None
    if report.failed and call.when == "call" and found is not None and WORLD in getattr(item, "fixturenames", ()):
        again = f"pytest {shlex.quote(item.nodeid)} --debros-seed={found}"
        report.sections.append(("simulated world", f"seed {found}; the same run again: {again}"))
    return report
