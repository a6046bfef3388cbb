"""The pytest plugin: a fresh node or a simulated world for a test that asks, a seed to see a failure again, nothing for others."""

from __future__ import annotations

import re

import pytest

from debros.models import registry
from debros.testing import deterministic
from debros.testing.world import World

pytest_plugins = ["pytester"]

WORLD_TEST = "async def test_it(debros_world):\n    debros_world"

MODELS = """
import pytest
from debros import Field, Model, model

@model(scope="global", name="Note")
class Note(Model):
    text: Field[str]
"""


@pytest.fixture(scope="module", autouse=True)
def _everything_is_loaded() -> None:
    """A suite that is run in this process forgets what it loaded, and the database cannot be loaded twice."""

    async def main() -> None:
        async with World(0, models=[], nodes=1):
            pass

    deterministic.run(main, 0)


@pytest.fixture(autouse=True)
def _models_are_of_one_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_defined", {})


def passed(pytester: pytest.Pytester, code: str, *arguments: str, passed: int = 1, failed: int = 0) -> pytest.RunResult:
    pytester.makepyfile(MODELS + code)
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)
    done.assert_outcomes(passed=passed, failed=failed)
    return done


def test_each_test_gets_a_node_of_its_own_in_memory_which_is_the_current_one(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
@pytest.mark.parametrize("n", range(2))
async def test_it(debros_node, n):
    await Note.create(text="a")
    assert await Note.count() == 1
    assert (debros_node.home, debros_node.status().app) == (":memory:", "mine")

test_it = pytest.mark.debros(app="mine")(test_it)
""",
        passed=2,
    )


def test_a_world_has_nodes_in_virtual_time_that_are_cut_off_and_come_together(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
@pytest.mark.debros(nodes=2)
async def test_it(debros_world):
    debros_world.network.partition(["n0"], ["n1"])
    with debros_world["n0"].db.current():
        await Note.create(text="hello")
    await debros_world.settle()
    debros_world.check()
    with debros_world["n1"].db.current():
        assert await Note.count() == 1
""",
    )


FAILS_BY_SEED = """
@pytest.mark.debros(seeds=4, nodes=1)
async def test_it(debros_world):
    drawn = debros_world.random.randrange(1000)
    print("drawn", drawn)
    assert debros_world.seed != 2
"""


def test_a_run_that_fails_tells_its_seed_and_the_command_that_it_prints_runs_it_again(
    pytester: pytest.Pytester,
) -> None:
    first = passed(pytester, FAILS_BY_SEED, passed=3, failed=1)
    [told] = [line for line in first.outlines if "the same run again" in line]
    again = re.search(r"seed 2; the same run again: pytest '(.*)' (--debros-seed=2)$", told)
    assert again is not None
    second = pytester.runpytest_inprocess(again[1], again[2])
    second.assert_outcomes(failed=1)

    def drawn(result: pytest.RunResult) -> list[str]:
        return [line for line in result.outlines if line.startswith("drawn ")]

    assert drawn(first) == drawn(second) != []


def test_one_seed_can_be_asked_for_and_it_alone_is_run(pytester: pytest.Pytester) -> None:
    passed(pytester, FAILS_BY_SEED, "--debros-seed=9", passed=1).stdout.no_fnmatch_line("*same run again*")


def test_what_a_test_in_a_world_raises_is_what_pytest_sees(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MODELS
        + """
@pytest.mark.debros(nodes=1)
async def test_it(debros_world):
    pytest.skip("not today")

@pytest.mark.debros(nodes=1)
async def test_other(debros_world):
    raise ValueError("as it is")
"""
    )
    done = pytester.runpytest_inprocess()
    done.assert_outcomes(skipped=1, failed=1)
    done.stdout.fnmatch_lines(["E*ValueError: as it is"])
    done.stdout.no_fnmatch_line("*ExceptionGroup*")


def test_a_suite_may_give_the_fixtures_other_names(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
@pytest.fixture
def db(debros_node):
    return debros_node

async def test_it(db):
    await Note.create(text="a")
    assert (await db.fingerprint()).strip()
""",
    )


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("def test_it(debros_node):\n    pass", "async def"),
        ("def test_it(debros_world):\n    pass", "async def"),
        ("async def test_it(debros_world, debros_node):\n    pass", "one node or one world"),
        (
            "@pytest.fixture\ndef early(debros_node):\n    return debros_node.addresses\nasync def test_it(early):\n    pass",
            "for nothing before",
        ),
        ("@pytest.mark.debros(3)\n" + WORLD_TEST, "debros(3): its options go by their names"),
        ("@pytest.mark.debros(3)\n" + WORLD_TEST.replace("world", "node"), "debros(3): its options go by their names"),
        ("@pytest.mark.debros(seeds=0)\n" + WORLD_TEST, "debros(seeds=0): how many seeds, 1 or more"),
        ("@pytest.mark.debros(seeds='abc')\n" + WORLD_TEST, "debros(seeds='abc'): how many seeds, 1 or more"),
        ("@pytest.mark.debros(seeds=[])\n" + WORLD_TEST, "how many seeds, 1 or more"),
        ("@pytest.mark.debros(seed=3)\n" + WORLD_TEST, "debros(seed=...): which seeds are wanted is `seeds=[[]3[]]`"),
        ("@pytest.mark.debros(nodes='3')\n" + WORLD_TEST, "nodes= is how many there are, 1 or more, not '3'"),
        ("@pytest.mark.debros(models=Note)\n" + WORLD_TEST, "models= takes a list of model classes"),
        (WORLD_TEST + "['n7']", "ArgumentError: no node is called 'n7'*; they are n0, n1, n2"),
        (WORLD_TEST + "[0]", "ArgumentError: no node is called 0"),
        (WORLD_TEST + ".crash_soon('n9', 1)", "no node is called 'n9'"),
        (WORLD_TEST + ".network.partition(['n0'], ['n9'])", "no node is called 'n9'"),
        (WORLD_TEST + ".network.partition('n0', 'n1')", "partition takes lists of hosts"),
    ],
)
def test_a_test_that_cannot_have_what_it_asks_for_is_told_why(pytester: pytest.Pytester, code: str, why: str) -> None:
    pytester.makepyfile(MODELS + code)
    done = pytester.runpytest_inprocess()
    assert done.ret != 0
    done.stdout.fnmatch_lines([f"*{why}*"])


def test_other_suites_notice_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import sys

import pytest

@pytest.fixture
def db():
    return "theirs"

@pytest.fixture
def world(request):
    return "theirs"

def test_names_are_theirs(db, world):
    assert (db, world) == ("theirs", "theirs")

def test_nothing_of_the_database_is_loaded():
    assert not {"trio", "pydantic", "apsw", "libp2p", "debros.node", "debros.models"} & set(sys.modules)
"""
    )
    pytester.runpytest_subprocess("-p", "no:anyio", "--strict-markers").assert_outcomes(passed=2)


def test_a_node_that_does_not_open_says_why_and_leaves_nothing_behind(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MODELS
        + """
@pytest.mark.debros(nodes=2, settings={"durability": "none at all"})
async def test_it(debros_world):
    pass
"""
    )
    done = pytester.runpytest_inprocess("-W", "error")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*durability should be*"])


def test_a_plugin_that_runs_every_async_test_in_a_loop_of_its_own_leaves_these_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        pytest_asyncio="""
import asyncio, functools

def in_its_loop(test):
    @functools.wraps(test)
    def run(*args, **values):
        return asyncio.run(test(*args, **values))
    return run
"""
    )
    pytester.makeconftest("""
import inspect, pytest
from pytest_asyncio import in_its_loop

@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    if inspect.iscoroutinefunction(item.obj):
        item.obj = in_its_loop(item.obj)
    return (yield)
""")
    pytester.syspathinsert()
    passed(
        pytester,
        """
async def test_it(debros_node):
    await Note.create(text="a")
    assert await Note.count() == 1

class TestIt:
    async def test_it(self, debros_node):
        assert await Note.count() == 0

async def test_others_are_run_by_the_plugin():
    import asyncio
    assert asyncio.get_running_loop()
""",
        passed=3,
    )


def test_a_wrapper_of_the_suites_own_is_never_passed_by(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
import functools

def wrapped(test):
    @functools.wraps(test)
    def run(debros_node):
        return test(debros_node)
    return run

@wrapped
async def test_it(debros_node):
    pass
""",
        passed=0,
        failed=1,
    ).stdout.fnmatch_lines("*nodes are for tests that are written*async def*")
