"""What the guide shows is what happens: its blocks, put together as it says, print what stands beside them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.programs import ROOT, run_python

GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$(?:\n+^```text\n(?P<printed>.*?)^```$)?", re.MULTILINE | re.DOTALL)
END = "-- end of a block --\n"


def program() -> tuple[str, list[str]]:
    """Return the program that the guide's blocks are, and what each that runs should print."""
    (skeleton, _), *blocks = BLOCK.findall(GUIDE)
    top, inside, last = [], [], []
    for code, printed in blocks:
        if code.startswith(("from ", "import ", "@")):
            assert not printed, f"a block of the top shows an output:\n{code}"
            top.append(code)
        else:
            (last if code.startswith("async def ") else inside).append((f'{code}print("{END[:-1]}")\n', printed))
    indent = "\n" + " " * 8
    body = indent.join(line for code, _ in inside for line in code.splitlines())
    assert skeleton.count("...") == 1
    whole = "\n\n".join([*top, skeleton.replace("...", body), *(code for code, _ in last)])
    return whole, [printed for _, printed in (*inside, *last)]


def test_the_blocks_of_the_guide_are_one_program_that_prints_what_the_guide_says(tmp_path: Path) -> None:
    code, expected = program()
    (tmp_path / "guide.py").write_text(code, encoding="utf-8")
    done = run_python("guide.py", cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.split(END) == [*expected, ""]

    checked = run_python("-m", "debros.cli", "verify", "./data", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
