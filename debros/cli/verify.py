"""`debros verify`: checks a whole database from its files alone, and reports what is not as it should be."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from debros.blocks.car import HEADER_SIZE, Section, split, walk
from debros.blocks.files import DiskFiles
from debros.blocks.segments import list_segments, segment_path
from debros.cli.exits import CommandError, Exit
from debros.cli.options import Json
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.cli.units import binary_size, counted, duration
from debros.env import SYSTEM
from debros.places import Places
from debros.replica.verify import Finding, Progress, verify_home

CONTENT: Final = "content"  # what a finding in it is of
SHOWN = 50  # findings that a report lists; with --json all are


def command(home: Path | None = None, /, *, json: Json = False) -> Exit:
    """Check every content address, signature, clock and link of a whole database, files included, offline.

    Reads only, and needs no network: whoever holds the files can check them.

    Args:
        home: The folder that `debros.open` was given.
        json: Print one JSON object instead of a report.
    """
    return verify(Project.here().home(home), Screen(json))


def verify(home: Path, screen: Screen) -> Exit:
    """Check the database in `home`; `Exit.FAILED` when anything is damaged.

    Raises:
        CommandError: there is no database, or its files cannot be read.
    """
    if not (home / "log").is_dir():
        if (home / "view.sqlite").is_file():
            raise CommandError(f"the log of {home} is gone: there is no folder {home / 'log'}", exit=Exit.FAILED)
        raise CommandError(f"there is no debros database in {home}", next="debros verify PATH")
    begun = SYSTEM.monotonic_s()
    checked, findings = check(home, screen)
    blocks, damaged = check_content(home / "content")
    findings += damaged
    elapsed_s = SYSTEM.monotonic_s() - begun

    for finding in findings[:SHOWN]:
        screen.say(place_of(finding), f"{finding.what}: {finding.detail}", style="red")
    if len(findings) > SHOWN:
        screen.say("", f"... and {len(findings) - SHOWN:,} more; --json lists them all")
    outcome = counted(len(findings), "finding") if findings else "every address, signature, clock and link is right"
    screen.say(
        "damaged" if findings else "whole",
        f"{counted(checked.entries, 'entry', 'entries')}{of_content(blocks)}, {binary_size(checked.done_bytes)} "
        f"in {duration(elapsed_s)}: {outcome}",
        style="bold red" if findings else "bold green",
    )
    screen.result(
        {
            "home": str(home),
            "whole": not findings,
            "entries": checked.entries,
            "blocks": blocks,
            "bytes": checked.done_bytes,
            "findings": [
                {"place": place_of(finding), "what": finding.what, "detail": finding.detail} for finding in findings
            ],
        }
    )
    return Exit.FAILED if findings else Exit.DONE


def place_of(finding: Finding) -> str:
    """Return the file and the byte where a finding lies."""
    number, offset = split(finding.position)
    return f"{segment_path('content' if finding.what == CONTENT else 'log', number)}:{offset}"


def of_content(blocks: int) -> str:
    """Return how many blocks of content there are, in words behind others; nothing where there are none."""
    return f" and {counted(blocks, 'block')} of content" if blocks else ""


def check_content(directory: Path) -> tuple[int, list[Finding]]:
    """Hash all blocks of content; return how many are whole, and what is damaged.

    A program may write meanwhile: what the end of the last segment cuts off is not there yet, and a segment that goes has what it
    held in a newer one.
    """
    blocks, findings, files = 0, list[Finding](), DiskFiles()
    numbers = list_segments(files, str(directory)) if directory.is_dir() else []
    for number in numbers:
        path = Path(segment_path(str(directory), number))
        with suppress(FileNotFoundError), closing(files.open(str(path), write=False)) as handle:
            size = path.stat().st_size
            for found in walk(handle.pread, size, number):
                if isinstance(found, Section):
                    blocks += split(found.position)[1] != HEADER_SIZE  # not the head of the segment
                elif number != numbers[-1] or split(found.position)[1] + found.size < size:
                    findings.append(Finding(found.position, CONTENT, found.what))
    return blocks, findings


def check(home: Path, screen: Screen) -> tuple[Progress, list[Finding]]:
    """Run the verification with a progress bar; return how far it came and what it found.

    Raises:
        CommandError: the files cannot be read.
    """
    checked = Progress(0, 0, 0)
    findings: list[Finding] = []
    with screen.progress("bytes") as bar:
        task = bar.add_task("checking", total=None)
        try:
            for directory, away in [
                (home, ""),
                *((Path(p.path), p.away()) for p in Places(home, SYSTEM, DiskFiles()).placed()),
            ]:
                if away:
                    findings.append(Finding(0, "away", away))
                    continue
                before = checked
                for told in verify_home(directory):
                    if isinstance(told, Finding):
                        where = "" if directory == home else f"{directory}: "
                        findings.append(told._replace(detail=where + told.detail))
                    else:
                        checked = Progress(*(sum(pair) for pair in zip(before, told, strict=True)))
                        bar.update(task, completed=checked.done_bytes, total=checked.total_bytes)
        except OSError as error:
            raise CommandError(f"{home / 'log'} cannot be read: {error.strerror or error}", exit=Exit.FAILED) from error
    return checked, findings
