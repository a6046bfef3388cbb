"""What the page on running a node shows is what happens: its blocks, put together, print what stands behind `# ->`."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.programs import ROOT, run_python

GUIDE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"# -> (.*)$", re.MULTILINE)


def test_the_pages_blocks_are_one_program_that_prints_what_they_show(tmp_path: Path) -> None:
    frame, *inside = BLOCK.findall(GUIDE)
    shown = [line for code in inside for line in SHOWN.findall(code)]
    assert len(shown) > 6
    before, after = frame.split("        ...\n")
    body = "".join(f"        {line}\n" for code in inside for line in code.splitlines())
    (tmp_path / "guide.py").write_text(before + body + after, encoding="utf-8")
    done = run_python("guide.py", cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == shown
