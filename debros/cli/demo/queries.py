"""The questions of the demo: grouping, dates, relations, pages, sets, and how a query is answered."""

from __future__ import annotations

from typing import Any, Final

import debros
from debros.cli.demo.models import Author, Commit, FileChange
from debros.cli.demo.report import Report

TOP_AUTHORS: Final = """\
await (Commit.query().group_by(Commit.author_id)
    .order_by(debros.sum(Commit.added).desc()).limit(5)
    .aggregate(debros.count(), debros.sum(Commit.added),
               debros.sum(Commit.deleted)))"""
YEARS: Final = """\
await (Commit.query().group_by(Commit.authored_at.year)
    .order_by(Commit.authored_at.year.desc()).limit(12)
    .aggregate(debros.count(),
               debros.count(Commit.author_id, distinct=True)))"""
TOUCHING: Final = """\
query = (Commit.where(Commit.files.any(FileChange.path == path))
    .include(Commit.author).order_by(Commit.authored_at.desc()).limit(5))
await query.all()"""
EXPLAIN: Final = """\
print((await query.explain()).text)     # without its first line, the SQL"""
PAGE: Final = """\
query = (Commit.where(Commit.areas.contains(area))
    .include(Commit.author, Commit.files)
    .order_by(Commit.authored_at.desc()).limit(8))
await query.page(after=(await query.page()).next)"""
BAR: Final = 30  # columns of the screen, if it has them


async def ask(report: Report) -> dict[str, Any]:
    """Ask everything; return the answers."""
    return {
        "top_authors": await top_authors(report),
        "years": await years(report),
        "touching": await commits_touching(await busiest_path(), report),
        "page": await second_page(report),
    }


async def top_authors(report: Report) -> list[dict[str, Any]]:
    """Who added most lines: grouped and summed in the database, and the names by one lookup."""
    with report.act("top authors", TOP_AUTHORS):
        groups = await (
            Commit.query()
            .group_by(Commit.author_id)
            .order_by(debros.sum(Commit.added).desc())
            .limit(5)
            .aggregate(debros.count(), debros.sum(Commit.added), debros.sum(Commit.deleted))
        )
        authors = await Author.get_many(author_id for author_id, *_ in groups)
    rows = [(author.name, *numbers) for author, (_, *numbers) in zip(authors, groups, strict=True)]
    report.table(["author", "commits", "lines added", "lines deleted"], rows, text=["author"])
    report.took("top authors", "who added most lines")
    return [dict(zip(("author", "commits", "added", "deleted"), row, strict=True)) for row in rows]


async def years(report: Report) -> list[dict[str, int]]:
    """How many commits and authors each year had, by a property of a date."""
    with report.act("years", YEARS):
        groups = await (
            Commit.query()
            .group_by(Commit.authored_at.year)
            .order_by(Commit.authored_at.year.desc())
            .limit(12)
            .aggregate(debros.count(), debros.count(Commit.author_id, distinct=True))
        )
    widest = max(1, min(BAR, report.screen.console.width - len("  year  commits  authors  ")))
    most = max(commits for _, commits, _ in groups)
    report.table(
        ["year", "commits", "authors", ""],
        [
            (f"{year:04}", commits, authors, "▇" * max(1, round(widest * commits / most)))
            for year, commits, authors in groups
        ],
        text=[""],
    )
    report.took("years", "commits by year, and who wrote them")
    return [{"year": year, "commits": commits, "authors": authors} for year, commits, authors in groups]


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
    with report.act("touching", f"path = {path!r}\n{TOUCHING}"):
        commits = await query.all()
    report.table(
        ["when", "commit", "author", "subject"],
        [
            (f"{commit.authored_at:%Y-%m-%d}", commit.sha[:7], commit.author.value.name, commit.subject)
            for commit in commits
        ],
        text=["author", "subject"],
    )
    report.took("touching", f"the last commits that touched {path}")
    with report.act("explain", EXPLAIN):
        plan = await query.explain()
    report.text("\n".join(plan.text.splitlines()[1:]))
    report.took("explain", "the plan of this very query, and how many commits it looked at")
    return {"path": path, "shas": [commit.sha for commit in commits], "index": plan.index[0]}


async def newest_area() -> str:
    """Return the folder of the newest commit that touched one; of several, the first by name."""
    newest = await Commit.query().order_by(Commit.authored_at.desc()).limit(100).all()
    return next((min(folders) for commit in newest if (folders := commit.areas - {"."})), ".")


async def second_page(report: Report) -> dict[str, Any]:
    """Two pages of one area by cursor, with two relations loaded by one lookup each."""
    area = await newest_area()
    query = (
        Commit.where(Commit.areas.contains(area))
        .include(Commit.author, Commit.files)
        .order_by(Commit.authored_at.desc())
        .limit(8)
    )
    with report.act("page", f"area = {area!r}\n{PAGE}"):
        first = await query.page()
        page = first if first.next is None else await query.page(after=first.next)
    report.table(
        ["when", "files", "author", "subject"],
        [
            (f"{commit.authored_at:%Y-%m-%d}", len(commit.files.value), commit.author.value.name, commit.subject)
            for commit in page.rows
        ],
        text=["author", "subject"],
    )
    if page is first:
        report.took("page", f"the commits in {area} fill one page; their authors and files came along")
    else:
        report.took("page", f"page 2 of the commits in {area}; their authors and files came along")
    return {"area": area, "shas": [commit.sha for commit in page.rows]}
