"""The act with two nodes: a copy over libp2p, edits on both sides while they are apart, and both agreeing again."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import trio

import debros
from debros import Debros
from debros.cli.demo.models import MODELS, Commit
from debros.cli.demo.report import Report
from debros.cli.units import counted

PATIENCE_S: Final = 300.0

LISTEN: Final = """\
async with debros.open(home, app="demo", models=MODELS,
                       listen="/ip4/127.0.0.1/tcp/0") as db:"""
COPY: Final = """\
async with debros.open(other, app="demo", models=MODELS,
                       peers=db.addresses) as copy:
    await copy.synced()"""
AGAIN: Final = """\
await copy.synced()                   # connected again"""


async def meet(home: Path, other: Path, report: Report) -> dict[str, Any]:
    """Replicate the home to a second node, part them, edit on both sides, and let them meet again."""
    if find_spec("libp2p") is None:
        report.note("two nodes over libp2p: pip install 'debros[net]' to see them")
        return {"shown": False, "ok": True}
    with report.act("listen", LISTEN):
        first = debros.open(home, app="demo", models=MODELS, listen="/ip4/127.0.0.1/tcp/0")
        db = await first.__aenter__()
    try:
        report.took("listen", db.addresses[0])
        return await _meet(db, other, report)
    finally:
        await first.__aexit__(None, None, None)


async def _meet(db: Debros, other: Path, report: Report) -> dict[str, Any]:
    total = db.status().entries
    with report.act("replicate", COPY), report.screen.progress("entries") as bar:
        task = bar.add_task("replicating", total=total)
        async with debros.open(other, app="demo", models=MODELS, peers=db.addresses) as copy:
            await _synced(copy, lambda: bar.update(task, completed=copy.status().entries))
            with copy.current():
                newest = await Commit.query().order_by("authored_at", "desc").first()
            copied = await copy.fingerprint() == await db.fingerprint()
    assert newest is not None
    report.took(
        "replicate", f"{counted(total, 'signed entry', 'signed entries')} checked, on disk, and shown by the copy"
    )

    async with debros.open(other, app="demo", models=MODELS) as copy:  # apart: it dials nobody
        with db.current():
            here = await Commit.get(newest.id)
            await here.update(subject="edited here", added=here.added + 1)
        with copy.current():
            there = await Commit.get(newest.id)
            await there.update(areas=there.areas | {"edited-there"}, added=there.added + 2)
    report.text(f"apart: subject and +1 line here, one area and +2 lines there, of {newest.sha[:10]}")

    with report.act("meet again", AGAIN):
        async with debros.open(other, app="demo", models=MODELS, peers=db.addresses) as copy:
            await copy.synced(timeout_s=PATIENCE_S)
            same = await copy.fingerprint() == await db.fingerprint()
            with db.current():
                merged = await Commit.get(newest.id)
    kept = merged.subject == "edited here" and "edited-there" in merged.areas and merged.added == newest.added + 3
    agreed = f"both show {merged.subject!r}, {merged.added - newest.added} lines more, and the new area"
    if copied and same and kept:
        report.took("meet again", agreed)
    else:
        report.failed("the two nodes do not agree")
    return {"shown": True, "copied": copied, "same": same, "merged": kept, "ok": copied and same and kept}


async def _synced(copy: Debros, tell: Any) -> None:
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            while True:
                tell()
                await trio.sleep(0.1)

        nursery.start_soon(watch)
        await copy.synced(timeout_s=PATIENCE_S)
        nursery.cancel_scope.cancel()
    tell()
