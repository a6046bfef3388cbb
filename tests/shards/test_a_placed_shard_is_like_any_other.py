"""Relations, effects, unique values, the past, live views, migrations and peers do not care where a shard lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

import debros
from debros import Field, Many, Model, One, belongs_to, field, has_many, hash_shards, migration, model
from debros.errors import RestrictedError, UniqueError
from debros.net.memory import MemoryNetwork
from tests.support.peers import in_virtual_time, peer
from tests.support.sharded import Hashed, some_notes


@model(name="PlacedAuthor", sharding=hash_shards("id", 3))
class Author(Model):
    name: Field[str]
    posts: Many[PlacedPost] = has_many("author_id")


@model(name="PlacedPost", sharding=hash_shards("author_id", 3))
class PlacedPost(Model):
    author_id: Field[str] = field(index=True)
    slug: Field[str] = field(unique=True)
    likes: Field[int] = field(default=0, merge="counter")
    author: One[Author | None] = belongs_to("author_id", on_delete="cascade")


@model(name="PlacedNote")
class Note(Model):
    post_id: Field[str | None] = field(default=None)
    post: One[PlacedPost | None] = belongs_to("post_id", on_delete="restrict")


MODELS = (Author, PlacedPost, Note)


async def story(home: Path, placement: dict[str, Any]) -> list[Any]:
    """Do a little of everything; return what was seen."""
    seen: list[Any] = []
    async with debros.open(home, models=MODELS, placement=placement) as db:
        for n in range(6):
            await Author.create(id=f"a{n}", name=f"name {n}")
            await PlacedPost.create_many(
                [{"id": f"p{n}{m}", "author_id": f"a{n}", "slug": f"s{n}{m}"} for m in range(3)]
            )
        then = max(replica.clock for replica in db.store.by_number.values())
        try:
            await PlacedPost.create(author_id="a5", slug="s00")
        except UniqueError as error:
            seen.append(str(error))
        await Note.create(id="n", post_id="p11")
        try:
            await (await PlacedPost.get("p11")).delete()
        except RestrictedError as error:
            seen.append((error.model, error.id))
        async with PlacedPost.query().order_by(PlacedPost.slug.asc()).live() as view:
            await PlacedPost.increment("p20", likes=3)
            await (await Author.get("a0")).delete()
            await trio.testing.wait_all_tasks_blocked()
            seen.append([(row.id, row.likes) for row in await PlacedPost.query().order_by(PlacedPost.slug.asc()).all()])
            seen.append([row.id for row in view.rows])
        await (await Author.get("a0", deleted=True)).restore()
        found = await Author.query().include(Author.posts).order_by(Author.name.desc()).all()
        seen.append([(author.name, sorted(post.id for post in await author.posts)) for author in found])
        past = await PlacedPost.as_of(then).order_by(PlacedPost.id.asc()).all()
        seen.append([(post.id, post.likes) for post in past])
        seen.append(len(await (await PlacedPost.get("p20")).history()))
        seen.append(await PlacedPost.where(PlacedPost.author.any(Author.name == "name 2")).count())
    async with debros.open(home, models=MODELS) as db:
        seen.append(await db.fingerprint())
        seen.append(sorted((row.id, row.likes) for row in await PlacedPost.all()))
    return seen


async def test_a_program_sees_the_same_wherever_the_shards_lie(tmp_path: Path) -> None:
    names = ("PlacedAuthor", "PlacedPost")
    everywhere = {name: {n: tmp_path / f"{name}-{n}" for n in range(3)} for name in names}
    some = {"PlacedPost": {1: tmp_path / "one"}}
    at_home = await story(tmp_path / "home", {})
    assert len(at_home) == 10
    assert await story(tmp_path / "home-2", everywhere) == at_home
    assert await story(tmp_path / "home-3", some) == at_home


@in_virtual_time
async def test_peers_exchange_placed_shards(tmp_path: Path) -> None:
    network = MemoryNetwork()
    async with peer(network, "a", models=[Hashed]) as a:
        with a.current():
            await Hashed.create_many(some_notes(20))
        placement = {"Hashed": {n: tmp_path / f"shard-{n}" for n in (0, 1, 2)}}
        async with peer(
            network, "b", home=tmp_path / "home", peers=["a"], models=[Hashed], settings={"placement": placement}
        ) as b:
            await trio.sleep(5)
            with b.current():
                assert await Hashed.count() == 20
                await Hashed.create_many([{**note, "id": f"b{note['id']}"} for note in some_notes(20)])
            await trio.sleep(5)
            with a.current():
                assert await Hashed.count() == 40
            assert await a.fingerprint() == await b.fingerprint()


@model(name="PlacedTask", version="1.0.0", sharding=hash_shards("owner", 3))
class Task1(Model):
    owner: Field[str]
    title: Field[str]


@model(name="PlacedTask", version="1.1.0", sharding=hash_shards("owner", 3))
class Task2(Model):
    owner: Field[str]
    title: Field[str]
    size: Field[int] = field(default=0, index=True)


def sized(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "size": len(row["title"])}


SIZE = (
    migration("size", "1.1.0")
    .add_field("PlacedTask", "size", default=0)
    .transform("PlacedTask", up=sized, down=lambda row: row)
)


@pytest.mark.parametrize("placed", [(), (0, 2), (0, 1, 2)])
async def test_a_migration_makes_the_rows_of_every_store_anew(tmp_path: Path, placed: tuple[int, ...]) -> None:
    placement = {"PlacedTask": {n: tmp_path / f"shard-{n}" for n in placed}}
    async with debros.open(tmp_path / "home", models=[Task1], placement=placement):
        await Task1.create_many([{"owner": f"owner {n % 7}", "title": "x" * n} for n in range(21)])
    for _ in range(2):
        async with debros.open(tmp_path / "home", models=[Task2], migrations=[SIZE]) as db:
            await db.migrations.apply()
            assert sorted(task.size for task in await Task2.all()) == list(range(21))
            assert await Task2.where(Task2.size >= 10).count() == 11
    async with debros.open(tmp_path / "home", models=[Task2], migrations=[SIZE]) as db:
        assert await Task2.query().sum(Task2.size) == sum(range(21))
