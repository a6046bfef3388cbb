"""Every block of the query guide runs, and prints what stands behind `# ->`."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
import types
from pathlib import Path

import pytest
import trio

import debros

GUIDE = (Path(__file__).parents[2] / "docs" / "queries.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"# -> (.*)$", re.MULTILINE)


def program() -> tuple[str, list[str]]:
    """Return the frame with the blocks in the place of its dots, without its last line, and what they print."""
    frame, *blocks = BLOCK.findall(GUIDE)
    before, after = frame.split("        ...\n")
    body = "".join(f"        {line}\n" for block in blocks for line in block.splitlines())
    assert after.strip() == "trio.run(main)"
    return before + body, [line for block in blocks for line in SHOWN.findall(block)]


def test_every_block_of_the_guide_prints_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    code, shown = program()
    guide = types.ModuleType("query_guide")
    monkeypatch.setitem(sys.modules, "query_guide", guide)  # where its models look for each other
    exec(compile(code, "docs/queries.md", "exec"), vars(guide))  # the guide is ours
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        trio.run(guide.main)
    assert out.getvalue().splitlines() == shown
    assert len(shown) >= 40


def test_the_guide_names_every_step_and_terminal_of_a_query() -> None:
    public = {name for name in dir(debros.Query) if not name.startswith("_")}
    data = {
        "answer_instead",
        "at_most",
        "caching",
        "condition",
        "counts",
        "index",
        "is_distinct",
        "loads",
        "note",
        "orders",
        "picked",
        "seconds",
        "skipped",
        "users",
    }
    engine = {
        "exists_condition",
        "listed",
        "is_of_several",
        "is_partial",
        "models",
        "must_have_pages",
        "write_exists",
        "write_list",
    }
    other_names = {
        "and_", "or_", "not_", "group", "average", "clone", "exec", "find", "find_one", "find_or_fail", "first_or_fail", "get",
        "get_parameters", "join", "left_join", "load", "load_nested", "order_by_desc", "order_by_multiple", "order_by_raw", "reset",
        "skip", "take", "to_sql", "cache_tag", "no_cache", "use_index", "offset", "one_or_none", "live", "allow_partial", "chunk",
        "changes",
    }  # fmt: skip
    missing = [name for name in sorted(public - data - engine - other_names) if not re.search(rf"\b{name}\b", GUIDE)]
    assert missing == []


def test_the_code_of_the_guide_is_python_that_stands_alone() -> None:
    for block in BLOCK.findall(GUIDE):
        ast.parse(f"async def block():\n{''.join(f'    {line}' + chr(10) for line in block.splitlines())}")
