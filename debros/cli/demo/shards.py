"""The shards of the demo: what its file changes are spread over, and which of them a query reads."""

from __future__ import annotations

from typing import Any, Final

from debros import Debros
from debros.cli.demo.models import Commit, FileChange
from debros.cli.demo.report import Report
from debros.cli.units import binary_size, counted

STATS: Final = """\
await db.shards[FileChange].stats()     # hash_shards("commit_id", 4)"""
COVERAGE: Final = """\
rows = await FileChange.where(FileChange.commit_id == commit.id).all()
rows.coverage.heads     # what the answer was made from"""
GROW: Final = """\
await db.shards[FileChange].resize(8)     # old records stay"""


async def tell_shards(db: Debros, report: Report) -> dict[str, Any]:
    """Show how even the shards are, what a routed query read, and a resize."""
    shards = db.shards[FileChange]
    with report.act("shards", STATS):
        stats = await shards.stats()
    report.table(
        ["shard", "records", "entries", "bytes", "log"],
        [(shard.name, shard.records, shard.entries, shard.bytes, f"..{shard.address[-8:]}") for shard in stats],
    )
    size = binary_size(sum(shard.bytes for shard in stats))
    report.took("shards", f"{counted(stats.records, 'record')}, {size}; fullest to mean {stats.skew:.2f}")

    commit = await Commit.query().where(Commit.files.any()).order_by(Commit.authored_at.desc()).first()
    key = "" if commit is None else commit.id
    query = FileChange.where(FileChange.commit_id == key)
    with report.act("coverage", COVERAGE):
        rows = await query.all()
        coverage = rows.coverage
    read = (await query.explain()).shards
    heads = [
        (f"..{address[-8:]}", ", ".join(f"..{head[-8:]}" for head in cids)) for address, cids in coverage.heads.items()
    ]
    report.table(["log", "heads"], heads)
    whole = "complete" if coverage.complete else "NOT complete"
    report.took(
        "coverage", f"{counted(len(rows), 'record')} from shard {', '.join(map(str, read))} of {shards.count}: {whole}"
    )

    with report.act("resize", GROW):
        layout = await shards.resize(8)
    report.took("resize", f"one entry announces {layout.n} shards more, and nothing moves")
    return {
        "records": [shard.records for shard in stats],
        "coverage": {"complete": coverage.complete, "shards": list(read), "records": len(rows)},
        "after_resize": {"shards": shards.count, "records": await FileChange.count()},
    }
