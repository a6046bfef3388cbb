"""What the page on shards shows is what happens: its blocks, one after the other, print what stands behind `# ->`."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.programs import ROOT, run_python

PAGE = (ROOT / "docs" / "shards.md").read_text(encoding="utf-8")


def test_the_blocks_of_the_page_are_one_program_that_prints_what_they_show(tmp_path: Path) -> None:
    frame, *others = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    shown = [line for code in others for line in re.findall(r"# -> (.*)$", code, re.MULTILINE)]
    assert len(shown) >= 15
    before, after = frame.split("        ...\n")
    body = "".join(f"        {line}\n" for code in others for line in code.splitlines())
    (tmp_path / "page.py").write_text(before + body + after, encoding="utf-8")
    done = run_python("page.py", cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == [line.rstrip() for line in shown]
