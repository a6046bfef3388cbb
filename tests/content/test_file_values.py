"""`File` values: adding, reading, their wire and JSON forms, and what a record may hold."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

import debros
from debros import ContentError, ContentMissingError, Field, File, Model, NoNodeError, ValidationError, field, model
from debros.blocks import cid, dagcbor
from debros.log.body import parse_body
from debros.pinning.contents import Contents
from debros.values.file import FILE, content_in
from tests.support.nodes import a_node

HELLO = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"


@dataclass
class Track:
    title: str
    sound: File


@model(scope="user")
class Album(Model):
    name: Field[str]
    cover: Field[File | None] = field(default=None)
    photos: Field[list[File]] = field(default_factory=list)
    by_place: Field[dict[str, File]] = field(default_factory=dict)
    track: Field[Track | None] = field(default=None)
    pair: Field[tuple[File, int] | None] = field(default=None)


async def test_bytes_a_path_and_a_stream_become_a_file(tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_bytes(b"hello world\n")

    async def pieces() -> AsyncIterator[bytes]:
        yield b"hello "
        yield b"world\n"

    async with a_node(Album):
        assert await File.add(b"hello world\n") == File(HELLO, None, 12, None)
        assert await File.add(tmp_path / "hello.txt", content_type="text/plain") == File(
            HELLO, "hello.txt", 12, "text/plain"
        )
        assert await File.add(str(tmp_path / "hello.txt"), name="other") == File(HELLO, "other", 12, None)
        file = await File.add(pieces())
        assert (file.cid, file.size) == (HELLO, 12)
        assert await file.read() == b"hello world\n"


async def test_chunks_give_the_whole_or_a_range() -> None:
    content = bytes(range(256)) * 20_000
    async with a_node(Album):
        file = await File.add(content)
        assert file.size == len(content)
        assert b"".join([chunk async for chunk in file.chunks()]) == content
        assert b"".join([chunk async for chunk in file.chunks(1_048_000, 1000)]) == content[1_048_000:1_049_000]
        assert b"".join([chunk async for chunk in file.chunks(start=5_119_990)]) == content[-10:]


async def test_a_record_keeps_files_wherever_they_stand(tmp_path: Path) -> None:
    async with debros.open(tmp_path, models=[Album], app="album"):
        one, two = await File.add(b"one"), await File.add(b"two", name="zwei")
        album = await Album.create(
            name="x", cover=one, photos=[one, two], by_place={"home": two}, track=Track("t", one), pair=(two, 3)
        )
        album.photos.append(one)
        await album.save()
    async with debros.open(tmp_path, models=[Album], app="album"):
        found = await Album.get(album.id)
        assert (found.cover, found.photos, found.by_place) == (one, [one, two, one], {"home": two})
        assert (found.track, found.pair) == (Track("t", one), (two, 3))
        assert not found.is_changed()
        assert await found.photos[1].read() == b"two"
        assert await Album.where(Album.cover == one).count() == 1
        assert await Album.where(Album.cover.is_null()).count() == 0


async def test_the_entry_links_to_the_content_so_a_log_can_be_walked_to_its_files() -> None:
    async with a_node(Album) as db:
        file = await File.add(b"hello world\n", name="n", content_type="t")
        album = await Album.create(name="x", cover=file)
        entry = db.store.entries.by_number(1)
        body = db.store.log.read(entry.body)
        assert b"\xd8\x2a\x58\x25\x00\x01\x55\x12\x20" + cid.parse(file.cid).digest in body
        [[_, _, _, change]] = parse_body(body).ops
        assert change["put"]["cover"] == {"cid": cid.parse(file.cid), "name": "n", "size": 12, "type": "t"}
        assert content_in(change) == [(cid.parse(file.cid), 12)]
        assert album.to_dict(mode="json")["cover"] == {"cid": HELLO, "name": "n", "size": 12, "content_type": "t"}


async def test_json_forms_come_back_as_the_same_values() -> None:
    async with a_node(Album):
        one = await File.add(b"one")
        album = Album(name="x", cover=one, photos=[one], track=Track("t", one))
        again = Album.from_dict(json.loads(album.to_json()))
        assert (again.cover, again.photos, again.track) == (one, [one], Track("t", one))


@pytest.mark.parametrize(
    "wrong",
    [
        File("no cid", None, 1, None),
        File(HELLO, None, -1, None),
        File(HELLO, None, 2**63, None),
        File(HELLO, "x" * 1025, 1, None),
        File(HELLO, "\udc80", 1, None),
        File("bagu" + "a" * 55, None, 1, None),
        HELLO,
        {"cid": HELLO},
        7,
    ],
    ids=repr,
)
async def test_what_is_no_file_is_a_validation_error(wrong: object) -> None:
    async with a_node(Album):
        with pytest.raises(ValidationError) as caught:
            Album(name="x", cover=wrong)  # type: ignore[arg-type]
        assert {problem.field.split(".")[0] for problem in caught.value.errors} == {"cover"}


def test_only_the_wire_form_of_the_format_is_accepted() -> None:
    link = cid.parse(HELLO)
    good = {"cid": link, "name": None, "size": 1, "type": None}
    assert FILE.accepts(good)
    for wrong in (
        {**good, "cid": link.digest}, {**good, "size": True}, {**good, "size": -1}, {**good, "name": 1},
        {**good, "more": 1}, {"cid": link}, [], link,
    ):  # fmt: skip
        assert not FILE.accepts(wrong)
    encode, decode = FILE.to_column, FILE.from_column
    assert encode is not None
    assert decode is not None
    assert decode(encode(good)) == File(HELLO, None, 1, None)
    assert dagcbor.decode(encode(good)) == good


async def test_content_that_is_not_here_and_a_directory_are_clear_errors(tmp_path: Path) -> None:
    async with a_node(Album):
        with pytest.raises(ContentMissingError, match=HELLO):
            await File(HELLO, None, 12, None).read()
        with pytest.raises(ContentMissingError, match=HELLO):
            async for _ in File(HELLO, None, 12, None).chunks(3, 4):
                pass
        (tmp_path / "x").write_text("x")
        folder = await File.add(tmp_path)
        assert (folder.name, folder.size) == (tmp_path.name, 0)
        with pytest.raises(ContentError, match="no file"):
            await folder.read()
        one = await File.add(b"one")
        with pytest.raises(ContentError, match="the record says 4"):
            await File(one.cid, None, 4, None).read()
        with pytest.raises(ContentError, match="1024 bytes"):
            await File.add(b"x", name="n" * 2000)


async def test_without_a_node_there_is_nowhere_to_put_it() -> None:
    with pytest.raises(NoNodeError):
        await File.add(b"x")


def open_files(home: Path) -> list[str]:
    found = []
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # what was looked through is closed by now
            found.append(str(fd.readlink()))
    return [path for path in found if path.startswith(str(home))]


async def test_a_node_that_is_closed_while_content_is_first_used_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, measure = trio.Event(), Contents.measure

    async def slowly(contents: Contents) -> None:
        begun.set()
        for _ in range(5000):  # enough for a node that does not wait to be closed first
            await trio.lowlevel.checkpoint()
            if db.store.closed:
                break
        await measure(contents)

    async def add() -> None:
        with pytest.raises(debros.ClosedError):
            await File.add(b"hello world\n")

    async with debros.open(tmp_path, models=[Album], app="album"):
        await Album.create(name="so that there is something to learn of")
    monkeypatch.setattr(Contents, "measure", slowly)
    async with trio.open_nursery() as nursery:
        async with debros.open(tmp_path, models=[Album], app="album") as db:
            with db.current():
                nursery.start_soon(add)
            await begun.wait()
        assert open_files(tmp_path) == []


async def test_a_closed_node_says_so() -> None:
    async with a_node(Album) as db:
        file = await File.add(b"x")
    with db.current(), pytest.raises(debros.ClosedError):
        await file.read()
