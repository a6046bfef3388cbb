"""A record, a log, a file and a whole database as CAR files; an importer that trusts nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

import debros
from debros import ContentError, ContentMissingError, Field, File, Identity, Model, NotFoundError, field, model
from debros.blocks import car, cid, open_store, unixfs
from debros.blocks.archive import Reader
from tests.support.cancelling import counted_checkpoints
from tests.support.nodes import a_node


@model(scope="global")
class Post(Model):
    title: Field[str]
    picture: Field[File | None] = field(default=None)


@model(scope="user")
class Diary(Model):
    text: Field[str]


@pytest.mark.parametrize("version", [1, 2])
async def test_a_whole_database_with_its_files_is_the_same_on_another_node(version: int, tmp_path: Path) -> None:
    path, told = tmp_path / "all.car", []
    async with a_node(Post, Diary) as db:
        posts = [await Post.create(title=str(n), picture=await File.add(bytes([n]) * 2_000_000)) for n in range(3)]
        await Post.create_many([{"title": f"many {n}"} for n in range(700)])
        await posts[0].update(title="changed")
        await posts[1].delete()
        await Diary.create(text="mine")
        done = await db.export_car(path, version=version, progress=lambda at, _: told.append(at))
        expected = await db.fingerprint()
        assert (done.blocks, done.missing) == (9, ())
    assert told == sorted(told)
    assert told[-1] == path.stat().st_size
    async with a_node(Post, Diary) as db:
        found = await db.import_car(path)
        assert (found.entries, found.refused, found.held, found.known) == (done.entries, 0, 0, 0)
        assert await db.fingerprint() == expected
        picture = (await Post.get(posts[0].id)).picture
        assert picture is not None
        assert await picture.read() == bytes(2_000_000)
        assert await db.pins.is_pinned(picture.cid)
        again = await db.import_car(path)
        assert (again.entries, again.known) == (0, done.entries)


async def test_a_record_goes_with_its_history_and_a_file_alone(tmp_path: Path) -> None:
    async with a_node(Post, Diary) as db:
        post = await Post.create(title="one", picture=await File.add(b"picture"))
        await post.update(title="two")
        await Post.create(title="later")
        done = await db.export_car(tmp_path / "post.car", post)
        assert (done.entries, done.blocks) == (2, 1)
        assert post.picture is not None
        assert (await db.export_car(tmp_path / "file.car", post.picture)).blocks == 1
        assert (await db.export_car(tmp_path / "bare.car", post, files=False)).blocks == 0
    async with a_node(Post, Diary) as db:
        found = await db.import_car(tmp_path / "post.car")
        assert found.entries == 2
        assert [version.row.title for version in await (await Post.get(post.id)).history()] == ["one", "two"]
        assert await Post.count() == 1
    async with a_node(Post, Diary) as db:
        found = await db.import_car(tmp_path / "file.car")
        assert (found.entries, found.blocks, found.roots) == (0, 1, (post.picture.cid,))
        assert await post.picture.read() == b"picture"
    async with a_node(Post, Diary) as db:
        await db.import_car(tmp_path / "bare.car")
        with pytest.raises(ContentMissingError):
            await (await Post.get(post.id)).picture.read()  # type: ignore[union-attr]


async def test_a_log_of_one_user_or_of_one_model_goes_alone(tmp_path: Path) -> None:
    bo = Identity.generate()
    async with a_node(Post, Diary) as db:
        await Post.create(title="shared")
        await Diary.create(text="ana's")
        async with db.acting_as(bo):
            await Diary.create(text="bo's")
        assert (await db.export_car(tmp_path / "bo.car", bo.did)).entries == 1
        assert (await db.export_car(tmp_path / "posts.car", Post)).entries == 1
        assert (await db.export_car(tmp_path / "diaries.car", Diary)).entries == 2
        with pytest.raises(NotFoundError):
            await db.export_car(tmp_path / "none.car", Identity.generate().did)
        with pytest.raises(ContentMissingError):
            await db.export_car(
                tmp_path / "none.car",
                File("bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4", None, 12, None),
            )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bo.car", "diaries.car", "posts.car"]
    async with a_node(Post, Diary) as db:
        await db.import_car(tmp_path / "bo.car")
        assert [diary.text for diary in await Diary.query().all_users().all()] == ["bo's"]


async def test_any_reader_of_car_files_can_walk_an_export_from_its_heads(tmp_path: Path) -> None:
    async with a_node(Post) as db:
        await Post.create(title="x", picture=await File.add(b"hello world\n"))
        await db.export_car(tmp_path / "x.car")
    async with open_store("memory://") as store:
        roots = await car.load(store, tmp_path / "x.car")
        assert all(root.startswith("bafyrei") for root in roots)
        assert (
            await unixfs.cat(store, "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4") == b"hello world\n"
        )


async def blocks_of(path: Path) -> list[tuple[int, bytes, bytes]]:
    async with Reader(path) as reader:
        return [block async for block in reader]


def rewritten(path: Path, blocks: list[tuple[int, bytes, bytes]]) -> None:
    from debros.blocks.archive import header_of

    path.write_bytes(header_of([]) + b"".join(car.section_head(c, d, len(b)) + b for c, d, b in blocks))


async def test_forged_reordered_and_foreign_files_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "x.car"
    async with a_node(Post, app="mine") as db:
        for n in range(6):
            await Post.create(title=str(n))
        expected = await db.fingerprint()
        await db.export_car(path)
    blocks = await blocks_of(path)
    rewritten(path, [blocks[0], *[part for n in range(len(blocks) - 2, 0, -2) for part in blocks[n : n + 2]]])
    async with a_node(Post, app="mine") as db:  # children before parents
        found = await db.import_car(path)
        assert (found.entries, found.held) == (6, 0)
        assert await db.fingerprint() == expected
    header = blocks[4][2]
    forged = header[:-1] + bytes([header[-1] ^ 1])
    rewritten(path, [*blocks[:3], blocks[3], (cid.DAG_CBOR, cid.digest_of(forged), forged), *blocks[5:]])
    async with a_node(Post, app="mine") as db:  # a signature that is not right: it, and what builds on it
        found = await db.import_car(path)
        assert (found.entries, found.refused, found.held) == (1, 1, 4)
        assert any("signature" in reason for reason in found.reasons)
        assert await Post.count() == 1
    rewritten(path, [block for n, block in enumerate(blocks) if n != 3])
    async with a_node(Post, app="mine") as db:  # a body that did not come
        found = await db.import_car(path)
        assert (found.entries, found.refused, found.held) == (1, 0, 5)
    rewritten(path, blocks)
    async with a_node(Post, app="other") as db:
        with pytest.raises(ContentError, match="of the app 'mine'"):
            await db.import_car(path)
        assert db.status().entries == 0
    rewritten(path, blocks[1:])
    async with a_node(Post, app="mine", admins=[Identity.generate().did]) as db:
        with pytest.raises(ContentError, match="manifest"):
            await db.import_car(path)
    path.write_bytes(path.read_bytes()[:-7])
    async with a_node(Post, app="mine") as db:
        with pytest.raises(ContentError):
            await db.import_car(path)


async def test_content_beyond_the_ceiling_is_refused(tmp_path: Path) -> None:
    async with a_node(Post) as db:
        await Post.create(title="x", picture=await File.add(bytes(500_000)))
        await db.export_car(tmp_path / "x.car")
    async with a_node(Post, content_bytes=1000) as db:
        with pytest.raises(debros.CeilingError):
            await db.import_car(tmp_path / "x.car")
        assert (await db.pins.stats()).used_bytes == 0


async def test_both_ways_are_cancelled_without_a_trace_that_harms(tmp_path: Path) -> None:
    path, half = tmp_path / "all.car", tmp_path / "half.car"
    async with a_node(Post, Diary) as db:
        await Post.create(title="one", picture=await File.add(b"picture" * 100_000))
        await Post.create(title="two")
        await db.export_car(path)
        expected = await db.fingerprint()
        with counted_checkpoints() as checkpoints:
            nth = 0
            while await checkpoints.run(lambda: db.export_car(half), nth):
                assert not half.exists()
                nth += 1
        assert nth
    async with a_node(Post, Diary) as db:
        with counted_checkpoints() as checkpoints:
            nth = 0
            while await checkpoints.run(lambda: db.import_car(path), nth):
                nth += 1
        assert nth
        assert await db.fingerprint() == expected
