"""`include` and `with_` load relations for all records at once: one lookup per relation, one object per record."""

from __future__ import annotations

from typing import Any

import pytest

from debros.errors import QueryError, UnknownFieldError
from debros.query.loading import load
from debros.query.relations import Relation
from debros.schema import RelationSpec
from tests.support.blog import blog
from tests.support.tabular import ANA, BO, START_MS, Node, schema


def ids(records: Any) -> list[str]:
    return [record.id for record in records]


async def loaded(node: Node, dotted: str, relation: Relation[Any] | None = None) -> dict[str, Any]:
    """Return what a relation holds, by record: ids, an id, or `None`."""
    model, _, name = dotted.partition(".")
    rows = await node.query(model).include(relation or node.relation(dotted)).all()
    found = {row.id: row.loaded[name] for row in rows}
    return {id: ids(v) if isinstance(v, list) else v and v.id for id, v in found.items()}


@pytest.mark.parametrize(
    ("relation", "expected"),
    [
        ("Post.author", {"p0": "ana", "p1": "ana", "p2": "bo", "p3": "bo", "p4": None}),
        ("Post.parent", {"p0": None, "p1": "p0", "p2": "p0", "p3": None, "p4": None}),
        ("Post.comments", {"p0": ["c0", "c1", "c2"], "p1": ["c3"], "p2": [], "p3": [], "p4": []}),
        ("Post.newest", {"p0": ["c1"], "p1": ["c3"], "p2": [], "p3": [], "p4": []}),
        ("Post.replies", {"p0": ["p1", "p2"], "p1": [], "p2": [], "p3": [], "p4": []}),
        ("Post.answers", {"p0": ["c3"], "p1": [], "p2": [], "p3": [], "p4": []}),
        ("Post.tags", {"p0": ["t2"], "p1": ["t2", "t1"], "p2": ["t2", "t1"], "p3": ["t2", "t1"], "p4": ["t2", "t1"]}),
        ("Post.likers", {"p0": ["ana", "cy"], "p1": [], "p2": [], "p3": [], "p4": []}),
        ("User.posts", {"ana": ["p1", "p0"], "bo": ["p3", "p2"], "cy": []}),
        ("User.profile", {"ana": "f1", "bo": None, "cy": None}),
        ("User.received", {"ana": ["c0", "c1", "c2", "c3"], "bo": [], "cy": []}),
        ("User.noticed", {"ana": ["c3"], "bo": [], "cy": []}),
        ("User.seen", {"ana": [], "bo": ["p0", "p1"], "cy": ["p0", "p1"]}),
        ("User.following", {"ana": [], "bo": ["ana", "cy"], "cy": ["ana"]}),
        ("User.followers", {"ana": ["bo", "cy"], "bo": [], "cy": ["bo"]}),
    ],
)
async def test_every_kind_of_relation_loads_in_one_lookup(relation: str, expected: dict[str, Any]) -> None:
    node = blog()
    assert await loaded(node, relation) == expected
    assert len(node.reads) == 2


async def test_conditions_order_and_limit_hold_per_record() -> None:
    node = blog()
    at = node.column("Comment.at")
    comments = node.relation("Post.comments").where(at > 1).order_by(at.desc())
    assert await loaded(node, "Post.comments", comments.limit(1)) == {
        "p0": ["c1"],
        "p1": ["c3"],
        "p2": [],
        "p3": [],
        "p4": [],
    }
    assert (await loaded(node, "Post.comments", comments))["p0"] == ["c1", "c2"]
    assert (await loaded(node, "Post.comments", comments.limit(0)))["p0"] == []
    assert (await loaded(node, "Post.newest", node.relation("Post.newest").limit(2)))["p0"] == ["c1", "c2"]
    name = node.column("Tag.name")
    assert (await loaded(node, "Post.tags", node.relation("Post.tags").order_by(name.desc())))["p1"] == ["t1", "t2"]
    assert (await loaded(node, "Post.tags", node.relation("Post.tags").limit(1)))["p1"] == ["t2"]
    bo = node.relation("Post.author").where(node.column("User.handle") == "bo")
    assert (await loaded(node, "Post.author", bo))["p0"] is None


async def test_nested_relations_take_one_lookup_each_and_share_objects() -> None:
    node = blog()
    [post, *_] = await node.query("Post").with_(["author", "comments.user"], "comments.post").all()
    assert len(node.reads) == 5
    assert post.loaded["author"].handle == "ana"
    assert [c.loaded["user"] and c.loaded["user"].handle for c in post.loaded["comments"]] == ["bo", "cy", None]
    assert all(comment.loaded["post"] is post for comment in post.loaded["comments"])


async def test_a_relation_to_the_same_model_gives_the_objects_of_the_result() -> None:
    posts = {post.id: post for post in await blog().query("Post").with_("parent", "replies").all()}
    assert posts["p1"].loaded["parent"] is posts["p0"]
    assert posts["p0"].loaded["replies"][1] is posts["p2"]


async def test_naming_a_relation_twice_loads_it_once_with_all_that_is_in_it() -> None:
    node = blog()
    narrowed = node.relation("Post.comments").where(node.column("Comment.at") > 1)
    query = node.query("Post").include(narrowed.include(node.relation("Comment.post"))).with_("comments.user")
    [post, *_] = await query.limit(1).all()
    assert ids(post.loaded["comments"]) == ["c1", "c2"]
    assert set(post.loaded["comments"][0].loaded) == {"post", "user"}
    assert len(node.reads) == 4


async def test_nothing_is_looked_up_for_no_records_and_no_keys() -> None:
    node = blog()
    await node.query("Post").where("likes", -1).with_("author.posts").all()
    assert len(node.reads) == 1
    node.reads.clear()
    [post] = await node.query("Post").where("id", "p0").with_("parent.author").all()
    assert post.loaded["parent"] is None
    assert len(node.reads) == 1


async def test_ten_thousand_records_load_in_one_lookup() -> None:
    node = Node(*blog().schemas.values())
    node.add("User", *({"id": f"u{n}", "handle": "x"} for n in range(10_000)))
    node.add("Follow", *({"id": f"w{n}", "follower_id": f"u{n}", "followee_id": "u7"} for n in range(10_000)))
    users = await node.query("User").with_("following").all()
    assert len(node.reads) == 2
    assert all(ids(user.loaded["following"]) == ["u7"] for user in users)


async def test_records_at_hand_load_relations_too() -> None:
    node = blog()
    posts = await node.query("Post").all()
    await load(node.subject("Post"), posts[:1], [node.relation("Post.author")])
    assert posts[0].loaded["author"].id == "ana"
    assert "author" not in posts[1].loaded


async def test_user_scoped_relations_stay_within_what_the_query_reads() -> None:
    node = personal()
    [mine] = await node.query("Book").with_("notes").all()
    assert ids(mine.loaded["notes"]) == ["n1"]
    both = await node.query("Book").all_users().with_("notes").all()
    assert [ids(book.loaded["notes"]) for book in both] == [["n1", "n2"], ["n1", "n2"]]
    [his] = await node.query("Book").where_user(BO).with_("notes.book").all()
    assert ids(his.loaded["notes"]) == ["n2"]
    assert his.loaded["notes"][0].loaded["book"] is his
    has = node.relation("Book.notes").any(node.column("Note.text") == "of bo")
    assert ids(await node.query("Book").where(has).all()) == []
    assert ids(await node.query("Book").where(has).where_user(BO).all()) == ["b"]


async def test_of_one_id_in_several_logs_the_record_made_first_is_the_target() -> None:
    node = personal()
    node.add("Book", {"id": "c", "owner": "late", "shelf_id": "s"}, log=11, ms=START_MS + 1)
    node.add("Book", {"id": "c", "owner": "early", "shelf_id": "s"}, log=12, by=BO)
    node.add("Note", {"id": "n3", "book_id": "c", "text": ""}, log=11)
    node.add("Book", {"id": "d", "owner": "early", "shelf_id": "s"}, log=11)
    node.add("Book", {"id": "d", "owner": "late", "shelf_id": "s"}, log=12, by=BO, ms=START_MS + 1)
    node.add("Note", {"id": "n4", "book_id": "d", "text": ""}, log=11)
    for note in await node.query("Note").all_users().where_in("id", ["n3", "n4"]).with_("book").all():
        assert note.loaded["book"].owner == "early"
    [note] = await node.query("Note").where("id", "n3").with_("book.shelf").all()
    assert note.loaded["book"].owner == "late"
    assert note.loaded["book"].loaded["shelf"].id == "s"
    on_shelf = node.relation("Book.shelf").any()
    assert ids(await node.query("Book").where_user(BO).where(on_shelf).all()) == ["b", "c", "d"]


async def test_a_global_record_leads_to_the_acting_identitys_records() -> None:
    node = personal()
    assert (await loaded(node, "Shelf.books"))["s"] == ["b"]
    [shelf] = await node.query("Shelf").with_("books").all()
    assert shelf.loaded["books"][0].owner == "ana"


def personal() -> Node:
    """Both users have a book of the same id, and one note each in it."""
    book = schema(
        "Book",
        {"owner": str, "shelf_id": str},
        scope="user",
        relations=[
            RelationSpec("notes", "has_many", "Note", key="book_id"),
            RelationSpec("shelf", "belongs_to", "Shelf", key="shelf_id"),
        ],
    )
    note = schema(
        "Note",
        {"book_id": str, "text": str},
        scope="user",
        indexes=["book_id"],
        relations=[RelationSpec("book", "belongs_to", "Book", key="book_id")],
    )
    shelf = schema("Shelf", {}, relations=[RelationSpec("books", "has_many", "Book", key="shelf_id")])
    node = Node(book, note, shelf)
    node.add("Shelf", {"id": "s"})
    for log, by, name in ((11, ANA, "ana"), (12, BO, "bo")):
        node.add("Book", {"id": "b", "owner": name, "shelf_id": "s"}, log=log, by=by)
        node.add("Note", {"id": f"n{log - 10}", "book_id": "b", "text": f"of {name}"}, log=log, by=by)
    return node


def test_wrong_includes_are_refused_where_they_are_written() -> None:
    node = blog()
    with pytest.raises(QueryError, match="no relation of Post"):
        node.query("Post").include(node.relation("User.posts"))
    with pytest.raises(QueryError, match="with_"):
        node.query("Post").include("author")  # type: ignore[arg-type]
    with pytest.raises(UnknownFieldError, match="did you mean 'user'"):
        node.query("Post").with_("comments.usr")
    with pytest.raises(QueryError, match="named by text"):
        node.query("Post").with_([3])  # type: ignore[list-item]


async def test_tuples_have_no_relations() -> None:
    with pytest.raises(QueryError, match="tuples"):
        await blog().query("Post").with_("author").select("id").all()
