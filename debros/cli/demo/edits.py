"""The edits of the demo, on the newest commit, and what the log remembers of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from debros.cli.demo.models import Commit
from debros.cli.demo.report import Report
from debros.cli.units import counted

EDITS = """\
await commit.update(subject="Rewritten, and the log knows by whom")
commit.added += 1                  # a counter: two peers that count at once both count
commit.areas.add("demo")           # a set: two peers that add at once both add
await commit.save()
await commit.delete()
await commit.restore()"""
SUBJECT = "Rewritten, and the log knows by whom"


async def edit(report: Report) -> dict[str, Any]:
    """Change, count, add, delete and restore; then show the history and the blame of the record."""
    commit = await Commit.query().order_by(Commit.authored_at.desc()).limit(1).one()
    with report.act("edits", EDITS):
        await commit.update(subject=SUBJECT)
        commit.added += 1
        commit.areas.add("demo")
        await commit.save()
        await commit.delete()
        gone = await Commit.get_or_none(commit.id) is None
        await commit.restore()
    report.took("edits", f"commit {commit.sha[:10]}: four signed entries, each on disk before its line returned")

    with report.act("history", "await commit.history()"):
        versions = await commit.history()
    report.table(
        ["kind", "what changed", "author", "entry"],
        [
            (version.kind, told(version.kind, version.changes), abridged(version.author), abridged(version.cid))
            for version in versions
        ],
    )
    report.took("history", f"{counted(len(versions), 'version')}, folded from the entries that touched the record")

    with report.act("blame", "await commit.blame()"):
        blame = await commit.blame()
    report.table(
        ["field", "value", "set by", "entry"],
        [
            (name, readable(getattr(commit, name)), version.kind, abridged(version.cid))
            for name, version in sorted(blame.items())
        ],
    )
    report.took("blame", "which entry gave each field the value it shows")
    return {
        "sha": commit.sha,
        "gone_while_deleted": gone,
        "history": [version.kind for version in versions],
        "subject": (await Commit.get(commit.id)).subject,
    }


def told(kind: str, changes: Mapping[str, tuple[Any, Any]]) -> str:
    """Say what a version changed, in a line."""
    if kind != "update":
        return counted(len(changes), "field") if changes else ""
    return ", ".join(f"{name}: {readable(old)} -> {readable(new)}" for name, (old, new) in changes.items())


def readable(value: object) -> str:
    """Return a value as a cell shows it; a set in order, so that it reads the same every time."""
    return "{" + ", ".join(sorted(map(str, value))) + "}" if isinstance(value, set | frozenset) else str(value)


def abridged(name: str) -> str:
    """Return the end of a DID or CID, which is where two of them differ."""
    return f"..{name[-12:]}"
