"""Writing at random to two models on two nodes: creates, updates, deletions, restores, and what they refuse."""

from __future__ import annotations

from typing import Annotated, Any

from hypothesis import strategies as st

import debros
from debros import Field, Ge, Many, Model, One, belongs_to, field, has_many, model


@model(name="LiveAuthor")
class Author(Model):
    name: Field[str] = field(unique=True)
    posts: Many[Post] = has_many("author_id", order_by="-likes")


@model(name="LivePost")
class Post(Model):
    author_id: Field[str | None] = field(index=True, default=None)
    likes: Field[Annotated[int, Ge(0)]] = field(default=0, merge="counter", index=True)
    title: Field[str | None] = field(default=None)
    author: One[Author | None] = belongs_to("author_id", on_delete="cascade")


AUTHORS = ("ana", "bo")

IDS = st.sampled_from(["p1", "p2", "p3", "p4", "p5", "p6"])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "author_id": st.sampled_from([*AUTHORS, None]),
        "likes": st.integers(0, 3),
        "title": st.sampled_from([None, "a", "b"]),
    },
)
POSTS = st.tuples(st.just("post"), IDS, FIELDS)
TURN = st.sampled_from(["delete", "restore"])
GONE = st.tuples(TURN, st.just(Post), IDS) | st.tuples(TURN, st.just(Author), st.sampled_from(AUTHORS))
NAMES = st.tuples(st.just("name"), st.sampled_from(AUTHORS), st.sampled_from(["ana", "bo", "cy"]))
STEPS = st.tuples(
    st.sampled_from(["here", "there", "there and back"]), st.one_of(POSTS, GONE, POSTS, NAMES), st.booleans()
)


async def write(operation: tuple[Any, ...]) -> None:
    """Do what is asked, if it can be done."""
    match operation:
        case "post", id, values:
            known = await Post.get_or_none(id)
            if known is not None:
                await known.update(**values)
            elif (await past(Post, id)) is None:
                await Post.create(id=id, **values)
        case "name", id, name:
            try:
                await Author.upsert(id, name=name)
            except debros.UniqueError:
                return
        case kind, model_, id:
            found = await past(model_, id)
            if found is not None and kind == "delete" and not found.meta.is_deleted:
                await found.delete()
            elif found is not None and kind == "restore" and found.meta.is_deleted:
                try:
                    await found.restore()
                except debros.UniqueError:
                    return


async def past(model_: Any, id: str) -> Any:
    try:
        return await model_.get(id, deleted=True)
    except debros.NotFoundError:
        return None
