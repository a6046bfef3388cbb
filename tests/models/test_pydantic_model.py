"""`debros.pydantic_model`: request and response bodies from models."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import pydantic
import pytest

import debros
from debros import Field, MaxLen, Model, field, model


@model(name="BodyPost")
class Post(Model):
    title: Field[Annotated[str, MaxLen(5)]]
    tags: Field[set[str]] = field(default_factory=set)
    price: Field[Decimal | None] = field(default=None)
    at: Field[datetime] = field(default_factory=debros.now)
    data: Field[bytes] = field(default=b"")
    secret: Field[str] = field(default="", expose=False)
    likes: Field[int] = field(default=0, ge=0)


def test_a_body_has_the_fields_with_their_types_bounds_and_defaults() -> None:
    body = debros.pydantic_model(Post, omit=("id",))
    assert list(body.model_fields) == ["title", "tags", "price", "at", "data", "likes"]
    made = body.model_validate_json(
        '{"title": "a", "tags": ["x"], "price": "1.50", "at": "2025-01-01T00:00:00Z", "data": "YWJj"}'
    )
    post = Post(**made.model_dump())
    assert (post.title, post.tags, post.price, post.data, post.likes) == ("a", {"x"}, Decimal("1.50"), b"abc", 0)
    assert post.at == datetime(2025, 1, 1, tzinfo=UTC)
    for wrong in ('{"title": "longer"}', "{}", '{"title": "a", "likes": -1}', '{"title": "a", "secret": "x"}'):
        with pytest.raises(pydantic.ValidationError):
            body.model_validate_json(wrong)


def test_a_record_becomes_a_body_and_json() -> None:
    body = debros.pydantic_model(Post, name="PostOut")
    post = Post(title="a", likes=3)
    out = body.model_validate(post)
    assert out.model_dump()["id"] == post.id
    assert body.__name__ == "PostOut"
    assert '"likes":3' in out.model_dump_json()


def test_what_is_no_field_is_not_omitted() -> None:
    with pytest.raises(debros.UnknownFieldError, match="title"):
        debros.pydantic_model(Post, omit=("titel",))
    with pytest.raises(debros.ModelError):
        debros.pydantic_model(int)  # type: ignore[type-var]  # that is the point
