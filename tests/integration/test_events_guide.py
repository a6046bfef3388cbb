"""What docs/events.md shows is what happens: its blocks, put together, print what stands behind `# ->`."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.programs import ROOT, run_python

PAGE = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")


def test_the_blocks_are_one_program_that_prints_what_they_show(tmp_path: Path) -> None:
    frame, *inside = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    before, after = frame.split("        ...\n")
    body = "".join(f"        {line}\n" for code in inside for line in code.splitlines())
    (tmp_path / "guide.py").write_text(before + body + after, encoding="utf-8")
    done = run_python("guide.py", cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    shown = re.findall(r"# -> (.*)$", "".join(inside), re.MULTILINE)
    assert len(shown) > 6
    assert done.stdout.splitlines() == shown
