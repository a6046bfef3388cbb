"""Indexes are used where they are declared, and are built beside the loop on a table that has its rows already."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

import apsw
import pytest
import trio
import trio.lowlevel
from hypothesis import given, settings
from hypothesis import strategies as st

import debros
from debros import Debros, Field, Index, Model, ModelError, One, belongs_to, field, model
from debros.query import compile
from debros.replica import indexing
from tests.support.forum import Post, a_forum
from tests.support.nodes import a_node
from tests.support.tabular import Node, schema

ROWS = 200


def declared(indexed: bool) -> Any:
    indexes: list[Any] = [Index("place.city"), Index("author", "-n"), Index("author", "place.zip")] if indexed else []

    @model(name="Item", indexes=indexes)
    class Item(Model):
        author: Field[str]
        n: Field[int] = field(default=0)
        tags: Field[set[str]] = field(default_factory=set, index=indexed)
        place: Field[dict[str, Any]] = field(default_factory=dict)

    return Item


def open_items(home: Path, item: Any, **options: Any) -> Any:
    return debros.open(str(home), models=[item], app="items", durability="process", **options)


async def fill(item: Any) -> None:
    await item.create_many(
        [
            {
                "id": f"i{n:03}", "author": f"a{n % 10}", "n": n, "tags": {f"t{n % 20}", "all"},
                "place": {"city": f"c{n % 8}", "zip": n % 5} if n % 3 else {"city": n},
            }
            for n in range(ROWS)
        ]
    )  # fmt: skip


def questions(item: Any) -> list[Any]:
    return [
        item.where(item.tags.contains("t3")),
        item.where(item.tags.contains_any(["t3", "t4", "t3"])),
        item.where(item.tags.contains_any([])),
        item.where(item.tags.contains_all(["t3", "all"])),
        item.where(item.tags.contains_all([])),
        item.where(~item.tags.contains("t3")),
        item.where(item.tags.contains("t3") | (item.n == 7)),
        item.where(item.place.path("city") == "c3"),
        item.where(item.place.path("city").between(51, 60)),
        item.where(item.place.path("city").in_(["c1", 6, None])),
        item.where(~(item.place.path("city") == "c3")),
        item.where(item.place.path("city").like("c%")).order_by(item.place.path("city").desc()),
        item.where(item.author == "a1", item.place.path("zip") == 1),
        item.where(item.author == "a1").order_by(item.n.desc()).limit(3),
    ]


async def answers(item: Any) -> list[list[str]]:
    return [[row.id for row in await question.all()] for question in questions(item)]


async def built(db: Debros) -> None:
    while db.indexing:
        assert not db.indexing[0].failure, db.indexing[0].failure
        await trio.lowlevel.checkpoint()


async def test_indexes_are_built_in_the_background_and_change_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, build_one = Event(), indexing._build
    monkeypatch.setattr(indexing, "_build", lambda *build: begin.wait(60) and build_one(*build))
    plain, indexed = declared(False), declared(True)
    async with open_items(tmp_path, plain) as db:
        assert db.indexing == []
        await fill(plain)
        expected = await answers(plain)
        assert (await questions(plain)[0].explain()).rows_examined == ROWS
    async with open_items(tmp_path, indexed) as db:
        waiting = db.indexing
        assert [build.index.fields for build in waiting] == [
            ("tags",), ("place.city",), ("author", "-n"), ("author", "place.zip"),
        ]  # fmt: skip
        assert {build.progress for build in waiting} == {0.0}
        assert await answers(indexed) == expected  # while they are not there
        begin.set()
        await built(db)
        assert waiting[0].rows == ROWS
        assert await answers(indexed) == expected
        plans = [await question.explain() for question in questions(indexed)]
        used = [plan.index[0] for plan in plans]
        assert (used[0], used[1], used[3]) == ("x_Item_0", "x_Item_0", "x_Item_0")
        assert (used[7], used[13]) == ("i_Item_1_t", "i_Item_2")
        assert used[12] in ("i_Item_2", "i_Item_3_n")
        assert plans[0].rows_examined == 10
        assert plans[7].rows_examined == len(expected[7])
        assert plans[13].rows_examined == 3
    async with open_items(tmp_path, indexed) as db:
        assert db.indexing == []  # they stay
        assert await answers(indexed) == expected
    async with open_items(tmp_path, plain) as db:
        left = [name for name, _ in db.store.view.indexes_of(db.store.models["Item"].table)]
        assert left == []  # what is not declared any more goes
        assert await answers(plain) == expected


async def test_rows_written_while_an_index_is_built_are_found_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, indexed = declared(False), declared(True)
    async with open_items(tmp_path, plain):
        await fill(plain)
    async with open_items(tmp_path, indexed, flush_rows=2) as db:
        written = 0
        while db.indexing:
            await indexed.create(author="new", tags={"fresh"}, place={"city": "fresh"})
            written += 1
            await trio.lowlevel.checkpoint()
        assert written > 0
        assert await indexed.where(indexed.tags.contains("fresh")).count() == written
        assert await indexed.where(indexed.place.path("city") == "fresh").count() == written
        async with db.transaction():
            await indexed.create(author="new", tags={"fresh"})
            assert await indexed.where(indexed.tags.contains("fresh")).count() == written + 1


async def test_reads_that_need_what_waits_wait_for_the_index(tmp_path: Path) -> None:
    plain, indexed = declared(False), declared(True)
    async with open_items(tmp_path, plain):
        await fill(plain)
    async with open_items(tmp_path, indexed) as db:
        await indexed.create(author="new", tags={"fresh"})
        counts: list[int] = []

        async def count() -> None:
            counts.append(await indexed.query().count())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(count)
        assert counts == [ROWS + 1] * 3
        async with db.transaction():
            await indexed.create(author="inside")
            assert await indexed.query().count() == ROWS + 2
        await built(db)


async def test_an_index_that_cannot_be_built_is_told_and_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, indexed = declared(False), declared(True)
    async with open_items(tmp_path, plain):
        await fill(plain)
        expected = await answers(plain)

    def full(*_: object) -> None:
        raise apsw.FullError("disk full")

    monkeypatch.setattr(indexing, "_build", full)
    async with open_items(tmp_path, indexed) as db:
        with trio.fail_after(10):
            while not db.indexing[0].failure:
                await trio.lowlevel.checkpoint()
        assert "disk full" in db.indexing[0].failure
        assert await answers(indexed) == expected
    monkeypatch.undo()
    async with open_items(tmp_path, indexed) as db:
        await built(db)
        assert await answers(indexed) == expected


async def test_a_node_that_is_closed_meanwhile_begins_anew(tmp_path: Path) -> None:
    plain, indexed = declared(False), declared(True)
    async with open_items(tmp_path, plain):
        await fill(plain)
        expected = await answers(plain)
    for _ in range(3):
        async with open_items(tmp_path, indexed):
            pass
    async with open_items(tmp_path, indexed) as db:
        await built(db)
        assert await answers(indexed) == expected


async def test_a_node_that_is_closed_ends_the_build_and_waits_for_its_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, indexed, begun, ended = declared(False), declared(True), Event(), Event()
    build_one = indexing._build

    def build(db: apsw.Connection, one: indexing.IndexBuild) -> None:
        begun.set()
        while not one.is_stopped:
            sleep(0)
        for _ in range(5000):  # enough for a node that does not wait to be closed first
            sleep(0)
        try:
            build_one(db, one)
        finally:
            ended.set()

    async with open_items(tmp_path, plain):
        await fill(plain)
    monkeypatch.setattr(indexing, "STEPS", 100)
    monkeypatch.setattr(indexing, "_build", build)
    async with open_items(tmp_path, indexed) as db:
        while not begun.is_set():
            await trio.lowlevel.checkpoint()
        left = [build.index.name for build in db.indexing]
    assert ended.is_set()
    monkeypatch.undo()
    async with open_items(tmp_path, indexed) as db:
        assert [build.index.name for build in db.indexing] == left
        await built(db)


async def test_the_index_of_elements_follows_every_change() -> None:
    async with a_forum() as db:

        async def by_index(tag: str) -> set[str]:
            found = {post.id for post in await Post.where(Post.tags.contains(tag)).all()}
            assert found == {post.id for post in await Post.all() if tag in post.tags}
            return found

        assert await by_index("t1") == {"p01", "p05", "p09"}
        post = await Post.get("p01")
        post.tags = {"t2", "other"}
        await post.save()
        assert await by_index("t1") == {"p05", "p09"}
        assert await by_index("other") == {"p01"}
        await post.delete()
        assert await by_index("other") == set()
        await post.restore()
        assert await by_index("other") == {"p01"}
        await (await Post.get("p05")).author
        from tests.support.forum import User

        await (await User.get("u2")).delete()  # hides p05 and others, by an effect
        assert await by_index("t1") == {"p09"}
        await (await User.get("u2", deleted=True)).restore()
        assert await by_index("t1") == {"p05", "p09"}
        with pytest.raises(RuntimeError):  # noqa: PT012 - the error leaves the block
            async with db.transaction():
                await Post.query().update(tags={"inside"})
                assert len(await by_index("inside")) == 12
                raise RuntimeError
        assert await by_index("inside") == set()


WORDS = st.sampled_from(["", "a", "b", "ab", "é", "\0"])
DOC = schema(
    "Doc", {"tags": list[str], "numbers": set[int], "maybe": list[str] | None, "data": dict[str, Any]},
    indexes=["tags", "numbers", "maybe", "data.a", "data.b.0"],
)  # fmt: skip
ANY = st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-2, 2) | WORDS | st.binary(max_size=1)


@settings(max_examples=60)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "tags": st.lists(WORDS, max_size=3), "numbers": st.sets(st.integers(-2, 2), max_size=3),
                "maybe": st.none() | st.lists(WORDS, max_size=2), "data": st.fixed_dictionaries({"a": ANY, "b": st.lists(ANY, max_size=1)}),
            }
        ),
        max_size=8,
    ),
    st.lists(WORDS, max_size=3), st.integers(-2, 2), WORDS,
)  # fmt: skip
def test_an_index_finds_what_the_same_model_without_it_finds(
    rows: list[dict[str, Any]], words: list[str], n: int, word: str
) -> None:
    bare = schema("Doc", {"tags": list[str], "numbers": set[int], "maybe": list[str] | None, "data": dict[str, Any]})

    async def run() -> None:
        found = []
        for described in (DOC, bare):
            node = Node(described)
            node.add("Doc", *({"id": f"d{at}", **row} for at, row in enumerate(rows)))
            column = {name: node.column(f"Doc.{name}") for name in ("tags", "numbers", "maybe", "data")}
            a, b = column["data"].path("a"), column["data"].path("b.0")
            conditions = [
                column["tags"].contains(word), column["tags"].contains_any(words), column["tags"].contains_all(words),
                column["numbers"].contains(n), column["maybe"].contains(word), column["maybe"].contains_any(words),
                a == word, a > n, a.in_([n, word]), b == n, b < word, a == True, a.is_null(), b.startswith(word),  # noqa: E712 - a value
                column["maybe"].contains_all(words), column["maybe"].contains(word) | column["tags"].contains(word),
                column["maybe"].contains(word) & ~column["maybe"].contains_any(words),
            ]  # fmt: skip
            conditions += [~condition for condition in conditions]
            found.append([[row.id for row in await node.query("Doc").where(c).all()] for c in conditions])
            for order in (a.asc(), a.desc(), b.asc(), b.desc()):
                found[-1].append([row.id for row in await node.query("Doc").order_by(order).all()])
        assert found[0] == found[1]

    trio.run(run)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Index("author.city"), lambda: Index("place."), lambda: Index("nothing.city"), lambda: Index("place.a..b"),
        lambda: Index("place.city", unique=True), lambda: Index("place." + "x" * 300),
    ],
)  # fmt: skip
def test_paths_that_are_none_cannot_be_indexed(wrong: Any) -> None:
    with pytest.raises(ModelError):

        @model(indexes=[wrong()])
        class Wrong(Model):
            author: Field[str]
            place: Field[dict[str, Any]]


async def test_an_index_may_be_named_and_an_unknown_one_is_refused() -> None:
    async with a_forum():
        plan = await Post.query().use_index("author_id", "-created_at").where("likes", 3).explain()
        assert plan.index == ("i_Post_2",)
        by_name = await Post.query().use_index("i_Post_4").where("likes", 3).count()
        assert by_name == await Post.where(Post.likes == 3).count()
        with pytest.raises(debros.QueryError, match="author_id, -created_at"):
            Post.query().use_index("author_id")


async def test_a_quote_in_a_path_stays_a_quote() -> None:
    node = Node(schema("Doc", {"data": dict[str, Any]}, indexes=["data.it's", 'data.say "x"']))
    node.add("Doc", {"id": "a", "data": {"it's": 1, 'say "x"': "y"}}, {"id": "b", "data": {}})
    data = node.column("Doc.data")
    assert [row.id for row in await node.query("Doc").where(data.path("it's") == 1).all()] == ["a"]
    assert [row.id for row in await node.query("Doc").where(data.path('say "x"') == "y").all()] == ["a"]


@model(name="Note", indexes=[Index("-place.zip"), Index("author", "place.city")])
class Note(Model):
    author: Field[str] = field(default="")
    tags: Field[list[str] | None] = field(default=None, index=True)
    place: Field[dict[str, Any]] = field(default_factory=dict)


async def test_a_collection_that_may_be_null_is_found_by_its_index(tmp_path: Path) -> None:
    async with debros.open(str(tmp_path / "home"), models=[Note], app="notes"):
        await Note.create_many([{"id": f"n{n}", "tags": None if n % 3 else ["a", f"t{n}"]} for n in range(9)])
        found = Note.where(Note.tags.contains("t3"))
        assert [note.id for note in await found.all()] == ["n3"]
        plan = await found.explain()
        assert (plan.index, plan.rows_examined) == (("x_Note_0",), 1)
        others = Note.where(~Note.tags.contains("t3"))  # unknown where there are none, so they do not show
        assert [note.id for note in await others.all()] == ["n0", "n6"]
        assert (await others.explain()).rows_examined == 9


async def test_an_index_of_a_path_gives_the_order_of_what_is_there(tmp_path: Path) -> None:
    async with debros.open(str(tmp_path / "home"), models=[Note], app="notes"):
        zips: list[Any] = [3, "b", None, 1.5, "a", b"x", True, ["l"], 2]
        for n, zip in enumerate(zips):
            await Note.create(id=f"n{n}", author=f"a{n % 2}", place={"zip": zip, "city": zip})
        last = Note.query().order_by(Note.place.path("zip").desc()).limit(4)
        assert [note.place["zip"] for note in await last.all()] == [["l"], b"x", "b", "a"]
        plan = await last.explain()
        assert (plan.index, plan.rows_examined) == (("i_Note_1_a",), 4)
        of_one = Note.where("author", "a1").order_by(Note.place.path("city").asc())
        assert [note.place["city"] for note in await of_one.all()] == [1.5, "b", b"x", ["l"]]
        plan = await of_one.explain()
        assert plan.index == ("i_Note_2_a",)
        for operations in (plan.operations, (await last.explain()).operations):
            assert not any("TEMP B-TREE" in step and "LAST" not in step for step in operations)


async def test_models_whose_names_end_like_those_of_indexes_do_not_meet() -> None:
    @model(name="Box")
    class Box(Model):
        name: Field[str] = field(index=True)
        size: Field[int] = field(default=0, index=True)
        tags: Field[set[str]] = field(default_factory=set, index=True)
        extra: Field[dict[str, int]] = field(default_factory=dict)

    @model(name="Box_1", indexes=[Index("data.a")])
    class Box1(Model):
        hidden: Field[str] = field(index=True)
        data: Field[dict[str, int]] = field(default_factory=dict)

    @model(name="Box_hidden")
    class BoxHidden(Model):
        name: Field[str] = field(index=True)

    @model(name="Box_live")
    class BoxLive(Model):
        hidden: Field[str] = field()
        box: One[Box] = belongs_to("hidden", on_delete="cascade")

    @model(name="s_Box")
    class Aside(Model):
        name: Field[str] = field(index=True)

    async with a_node(Box, Box1, BoxHidden, BoxLive, Aside) as node:
        await Box.create(id="a", name="x", tags={"t"})
        await Box1.create(hidden="x")
        await BoxLive.create(hidden="a")
        assert (await Box.where(Box.size == 0).explain()).index == ("i_Box_1",)
        assert await Box.query().use_index("id_Box").where("id", "a").count() == 1
        names = [name for (name,) in node.store.view.read("SELECT lower(name) FROM sqlite_master", ())]
        assert len(names) == len(set(names))
        await (await Box.get("a")).delete()
        assert await BoxLive.count() == 0


async def test_what_no_index_helps_is_counted_in_the_order_of_the_table() -> None:
    async with a_forum():

        async def steps(query: Any) -> str:
            source = query.subject.source()
            text, bound = compile.count(query, source)
            return " ".join(str(row[-1]) for row in source.read(f"EXPLAIN QUERY PLAN {text}", bound))

        assert await steps(Post.where(Post.title.contains("a"))) == "SCAN m_Post"
        assert await steps(Post.where(Post.title.contains("a") | (Post.title == "b"))) == "SCAN m_Post"
        assert "INDEX" in await steps(Post.where(Post.likes > 3, Post.title.contains("a")))
        assert "COVERING INDEX" in await steps(Post.query())
        assert "COVERING INDEX" in await steps(Post.where(Post.id.contains("1")))
        everything = await Post.all()
        word = everything[3].title
        wanted = [post for post in everything if word in post.title]
        assert await Post.where(Post.title.contains(word)).count() == len(wanted) > 0
        assert await Post.where(Post.title.contains(word)).exists()
        assert await Post.where(Post.title.contains(word)).sum(Post.likes) == sum(post.likes for post in wanted)
