"""A git history in models: the real one beside the repository where it is there, else a generated one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from debros import Field, Index, Many, Model, One, belongs_to, computed, field, has_many, model
from debros.cli.demo.generated import generate
from tests.support.programs import ROOT

REAL = ROOT.parent / "shared" / "data" / "git_history.jsonl"
GENERATED = 1_500  # commits


@model(name="h_author")
class Author(Model):
    name: Field[str] = field(unique=True)
    commits: Many[Commit] = has_many("author_id", order_by="-authored_at")


@model(name="h_commit", indexes=[Index("author_id", "-authored_at"), Index("authored_at")])
class Commit(Model):
    author_id: Field[str]
    author_name: Field[str]
    authored_at: Field[datetime]
    subject: Field[str]
    areas: Field[set[str]] = field(default_factory=set, index=True)
    stats: Field[dict[str, Any]] = field(default_factory=dict)
    author: One[Author] = belongs_to("author_id")
    edits: Many[Change] = has_many("commit_id", order_by="path")

    @computed(index=True)
    def weekday(self) -> int:
        return self.authored_at.astimezone(UTC).weekday()


@model(name="h_change")
class Change(Model):
    commit_id: Field[str] = field(index=True)
    path: Field[str]
    added: Field[int]
    deleted: Field[int]
    commit: One[Commit] = belongs_to("commit_id")


MODELS = (Author, Commit, Change)


@lru_cache
def history() -> Sequence[dict[str, Any]]:
    """Return the commits as plain dicts; `at` is in UTC, `files` are (path, added, deleted)."""
    if REAL.is_file():
        told = [json.loads(line) for line in REAL.read_text(encoding="utf-8").splitlines()]
        made = [
            (t["sha"], t["author"], datetime.fromisoformat(t["authored_at"]), t["subject"],
             [(f["path"], f["added"] or 0, f["deleted"] or 0) for f in t["files"]])
            for t in told
        ]  # fmt: skip
    else:
        made = [
            (c.sha, c.author, c.authored_at, c.subject, [(f.path, f.added, f.deleted) for f in c.files])
            for c in generate(GENERATED).commits
        ]
    return [
        {"sha": sha, "author": author, "at": at.astimezone(UTC), "subject": subject, "files": files}
        for sha, author, at, subject, files in made
    ]


def areas(files: Sequence[tuple[str, int, int]]) -> set[str]:
    """Return the top folders that a commit touches."""
    return {path.partition("/")[0] for path, _, _ in files if "/" in path}


async def load() -> None:
    """Write the history into the open node."""
    names = list(dict.fromkeys(commit["author"] for commit in history()))
    id_of = {name: f"a{n:05}" for n, name in enumerate(names)}
    await Author.create_many([{"id": id, "name": name} for name, id in id_of.items()])
    await Commit.create_many(
        [
            {
                "id": c["sha"], "author_id": id_of[c["author"]], "author_name": c["author"], "authored_at": c["at"],
                "subject": c["subject"], "areas": areas(c["files"]),
                "stats": {"files": len(c["files"]), "lines": {"added": sum(f[1] for f in c["files"])}} if c["files"] else {},
            }
            for c in history()
        ]
    )  # fmt: skip
    await Change.create_many(
        [
            {"id": f"{c['sha']}-{n:04}", "commit_id": c["sha"], "path": path, "added": added, "deleted": deleted}
            for c in history()
            for n, (path, added, deleted) in enumerate(c["files"])
        ]
    )
