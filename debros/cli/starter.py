"""The files of a new project; `APP` is its package, `SETTINGS` its `[tool.debros]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_PYPROJECT: Final = """\
[project]
name = "APP"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["debros[cli]"]

SETTINGS
[tool.pytest.ini_options]
pythonpath = ["."]
"""

_MODELS: Final = '''\
"""What APP stores."""

from __future__ import annotations

from datetime import datetime

import debros
from debros import Field, Many, Model, One, belongs_to, field, has_many, model


@model(version="1.0.0")
class Author(Model):
    name: Field[str] = field(unique=True, min_length=1)

    posts: Many[Post] = has_many("author_id", order_by="-written_at")


@model(version="1.0.0")
class Post(Model):
    author_id: Field[str] = field(index=True)
    title: Field[str] = field(max_length=200)
    body: Field[str] = field(default="")
    likes: Field[int] = field(default=0, merge="counter")
    written_at: Field[datetime] = field(default_factory=debros.now, index=True)

    author: One[Author] = belongs_to("author_id", on_delete="cascade")
'''

_MAIN: Final = '''\
"""Run: `python -m APP`. Writes a post and lists what is there; run it again, and there is one more."""

from __future__ import annotations

import trio

import debros
from APP.models import Author, Post


async def main() -> None:
    async with debros.open("data", migrations="migrations"):
        ana, _ = await Author.get_or_create(name="Ana")
        count = await Post.count()
        await Post.create(author_id=ana.id, title=f"Post {count + 1}", body="Hello")
        for post in await Post.query().include(Post.author).order_by(Post.written_at.asc()).all():
            print(f"{post.title} by {post.author.value.name}: {post.likes} likes")


if __name__ == "__main__":
    trio.run(main)
'''

_TEST: Final = '''\
"""The models keep what they are given."""

from __future__ import annotations

import trio

import debros
from APP.models import Author, Post


def test_posts_have_authors() -> None:
    async def main() -> None:
        async with debros.open(":memory:", models=[Author, Post], config="testing"):
            ana = await Author.create(name="Ana")
            await Post.create(author_id=ana.id, title="First")
            [post] = await Post.query().include(Post.author).all()
            assert post.author.value == ana

    trio.run(main)
'''

FILES: Final[Mapping[str, str]] = {
    "pyproject.toml": _PYPROJECT,
    "APP/__init__.py": '"""APP, a debros application."""\n',
    "APP/__main__.py": _MAIN,
    "APP/models.py": _MODELS,
    "tests/test_models.py": _TEST,
    ".gitignore": "data/\n.venv/\n__pycache__/\n",
}
