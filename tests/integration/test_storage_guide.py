"""What the storage guide shows is what happens: its blocks, put together, print what stands behind `# ->`."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.programs import ROOT, run_python

GUIDE = (ROOT / "docs" / "storage.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"# -> (.*)$", re.MULTILINE)


def test_the_storage_guides_blocks_are_one_program_that_prints_what_they_show(tmp_path: Path) -> None:
    frame, *inside = BLOCK.findall(GUIDE)
    shown = [line for code in inside for line in SHOWN.findall(code)]
    assert len(shown) > 6
    before, after = frame.split("        ...\n")
    body = "".join(f"        {line}\n" for code in inside for line in code.splitlines())
    (tmp_path / "guide.py").write_text(before + body + after, encoding="utf-8")
    done = run_python("guide.py", cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == shown


def test_every_row_of_the_pinning_table_names_a_test() -> None:
    """The rows of the table, and the tests that hold them."""
    tests = "".join((ROOT / "tests" / "content" / name).read_text() for name in ("test_deciding.py", "test_pins.py"))
    for row in (
        "test_fixed_gives_its_factor", "test_popularity_is_recency_and_accesses", "test_size_is_smaller_first",
        "test_age_is_newer_first", "test_tiered_has_different_rules", "test_custom_asks_a_function",
        "test_limits_are_per_model_and_overall", "test_a_better_item_replaces_the_worst", "test_protection_is_an_hour",
        "test_cleanup_lets_go", "table: methods", "test_metrics_tell_all_that_the_table_lists",
    ):  # fmt: skip
        assert row in tests
