"""What the guide shows is what happens: its blocks, put together as it says, print what stands behind `# ->`."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.programs import ROOT, run_python

GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"# -> (.*)$", re.MULTILINE)


def blocks() -> tuple[str, list[str], list[str], list[str]]:
    """Return the frame of the program, then the blocks for its top, for the place of the dots, and for its end."""
    frame, *others = BLOCK.findall(GUIDE)
    top: list[str] = []
    inside: list[str] = []
    end: list[str] = []
    for code in others:
        place = top if code.startswith(("from ", "@")) else end if code.startswith("async def ") else inside
        place.append(code)
    return frame, top, inside, end


def program() -> str:
    """Return what a reader has who does what the guide says."""
    frame, top, inside, end = blocks()
    before, after = frame.split("        ...\n")
    body = "".join(f"        {line}\n" for code in inside for line in code.splitlines())
    return "\n\n".join([*top, before + body + after, *end])


def test_the_guides_blocks_are_one_program_that_prints_what_they_show(tmp_path: Path) -> None:
    _, top, inside, end = blocks()
    shown = [line for code in (*inside, *end) for line in SHOWN.findall(code)]
    assert len(shown) > 20
    assert not SHOWN.search("".join(top))
    (tmp_path / "guide.py").write_text(program(), encoding="utf-8")
    done = run_python("guide.py", cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == shown

    checked = run_python("-m", "debros.cli", "verify", "./data", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert {path.name for path in (tmp_path / "data").iterdir()} >= {"log", "view.sqlite", "identity", "device", "lock"}


def test_every_error_of_the_guide_is_public_and_every_public_error_of_one_node_is_in_the_guide() -> None:
    import debros

    public = {name for name in dir(debros) if name.endswith("Error")}
    table = GUIDE[GUIDE.index("| error |") : GUIDE.index("## Durability")]
    named = set(re.findall(r"`(\w+Error)`", table)) - {
        "ValueError",
        "LookupError",
        "TimeoutError",
        "TypeError",
        "AttributeError",
    }
    with_peers = {"EntryHeldError", "EntryRefusedError", "TransportError"}  # one node meets no entries of others
    assert named == public - with_peers - {"DebrosError", "FieldError"}


def test_every_page_the_guide_links_to_is_there() -> None:
    for name in re.findall(r"\]\(([a-z./]+)\)", GUIDE):
        assert (ROOT / "docs" / name).exists(), name
