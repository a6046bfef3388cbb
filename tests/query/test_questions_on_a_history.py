"""Real questions on a real history; the answers beside them are computed from the file by plain Python."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

import debros
from debros import Query
from tests.support.git_past import MODELS, Author, Change, Commit, areas, history, load

Asked = Callable[[], Awaitable[Any]]
Answer = Callable[[Sequence[dict[str, Any]]], Any]

H = history()
TOP = Counter(c["author"] for c in H).most_common(1)[0][0]
MIDDLE = sorted(c["at"] for c in H)[len(H) // 2]
YEAR = MIDDLE.year
AREA = Counter(a for c in H for a in areas(c["files"])).most_common(1)[0][0]
OTHER = Counter(a for c in H for a in areas(c["files"])).most_common(2)[-1][0]


async def shas(query: Query[Commit]) -> list[str]:
    return [row[0] for row in await query.select(Commit.id).all()]


def by_time(commits: Sequence[dict[str, Any]], *, down: bool = False) -> list[str]:
    ordered = sorted(commits, key=lambda c: c["sha"])
    return [c["sha"] for c in sorted(ordered, key=lambda c: c["at"], reverse=down)]


def by_sha(commits: Any) -> list[str]:
    return sorted(c["sha"] for c in commits)


def all_files(commits: Any) -> list[tuple[str, int, int]]:
    return [file for c in commits for file in c["files"]]


def count(key: Any, minimum: int = 0) -> list[tuple[Any, int]]:
    return sorted((value, n) for value, n in Counter(key).items() if n >= minimum)


def per_file(commits: Any) -> dict[str, list[tuple[str, int, int]]]:
    found: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    for file in all_files(commits):
        found[file[0]].append(file)
    return found


QUESTIONS: dict[str, tuple[Asked, Answer]] = {
    "how many commits are there": (lambda: Commit.count(), lambda h: len(h)),
    "how many people wrote them": (lambda: Author.count(), lambda h: len({c["author"] for c in h})),
    "how many files were changed": (lambda: Change.count(), lambda h: len(all_files(h))),
    "which were the first ten": (lambda: shas(Commit.query().order_by(Commit.authored_at.asc()).limit(10)), lambda h: by_time(h)[:10]),
    "which were the last ten": (lambda: shas(Commit.query().order_by("authored_at", "desc").limit(10)), lambda h: by_time(h, down=True)[:10]),
    "what did the busiest author write last": (
        lambda: shas(Commit.where(Commit.author_name == TOP).order_by(Commit.authored_at.desc()).limit(5)),
        lambda h: by_time([c for c in h if c["author"] == TOP], down=True)[:5],
    ),
    "who wrote most": (
        lambda: Commit.query().group_by(Commit.author_name).order_by(debros.count().desc()).limit(5).aggregate(debros.count()),
        lambda h: sorted(Counter(c["author"] for c in h).items(), key=lambda one: (-one[1], one[0]))[:5],
    ),
    "who wrote more than ten": (
        lambda: Commit.query().group_by("author_name").having(debros.count() > 10).aggregate(debros.count()),
        lambda h: count((c["author"] for c in h), 11),
    ),
    "how many commits had each year": (
        lambda: Commit.query().group_by(Commit.authored_at.year).aggregate(debros.count()),
        lambda h: count(c["at"].year for c in h),
    ),
    "how many commits had each month of a year": (
        lambda: Commit.query().where_year("authored_at", YEAR).group_by(Commit.authored_at.month).aggregate(debros.count()),
        lambda h: count(c["at"].month for c in h if c["at"].year == YEAR),
    ),
    "on which weekdays are they written": (
        lambda: Commit.query().group_by(Commit.weekday).aggregate(debros.count()),  # type: ignore[attr-defined]  # a column on the class
        lambda h: count(c["at"].weekday() for c in h),
    ),
    "which were written on sundays": (
        lambda: Commit.query().where("weekday", 6).count(), lambda h: sum(c["at"].weekday() == 6 for c in h),
    ),
    "which were written in the first half": (
        lambda: Commit.where(Commit.authored_at < MIDDLE).count(), lambda h: sum(c["at"] < MIDDLE for c in h),
    ),
    "which were written within a month": (
        lambda: shas(Commit.where(Commit.authored_at.between(MIDDLE, MIDDLE + timedelta(days=30)))),
        lambda h: by_sha(c for c in h if MIDDLE <= c["at"] <= MIDDLE + timedelta(days=30)),
    ),
    "which were written on one day": (
        lambda: shas(Commit.query().where_date("authored_at", "=", MIDDLE.date())),
        lambda h: by_sha(c for c in h if c["at"].date() == MIDDLE.date()),
    ),
    "which between two days": (
        lambda: Commit.query().where_date_between("authored_at", date(YEAR, 2, 1), date(YEAR, 4, 15)).count(),
        lambda h: sum(date(YEAR, 2, 1) <= c["at"].date() <= date(YEAR, 4, 15) for c in h),
    ),
    "which on a first of a month": (lambda: Commit.query().where_day("authored_at", 1).count(), lambda h: sum(c["at"].day == 1 for c in h)),
    "which in december": (lambda: Commit.query().where_month("authored_at", 12).count(), lambda h: sum(c["at"].month == 12 for c in h)),
    "whose subject begins with Merge": (
        lambda: Commit.where(Commit.subject.startswith("Merge")).count(), lambda h: sum(c["subject"].startswith("Merge") for c in h),
    ),
    "whose subject speaks of tests in any case": (
        lambda: shas(Commit.where(Commit.subject.icontains("test"))), lambda h: by_sha(c for c in h if "test" in c["subject"].casefold()),
    ),
    "whose subject is like fix": (
        lambda: Commit.query().where_ilike("subject", "fix%").count(), lambda h: sum(c["subject"].casefold().startswith("fix") for c in h),
    ),
    "whose subject ends in a number in parentheses": (
        lambda: Commit.where(Commit.subject.matches(r"\(#\d+\)$")).count(), lambda h: sum(bool(re.search(r"\(#\d+\)$", c["subject"])) for c in h),
    ),
    "which subjects are short": (
        lambda: Commit.where(Commit.subject.length < 10).count(), lambda h: sum(len(c["subject"]) < 10 for c in h),
    ),
    "how long is the longest subject": (
        lambda: Commit.query().max(Commit.subject.length), lambda h: max(len(c["subject"]) for c in h),
    ),
    "how many different subjects": (
        lambda: Commit.query().count_distinct("subject"), lambda h: len({c["subject"] for c in h}),
    ),
    "which subjects were used five times": (
        lambda: Commit.query().group_by("subject").having(debros.count() >= 5).aggregate(debros.count()),
        lambda h: count((c["subject"] for c in h), 5),
    ),
    "which touch the busiest folder": (
        lambda: shas(Commit.where(Commit.areas.contains(AREA))), lambda h: by_sha(c for c in h if AREA in areas(c["files"])),
    ),
    "which touch both of two folders": (
        lambda: Commit.where(Commit.areas.contains_all([AREA, OTHER])).count(), lambda h: sum({AREA, OTHER} <= areas(c["files"]) for c in h),
    ),
    "which touch one of them": (
        lambda: Commit.where(Commit.areas.contains_any([AREA, OTHER])).count(), lambda h: sum(bool({AREA, OTHER} & areas(c["files"])) for c in h),
    ),
    "which touch no folder at all": (
        lambda: Commit.query().where_array_length("areas", 0).count(), lambda h: sum(not areas(c["files"]) for c in h),
    ),
    "which touch three folders or more, or neither of two": (
        lambda: Commit.where((Commit.areas.length >= 3) | ~Commit.areas.contains_any([AREA, OTHER])).count(),
        lambda h: sum(len(areas(c["files"])) >= 3 or not {AREA, OTHER} & areas(c["files"]) for c in h),
    ),
    "which changed ten files or more": (
        lambda: shas(Commit.query().where_object_path("stats", "files", ">=", 10)), lambda h: by_sha(c for c in h if len(c["files"]) >= 10),
    ),
    "which added more than a thousand lines": (
        lambda: Commit.where(Commit.stats.path("lines.added") > 1000).count(), lambda h: sum(sum(f[1] for f in c["files"]) > 1000 for c in h),
    ),
    "which changed nothing": (
        lambda: Commit.where(~Commit.stats.has_key("files")).count(), lambda h: sum(not c["files"] for c in h),
    ),
    "how many lines were added and deleted": (
        lambda: _both_sums(), lambda h: (sum(f[1] for f in all_files(h)), sum(f[2] for f in all_files(h))),
    ),
    "how large is a change in the mean": (
        lambda: Change.query().avg("added"), lambda h: pytest.approx(sum(f[1] for f in all_files(h)) / len(all_files(h))),
    ),
    "which was the largest change": (
        lambda: Change.query().order_by("added", "desc").limit(3).select("added").all(),
        lambda h: [(n,) for n in sorted((f[1] for f in all_files(h)), reverse=True)[:3]],
    ),
    "which files were changed most": (
        lambda: Change.query().group_by(Change.path).order_by(debros.count().desc()).limit(7).aggregate(debros.count(), debros.sum(Change.added)),
        lambda h: sorted(((p, len(fs), sum(f[1] for f in fs)) for p, fs in per_file(h).items()), key=lambda one: (-one[1], one[0]))[:7],
    ),
    "which files only ever grew": (
        lambda: Change.query().group_by("path").having(debros.sum(Change.deleted) == 0, debros.count() > 3).aggregate(debros.count()),
        lambda h: sorted((p, len(fs)) for p, fs in per_file(h).items() if len(fs) > 3 and not sum(f[2] for f in fs)),
    ),
    "which changes deleted more than they added": (
        lambda: Change.query().where_column("deleted", ">", "added").count(), lambda h: sum(f[2] > f[1] for f in all_files(h)),
    ),
    "which changes of Python files added nothing": (
        lambda: Change.where(Change.path.like("%.py"), Change.added == 0).count(),
        lambda h: sum(f[0].endswith(".py") and f[1] == 0 for f in all_files(h)),
    ),
    "which commits changed a README": (
        lambda: shas(Commit.where(Commit.edits.any(Change.path.contains("README")))),
        lambda h: by_sha(c for c in h if any("README" in f[0] for f in c["files"])),
    ),
    "which commits changed only files of one kind": (
        lambda: Commit.where(Commit.edits.any(), Commit.edits.none(~Change.path.like("%.py"))).count(),
        lambda h: sum(bool(c["files"]) and all(f[0].endswith(".py") for f in c["files"]) for c in h),
    ),
    "who changed a README": (
        lambda: _names(Author.where(Author.commits.any(Commit.edits.any(Change.path.contains("README"))))),
        lambda h: sorted({c["author"] for c in h if any("README" in f[0] for f in c["files"])}),
    ),
    "who never wrote in the second half": (
        lambda: _names(Author.query().where_doesnt_have("commits", lambda q: q.where("authored_at", ">=", MIDDLE))),
        lambda h: sorted({c["author"] for c in h} - {c["author"] for c in h if c["at"] >= MIDDLE}),
    ),
    "which commits are of people who wrote once": (
        lambda: _of_once(), lambda h: _once(h),
    ),
    "what are the files of the last commits": (
        lambda: _last_files(), lambda h: [sorted(f[0] for f in c["files"]) for c in sorted(sorted(h, key=lambda c: c["sha"]), key=lambda c: c["at"], reverse=True)[:5]],
    ),
    "how many commits has each author": (
        lambda: _counted(), lambda h: sorted(Counter(c["author"] for c in h).items()),
    ),
    "what did each author write last": (
        lambda: _last_of_each(), lambda h: {a: by_time([c for c in h if c["author"] == a], down=True)[:2] for a in {c["author"] for c in h}},
    ),
    "which authors worked in which year": (
        lambda: Commit.query().select(Commit.author_name, Commit.authored_at.year).distinct().order_by(Commit.author_name.asc()).all(),
        lambda h: sorted({(c["author"], c["at"].year) for c in h}),
    ),
    "page by page, are these all": (
        lambda: _paged(), lambda h: by_time(h),
    ),
    "how many were there as of the middle of the writing": (
        lambda: Commit.query().where_raw("{authored_at} <= ? AND length({subject}) % ? = 0", [MIDDLE, 2]).count(),
        lambda h: sum(c["at"] <= MIDDLE and len(c["subject"]) % 2 == 0 for c in h),
    ),
}  # fmt: skip


async def _both_sums() -> tuple[int, int]:
    return await Change.query().sum(Change.added), await Change.query().sum(Change.deleted)


async def _names(query: Query[Author]) -> list[str]:
    return [name for (name,) in await query.order_by(Author.name.asc()).select(Author.name).all()]


async def _of_once() -> list[str]:
    once = await Commit.query().group_by(Commit.author_id).having(debros.count() == 1).aggregate(debros.count())
    return await shas(Commit.where(Commit.author_id.in_([author for author, _ in once])))


def _once(commits: Sequence[dict[str, Any]]) -> list[str]:
    counts = Counter(c["author"] for c in commits)
    return sorted(c["sha"] for c in commits if counts[c["author"]] == 1)


async def _last_files() -> list[list[str]]:
    last = await Commit.query().order_by("authored_at", "desc").limit(5).include(Commit.edits).all()
    return [[change.path for change in commit.edits.value] for commit in last]


async def _counted() -> list[tuple[str, int]]:
    authors = await Author.query().with_count(Author.commits).order_by("name").all()
    return [(author.name, author.commits.count) for author in authors]


async def _last_of_each() -> dict[str, list[str]]:
    authors = await Author.query().include(Author.commits.limit(2)).all()
    return {author.name: [commit.id for commit in author.commits.value] for author in authors}


async def _paged() -> list[str]:
    return [row[0] async for row in Commit.query().order_by("authored_at").select("id").stream()]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("history")

    async def fill() -> None:
        async with debros.open(str(place), models=MODELS, app="history", durability="process"):
            await load()

    trio.run(fill)
    return place


def test_there_are_forty_questions() -> None:
    assert len(QUESTIONS) >= 40


async def test_every_question_has_the_answer_that_plain_python_finds(home: Path) -> None:
    wrong: dict[str, tuple[Any, Any]] = {}
    async with debros.open(str(home), models=MODELS, app="history", durability="process"):
        for name, (ask, answer) in QUESTIONS.items():
            found, expected = await ask(), answer(H)
            if list(found) != list(expected) if isinstance(expected, list | tuple) else found != expected:
                wrong[name] = (found, expected)
    assert wrong == {}
