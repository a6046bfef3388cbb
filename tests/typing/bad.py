"""Every line marked with a number is an error to mypy --strict and to pyright, and nothing else is."""

from __future__ import annotations

from good import Post, User

from debros import Field, Model, field, model


async def bad() -> None:
    Post.where(Post.likez > 3)  # 1 misspelt field
    Post.where(Post.title == 3)  # 2 wrong operand
    Post(author_id="1")  # 3 missing argument
    Post(author_id=1, title="x")  # 4 wrong type
    Post(author_id="1", title="x", author=User(handle="a"))  # 5 relation in the constructor
    Post.query().where("likes", "~", 3)  # 6 wrong operator
    Post.query().order_by("likes", "down")  # 7 wrong direction
    p = Post(author_id="1", title="x")
    p.likes = "many"  # 8 wrong assignment
    await Post.create(author_id="1")  # 9 missing argument of create
    await Post.create(author_id="1", title=2)  # 10 wrong type in create
    Post(author_id="1", title="x", editor=None)  # 11 relation in the constructor, attribute spelling
    await Post.query().sum(Post.title)  # 12 sum of text
    _ = (await p.author).handel  # 13 misspelt field of a related record
    await Post.create(author_id="1", title="x", author=p)  # 14 relation in create
    await p.save(if_unchaged=True)  # 15 misspelt option
    p.to_dict(mode="yaml")  # 16 wrong form
    _ = p.author.count  # 17 `count` of a relation to one


@model(scope="everyone")  # 18 wrong option
class Wrong(Model):
    text: Field[str] = field(default=3)  # 19 default of another type


async def bad_questions() -> None:
    Post.where(Post.title.contains("x") > 3)  # 20 a condition does not compare
    await Post.query().min(Post.titel)  # 21 misspelt field
    Post.query().cache("long")  # 22 seconds are a number
    async for rows in Post.query().batches(5):
        _ = rows.title  # 23 a list has no title
    Post.as_of("yesterday")  # 24 no clock
    Post.where(Post.likes.in_(["a"]))  # 25 wrong operands
    Post.where(Post.likes.between("a", "b"))  # 26 wrong bounds
    await Post.query().chunk(5)  # 27 missing argument
    _ = (await Post.query().first()).title  # 28 there may be none
