"""The questions of the demo: grouping, relations, pages, sets, and how a query is answered."""

from __future__ import annotations

from typing import Any

import debros
from debros.cli.demo.models import Author, Commit, FileChange
from debros.cli.demo.report import Report

TOP_AUTHORS = """\
await (Commit.query().group_by(Commit.author_id)
    .order_by(debros.sum(Commit.added).desc()).limit(5)
    .aggregate(debros.count(), debros.sum(Commit.added), debros.sum(Commit.deleted)))"""
TOUCHING = """\
query = (Commit.where(Commit.files.any(FileChange.path == path))
    .include(Commit.author).order_by(Commit.authored_at.desc()).limit(5))
await query.all()"""
PAGE = """\
await (Commit.where(Commit.areas.contains(area))
    .include(Commit.author, Commit.files)
    .order_by(Commit.authored_at.desc()).limit(8).page(after=cursor))"""


async def ask(report: Report) -> dict[str, Any]:
    """Ask everything; return the answers."""
    return {
        "top_authors": await top_authors(report),
        "touching": await commits_touching(await busiest_path(), report),
        "page": await second_page(report),
    }


async def top_authors(report: Report) -> list[dict[str, Any]]:
    """Who added most lines: grouped and summed in the database, and the names by one lookup."""
    with report.act("top_authors", TOP_AUTHORS):
        groups = await (
            Commit.query()
            .group_by(Commit.author_id)
            .order_by(debros.sum(Commit.added).desc())
            .limit(5)
            .aggregate(debros.count(), debros.sum(Commit.added), debros.sum(Commit.deleted))
        )
        authors = await Author.get_many(author_id for author_id, *_ in groups)
    rows = [(author.name, *numbers) for author, (_, *numbers) in zip(authors, groups, strict=True)]
    report.table(["author", "commits", "lines added", "lines deleted"], rows)
    report.took("top_authors", "the five who added most lines")
    return [dict(zip(("author", "commits", "added", "deleted"), row, strict=True)) for row in rows]


async def busiest_path() -> str:
    """Return the path that most commits touched; of several, the first by name."""
    groups = await (
        FileChange.query()
        .group_by(FileChange.path)
        .order_by(debros.count().desc(), FileChange.path.asc())
        .limit(1)
        .aggregate(debros.count())
    )
    return groups[0][0] if groups else "."


async def commits_touching(path: str, report: Report) -> dict[str, Any]:
    """The last commits of one file, by a condition on a relation; and how the database goes about it."""
    query = (
        Commit.where(Commit.files.any(FileChange.path == path))
        .include(Commit.author)
        .order_by(Commit.authored_at.desc())
        .limit(5)
    )
    with report.act("touching", TOUCHING.replace("== path", f"== {path!r}")):
        commits = await query.all()
    report.table(
        ["when", "commit", "author", "subject"],
        [
            (f"{commit.authored_at:%Y-%m-%d}", commit.sha[:10], commit.author.value.name, commit.subject)
            for commit in commits
        ],
    )
    report.took("touching", f"the last commits that touched {path}")
    with report.act("explain", "print((await query.explain()).text)"):
        plan = await query.explain()
    report.text(plan.text)
    return {"path": path, "shas": [commit.sha for commit in commits]}


async def second_page(report: Report) -> dict[str, Any]:
    """Two pages of one area by cursor, with two relations loaded by one lookup each."""
    newest = await Commit.query().order_by(Commit.authored_at.desc()).limit(100).all()
    area = next((min(commit.areas) for commit in newest if commit.areas), ".")
    query = (
        Commit.where(Commit.areas.contains(area))
        .include(Commit.author, Commit.files)
        .order_by(Commit.authored_at.desc())
        .limit(8)
    )
    with report.act("page", PAGE.replace("(area)", f"({area!r})")):
        first = await query.page()
        page = first if first.next is None else await query.page(after=first.next)
    report.table(
        ["when", "author", "subject", "files"],
        [
            (f"{commit.authored_at:%Y-%m-%d}", commit.author.value.name, commit.subject, len(commit.files.value))
            for commit in page.rows
        ],
    )
    report.took("page", f"page {1 if page is first else 2} of the commits in {area}, authors and files loaded")
    return {"area": area, "shas": [commit.sha for commit in page.rows]}
