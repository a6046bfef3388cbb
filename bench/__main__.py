"""`python -m bench`: measure, and print the tables.

--quick       10,000 and 100,000 documents, fewer rounds: about a minute
--only NAME   one part; may be repeated. Parts: the paths (see `bench.paths`), `peers`, `growth`
--json PATH   write everything measured to a file as well
--dir PATH    where homes and tables are made, on the disk to be measured; default `build/bench`
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import trio
from rich.console import Console

from bench.compare import Compared, compare
from bench.growth import Grown, grow
from bench.measure import Line
from bench.paths import PATHS
from bench.setting import Setting
from bench.table import print_growth, print_paths, print_peers, write_json

WIDTH: Final = 140  # of a table that goes into a file


async def run(arguments: argparse.Namespace, directory: Path, console: Console) -> None:
    """Measure, and print."""
    progress = Console(stderr=True)
    with progress.status("") as status:

        def say(what: str) -> None:
            status.update(f"measuring {what} ...")
            if not progress.is_terminal:
                progress.print(f"measuring {what} ...")

        setting = Setting(directory, arguments.quick, say)
        wanted = arguments.only or [*PATHS, "peers", "growth"]
        lines: list[Line] = []
        for name, path in PATHS.items():
            if name in wanted:
                setting.say(name)
                lines += await path(setting)
        compared: list[Compared] = []
        if "peers" in wanted:
            setting.say("other libraries")
            compared = await compare(setting)
        grown: list[Grown] = await grow(setting) if "growth" in wanted else []
    if lines:
        print_paths(console, lines)
    if compared:
        print_peers(console, compared)
    if grown:
        print_growth(console, grown)
    if arguments.json:
        write_json(arguments.json, lines, compared, grown)


def main() -> int:
    """Run the command. It tells; whether a missed target is a failure is for the reader."""
    parser = argparse.ArgumentParser("bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, at most 100,000 documents")
    parser.add_argument("--only", action="append", choices=[*PATHS, "peers", "growth"], metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="PATH")
    parser.add_argument("--dir", type=Path, default=Path("build/bench"), metavar="PATH")
    arguments = parser.parse_args()
    arguments.dir.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=arguments.dir))
    try:
        console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
        trio.run(run, arguments, directory, console)
        return 0
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
