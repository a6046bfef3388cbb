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
