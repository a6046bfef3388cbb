"""The escape hatch takes expressions of known words, with bound values only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from debros import Identity, QueryError, UnknownFieldError
from tests.support.forum import Note, Post, a_forum


async def test_raw_conditions_use_fields_and_functions() -> None:
    async with a_forum():
        long = await Post.query().where_raw("length({title}) * ? >= ? AND NOT {author_id} = ?", [2, 12, "u0"]).all()
        assert {post.title for post in long} == {"zürich"}
        both = await Post.query().where("likes", ">", 1).where_raw("{likes} < ? OR {likes} IS NULL", [3]).all()
        assert {post.likes for post in both} == {2}
        case = "CASE WHEN {likes} > 2 THEN 'no' ELSE ? END"
        with pytest.raises(QueryError, match="fields in braces"):
            Post.query().where_raw(case, ["x"])


async def test_bound_values_are_compared_as_columns_hold_them() -> None:
    async with a_forum():
        later = datetime(2025, 6, 1, tzinfo=UTC)
        expected = await Post.where(Post.created_at > later).count()
        assert await Post.query().where_raw("{created_at} > ?", [later]).count() == expected > 0
        assert await Post.query().where_raw("{body} IS ?", [None]).count() == 3


@pytest.mark.parametrize(
    ("expression", "bindings"),
    [
        ("", []), ("   ", []), ("{likes} > 1; DROP TABLE m_Post", []), ("{likes} > 'x'", []), ('"likes" > 1', []),
        ("{likes} > 1 -- x", []), ("{likes} > 1 /* x */", []), ("likes > 1", []), ("(SELECT 1)", []), ("{likes} >", []),
        ("{likes} > ?", []), ("{likes} > 1", [1]), ("load_extension(?)", ["x"]), ("{likes} > ?1", [1]), ("{likes} > :a", [1]),
        ("randomblob(10)", []), ("zeroblob(1000000000)", []), ("abs({likes}, 1) = 1", []), ("{likes} > 1)", []), ("(({likes})", []),
        ("x" * 3000, []), ("{likes} > ?", [object()]), ("{likes} > ?", [{}]), ("[likes] > 1", []), ("`likes` > 1", []),
        ("{likes} IN ?", [[1, 2]]), ("rowid > 1", []), ("_doc > 1", []), ("debros_path({place}, ?, ?)", ["a", "z"]), ("{likes} = \x00", []),
        ("1) OR (1", []), ("1) /*", []), ("1) --", []), ("(1)) OR ((1)", []), (")(", []), ("1 /* 2", []), ("1)/*", []), ("(1", []), ("? 1", [1]),
    ],
)  # fmt: skip
def test_everything_else_is_refused_where_it_is_written(expression: str, bindings: list[Any]) -> None:
    with pytest.raises(QueryError):
        Post.query().where_raw(expression, bindings)
    with pytest.raises(QueryError):
        Post.query().order_by_raw(expression, "asc", bindings)


def test_wrong_arguments_are_refused() -> None:
    for wrong in (3, None, b"{likes}"):
        with pytest.raises(QueryError):
            Post.query().where_raw(wrong)  # type: ignore[arg-type]  # wrong on purpose
    for bindings in ("x", b"x", 3, {1: 2}):
        with pytest.raises(QueryError):
            Post.query().where_raw("{likes} > ?", bindings)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(UnknownFieldError):
        Post.query().where_raw("{secret} > 1")


@given(st.text(alphabet="{}likes?()+-*/'\"; ,=<>01aSELCTFROMm_Post", max_size=30))
def test_no_text_becomes_sql_of_another_kind(text: str) -> None:
    try:
        condition = Post.query().where_raw(text, [1] * text.count("?")).condition
    except QueryError:
        return
    assert condition is not None
    written = getattr(condition, "text", "")
    assert not any(mark in written.replace('"m_Post"."f_likes"', "") for mark in "'\";{}")
    assert "SELECT" not in written.upper()


async def test_a_raw_condition_does_not_leave_the_records_that_the_query_is_about() -> None:
    async with a_forum() as db:
        other = Identity.generate()
        async with db.acting_as(other):
            await Note.create(text="secret")
        await (await Post.get("p00")).delete()
        for true in ("1", "1 OR 1", "NOT 0 OR 1 = 1", "{id} = {id} OR 1", "1 -\n- 1 OR 1"):
            assert await Note.query().where_raw(true).count() == 0
            assert await Post.query().where_raw(true).count() == 11
            assert await Post.where(Post.likes > 99).where_raw(true).count() == 0


async def test_tokens_do_not_grow_together_into_a_comment() -> None:
    async with a_forum():
        assert await Post.query().where_raw("{likes} >= 1--1").count() == await Post.where(Post.likes >= 2).count()
