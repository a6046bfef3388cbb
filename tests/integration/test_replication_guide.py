"""What the pages on replication and transports show is what happens: their programs and tests are run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.programs import ROOT, run_python

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HOOK = """
import functools, inspect, pytest, trio

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        trio.run(functools.partial(pyfuncitem.obj, **{n: pyfuncitem.funcargs[n] for n in pyfuncitem._fixtureinfo.argnames}))
        return True
"""


def blocks(page: str) -> list[str]:
    return BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))


def test_two_nodes_meet_as_the_page_says(tmp_path: Path) -> None:
    program, *_ = blocks("replication.md")
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    done = run_python("program.py", cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == re.findall(r"# -> (.*)$", program, re.MULTILINE) != []


def test_the_tests_that_the_page_shows_pass(tmp_path: Path) -> None:
    _, *tests = blocks("replication.md")
    (tmp_path / "test_notes.py").write_text("\n\n".join(tests), encoding="utf-8")
    done = run_python("-m", "pytest", "-q", cwd=tmp_path)
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_a_run_that_fails_ends_with_what_the_page_shows(tmp_path: Path) -> None:
    _, tests, *_ = blocks("replication.md")
    (tmp_path / "test_notes.py").write_text(tests.rstrip() + "\n    assert world.seed != 2\n", encoding="utf-8")
    done = run_python("-m", "pytest", "-q", cwd=tmp_path)
    page = (ROOT / "docs" / "replication.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"^seed 2; the same run again: .*$", page, re.MULTILINE)
    assert shown in done.stdout.splitlines(), done.stdout
    assert "1 failed, 3 passed" in done.stdout
    again = re.search(r"pytest '(.*)' (--debros-seed=2)$", shown)
    assert again is not None
    assert "1 failed" in run_python("-m", "pytest", "-q", again[1], again[2], cwd=tmp_path).stdout


def test_a_transport_is_held_to_the_contract_as_the_page_says(tmp_path: Path) -> None:
    contract, node = blocks("transports.md")
    (tmp_path / "conftest.py").write_text(HOOK)
    (tmp_path / "test_mine.py").write_text(contract + "\n\n" + node, encoding="utf-8")
    done = run_python("-m", "pytest", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 10
