"""The edits of the demo, by two people on the newest commit, and what the log remembers of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from debros import Debros, Identity
from debros.cli.demo.models import Commit
from debros.cli.demo.report import Report
from debros.cli.units import counted

EDITS = """\
async with db.acting_as(Identity.generate()):     # somebody else writes
    await commit.update(subject="Rewritten, and the log knows by whom")
commit.added += 1            # a counter: two who count at once both count
commit.areas.add("demo")     # a set: two who add at once both add
await commit.save()
await commit.delete()
await commit.restore()"""
SUBJECT = "Rewritten, and the log knows by whom"


async def edit(db: Debros, report: Report) -> dict[str, Any]:
    """Change, count, add, delete and restore; then show the history and the blame of the record."""
    commit = await Commit.query().order_by(Commit.authored_at.desc()).limit(1).one()
    other = Identity.generate()
    names = {db.identity.did: "you", other.did: "somebody else"}
    with report.act("edits", EDITS):
        async with db.acting_as(other):
            await commit.update(subject=SUBJECT)
        commit.added += 1
        commit.areas.add("demo")
        await commit.save()
        await commit.delete()
        gone = await Commit.get_or_none(commit.id) is None
        await commit.restore()
    report.took("edits", f"commit {commit.sha[:10]}: four signed entries, each on disk before its line ended")

    with report.act("history", "await commit.history()"):
        versions = await commit.history()
    report.table(
        ["entry", "kind", "by", "what changed"],
        [
            (abridged(version.cid), version.kind, names[version.author], told(version.kind, version.changes))
            for version in versions
        ],
        text=["what changed"],
    )
    report.took("history", f"{counted(len(versions), 'version')}, read from the log")

    with report.act("blame", "await commit.blame()"):
        blame = await commit.blame()
    report.table(
        ["entry", "by", "field", "value"],
        [
            (abridged(version.cid), names[version.author], name, readable(getattr(commit, name)))
            for name, version in sorted(blame.items())
        ],
        text=["value"],
    )
    report.took("blame", "which entry gave each field the value it shows")
    return {
        "sha": commit.sha,
        "gone_while_deleted": gone,
        "history": [version.kind for version in versions],
        "by": [names[version.author] for version in versions],
        "blame": {name: names[version.author] for name, version in sorted(blame.items())},
        "subject": (await Commit.get(commit.id)).subject,
    }


def told(kind: str, changes: Mapping[str, tuple[Any, Any]]) -> str:
    """Say what a version changed, in a line."""
    if kind != "update":
        return counted(len(changes), "field") if changes else ""
    return ", ".join(f"{name}: {change(old, new)}" for name, (old, new) in changes.items())


def change(old: object, new: object) -> str:
    """Say how a value changed: of a set what came and went, of text what it is now."""
    if isinstance(old, set | frozenset) and isinstance(new, set | frozenset):
        return " ".join([*(f"+{item}" for item in sorted(new - old)), *(f"-{item}" for item in sorted(old - new))])
    return f"now {new!r}" if isinstance(new, str) else f"{readable(old)} -> {readable(new)}"


def readable(value: object) -> str:
    """Return a value as a cell shows it; a set in order, so that it reads the same every time."""
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(map(str, value))) + "}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def abridged(cid: str) -> str:
    """Return the end of a CID, which is where two of them differ."""
    return f"..{cid[-8:]}"
