"""The acts of the demo, in order. Each returns facts that do not depend on the machine; the report keeps the times."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import debros
from debros import Debros
from debros.cli.demo.edits import edit
from debros.cli.demo.meeting import meet
from debros.cli.demo.models import MODELS, Author, Commit, FileChange
from debros.cli.demo.past import CommitPast, FilePast, Past
from debros.cli.demo.queries import ask
from debros.cli.demo.report import Report
from debros.cli.demo.shards import tell_shards
from debros.cli.exits import Exit
from debros.cli.screen import Screen
from debros.cli.units import binary_size, counted
from debros.cli.verify import check, place_of

T = TypeVar("T")

BATCH: Final = 1_000  # records in one signed entry
IMPORT: Final = """\
await Commit.create_many(commits)     # authors and file changes likewise"""

OPEN: Final = """\
async with debros.open(home, app="demo", durability="disk",
                       models=[Author, Commit, FileChange]) as db:"""


async def run(past: Past, home: Path, screen: Screen, *, removed: bool) -> Exit:
    """Run every act on a history, in an empty home."""
    report = Report(screen)
    report.opening(
        f"{past.name}: {counted(len(past.commits), 'commit')}",
        *filter(None, [past.note]),
        f"home: {home}{' (removed at the end; --keep keeps it)' if removed else ''}",
    )
    facts: dict[str, Any] = {"history": {"name": past.name, "source": past.source, "note": past.note}}

    report.title("Declare")
    report.code(inspect.getsource(Commit).replace(f'    """{Commit.__doc__}"""\n\n', ""))
    report.note("Author and FileChange likewise")

    report.title("Open, and import")
    async with AsyncExitStack() as stack:
        with report.act("open", OPEN):
            db = await stack.enter_async_context(opening(home))
        report.took("open", "a new home: a key of its own, an empty log")
        facts["imported"] = await import_past(past, report)
        report.title("Ask")
        facts["answers"] = await ask(report)
        report.title("Shards")
        facts["shards"] = await tell_shards(db, report)
        report.title("Edit")
        facts["edits"] = await edit(db, report)
        facts["counts"] = counts = await count()
        shown_before = await db.fingerprint()
        with report.act("close"):
            await stack.aclose()

    report.title("Verify what lies on disk")
    facts["verified"] = verified = check_home(home, report)

    report.title("Open again")
    async with AsyncExitStack() as stack:
        with report.act("reopen", OPEN):
            db = await stack.enter_async_context(opening(home))
        facts["same_after_reopen"] = same = shown_before == await db.fingerprint()
    if same:
        report.took("reopen", f"{counted(sum(counts.values()), 'record')}, every value as before")
    else:
        report.failed("the records are not the same as before")

    report.title("Meet another node")
    with TemporaryDirectory(prefix="debros-demo-") as beside:
        facts["met"] = met = await meet(home, Path(beside) / "copy", report)

    facts["ok"] = verified["whole"] and same and met["ok"]
    conclude(facts, report)
    if not removed:
        report.text(f"\ndebros verify {shlex.quote(str(home))}")
    screen.result({"facts": facts, "timings_s": {name: round(s, 6) for name, s in report.timings_s.items()}})
    return Exit.DONE if facts["ok"] else Exit.FAILED


def opening(home: Path) -> AbstractAsyncContextManager[Debros]:
    """Do what `OPEN` shows."""
    return debros.open(home, app="demo", durability="disk", models=MODELS)


async def import_past(past: Past, report: Report) -> dict[str, int]:
    """Create a record for every author, commit and file change, a thousand to a signed entry."""
    names = list(dict.fromkeys(commit.author for commit in past.commits))
    changes = sum(len(commit.files) for commit in past.commits)
    total = len(names) + len(past.commits) + changes
    with report.act("import", IMPORT), report.screen.progress("records") as bar:
        task = bar.add_task("importing", total=total)
        authors = await Author.create_many({"name": name} for name in names)
        bar.advance(task, len(authors))
        id_of = {author.name: author.id for author in authors}
        for commits in batches(past.commits, BATCH):
            made = await Commit.create_many(commit_values(commit, id_of[commit.author]) for commit in commits)
            bar.advance(task, len(made))
            touched = [
                change_values(file, record.id)
                for record, commit in zip(made, commits, strict=True)
                for file in commit.files
            ]
            for files in batches(touched, BATCH):
                await FileChange.create_many(files)
                bar.advance(task, len(files))
    rate = total / report.timings_s["import"]
    report.took("import", f"{counted(total, 'record')}, checked, signed and on disk: {rate:,.0f} a second")
    return {"authors": len(names), "commits": len(past.commits), "file_changes": changes}


def commit_values(commit: CommitPast, author_id: str) -> dict[str, Any]:
    """Return the fields of a commit's record."""
    return {
        "sha": commit.sha,
        "author_id": author_id,
        "subject": commit.subject,
        "authored_at": commit.authored_at,
        "added": sum(file.added for file in commit.files),
        "deleted": sum(file.deleted for file in commit.files),
        "areas": {file.area for file in commit.files},
    }


def change_values(file: FilePast, commit_id: str) -> dict[str, Any]:
    """Return the fields of a file change's record."""
    return {"commit_id": commit_id, "path": file.path, "added": file.added, "deleted": file.deleted}


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut into pieces of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


async def count() -> dict[str, int]:
    """Return how many records of each model show."""
    return {
        "authors": await Author.count(),
        "commits": await Commit.count(),
        "file_changes": await FileChange.count(),
    }


def check_home(home: Path, report: Report) -> dict[str, Any]:
    """Verify the closed home from its files alone."""
    with report.act("verify", "$ debros verify HOME"):
        checked, findings = check(home, report.screen)
    for finding in findings:
        report.failed(f"{place_of(finding)}  {finding.what}: {finding.detail}")
    if not findings:
        entries, size = counted(checked.entries, "entry", "entries"), binary_size(checked.done_bytes)
        report.took("verify", f"{entries}, {size}: every address, signature, clock and link is right")
    return {"whole": not findings, "entries": checked.entries, "bytes": checked.done_bytes}


def conclude(facts: dict[str, Any], report: Report) -> None:
    """Say what was done, in numbers that belong together."""
    imported, verified = facts["imported"], facts["verified"]
    records = sum(imported.values())
    report.closing(
        f"{counted(imported['authors'], 'author')}, {counted(imported['commits'], 'commit')} and "
        f"{counted(imported['file_changes'], 'file change')} became {counted(records, 'record')}",
        f"in {counted(verified['entries'], 'signed entry', 'signed entries')}: {binary_size(verified['bytes'])} of log, "
        f"{verified['bytes'] / records:,.0f} bytes a record.",
        "Two people edited one of them, and the log can tell who did what.",
        *(
            ["A second node fetched all of it over libp2p; both were edited apart, met, and agree."]
            if facts["met"]["shown"]
            else []
        ),
        "Checked from the files alone, closed, and opened again: "
        + ("nothing is missing." if facts["ok"] else "NOT everything is as it was."),
    )
