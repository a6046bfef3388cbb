"""What a row shows is referred to, also where no entry changed the document: it was made anew."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from debros import Field, File, Identity, Model, field, model
from debros.opening import open_node
from debros.pinning.rules import DAY_S
from tests.content.test_pins import Clock


@model(scope="global", name="Letter")
class Scanned(Model):
    text: Field[str] = field(default="")
    scan: Field[File | None] = field(default=None)
    stamp: Field[File | None] = field(default=None)


@model(scope="global", name="Letter")
class Unscanned(Model):
    text: Field[str] = field(default="")
    stamp: Field[File | None] = field(default=None)


def opened(clock: Clock, path: Path, cls: Any, admin: Identity) -> Any:
    return open_node(
        clock, None, path, models=[cls], app="post", identity=admin, admins=[admin.did], settings={"sweep_s": 1e6}
    )


async def test_content_of_a_field_that_is_declared_again_stays(tmp_path: Path) -> None:
    clock, admin = Clock(), Identity.generate()
    async with opened(clock, tmp_path, Scanned, admin) as db:
        file = await File.add(b"the scan")
        letter = await Scanned.create(scan=file)
        await db.pins.learn()
    async with opened(clock, tmp_path, Unscanned, admin) as db:
        await (await Unscanned.get(letter.id)).update(text="t")
        await db.pins.learn()
    async with opened(clock, tmp_path, Scanned, admin) as db:
        clock.pass_(2 * DAY_S)
        await db.pins.sweep()
        assert await (await Scanned.get(letter.id)).scan.read() == b"the scan"


async def test_content_that_shows_again_because_a_write_is_void_stays(tmp_path: Path) -> None:
    clock, admin, spammer = Clock(), Identity.generate(), Identity.generate()
    async with opened(clock, tmp_path, Scanned, admin) as db:
        await db.grant(spammer.did)
        letter = await Scanned.create(scan=await File.add(b"the scan"))
        async with db.acting_as(spammer):
            await (await Scanned.get(letter.id)).update(scan=await File.add(b"spam"))
        await db.pins.learn()
        await db.revoke(spammer.did, keep=False)
        clock.pass_(2 * DAY_S)
        await db.pins.sweep()
        assert await (await Scanned.get(letter.id)).scan.read() == b"the scan"


async def test_it_stays_though_the_node_lost_power_before_it_wrote_that_down(tmp_path: Path) -> None:
    clock, admin, spammer = Clock(), Identity.generate(), Identity.generate()
    home, left = tmp_path / "home", tmp_path / "left"
    async with opened(clock, home, Scanned, admin) as db:
        await db.grant(spammer.did)
        letter = await Scanned.create(scan=await File.add(b"the scan"))
        async with db.acting_as(spammer):
            await (await Scanned.get(letter.id)).update(scan=await File.add(b"spam"))
        await db.pins.learn()
        await db.revoke(spammer.did, keep=False)
        shutil.copytree(home, left)
    async with opened(clock, left, Scanned, admin) as db:
        clock.pass_(2 * DAY_S)
        await db.pins.sweep()
        assert await (await Scanned.get(letter.id)).scan.read() == b"the scan"
