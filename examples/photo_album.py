"""A photo album on two nodes: a small one with room for three pictures, and a large one. Pictures leave, and return.

Run: `python examples/photo_album.py`. Both nodes are in this process and meet on the loopback interface. It prints:

    the phone took 8 pictures
    the archive holds 8 of them
    the phone keeps 3, and still lists 8 titles
    a picture left the phone: held by 1 other
    it is back: 400000 bytes, as they were taken
"""

from __future__ import annotations

import tempfile
from random import Random

import trio

import debros
from debros import Field, File, Model, model, popularity
from debros.node import Debros

SIZE = 400_000


@model(pinning=popularity(copies=(1, 2)))
class Photo(Model):
    title: Field[str]
    picture: Field[File]


def taken(n: int) -> bytes:
    return Random(n).randbytes(SIZE)  # noqa: S311 - a picture, no secret


async def held(db: Debros, photos: list[Photo]) -> list[Photo]:
    return [photo for photo in photos if await db.pins.is_held(photo.picture.link)]


async def until(db: Debros, photos: list[Photo], count: int) -> list[Photo]:
    while len(found := await held(db, photos)) != count:  # noqa: ASYNC110 - nothing tells of sweeps
        await trio.sleep(0.1)
    return found


async def main() -> None:
    archive_home, phone_home = tempfile.mkdtemp(), tempfile.mkdtemp()
    here = "/ip4/127.0.0.1/tcp/0"
    async with (
        debros.open(archive_home, models=[Photo], app="album", listen=here, sweep_s=0.5) as archive,
        debros.open(
            phone_home, models=[Photo], app="album", listen=here, peers=archive.addresses, content_pins=3, sweep_s=0.5
        ) as phone,
    ):
        with phone.current():
            photos = [await Photo.create(title=f"sunset {n}", picture=await File.add(taken(n))) for n in range(8)]
        print(f"the phone took {len(photos)} pictures")
        with trio.fail_after(60):
            print(f"the archive holds {len(await until(archive, photos, 8))} of them")
            await phone.pins.sweep(force=True)  # or wait: what was used within the hour is protected
            kept = await until(phone, photos, 3)
        with phone.current():
            print(f"the phone keeps {len(kept)}, and still lists {await Photo.count()} titles")
            gone = next(iter([photo for photo in photos if photo not in kept]))
            status = await phone.pins.status(gone.picture.cid)
            print(f"a picture left the phone: held by {status.copies} other")
            content = await gone.picture.read()
            assert content == taken(int(gone.title.split()[1]))
            print(f"it is back: {len(content)} bytes, as they were taken")


if __name__ == "__main__":
    trio.run(main)
