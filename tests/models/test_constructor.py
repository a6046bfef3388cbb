"""`Post(...)`: an unsaved record, or everything that is wrong with the arguments."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import pytest

import debros
from debros import Field, MaxLen, Model, One, belongs_to, computed, field, model


@model(scope="global")
class Author(Model):
    handle: Field[str] = field(min_length=1)


@model(scope="global")
class Post(Model):
    author_id: Field[str]
    title: Field[Annotated[str, MaxLen(10)]]
    likes: Field[int] = field(default=0, merge="counter")
    score: Field[float | None] = field(default=None)
    tags: Field[set[str]] = field(default_factory=set)
    created_at: Field[datetime] = field(default_factory=debros.now)

    author: One[Author] = belongs_to("author_id")

    @computed
    def excerpt(self) -> str:
        return self.title[:3]


def errors_of(call: object) -> dict[str, str]:
    with pytest.raises(debros.ValidationError) as caught:
        call()  # type: ignore[operator]  # a lambda
    return {error.field: error.constraint for error in caught.value.errors}


def test_fields_that_are_not_given_have_their_defaults() -> None:
    post = Post(author_id="a", title="hello")
    assert (post.likes, post.score, post.tags) == (0, None, set())
    assert post.created_at <= debros.now()
    assert post.is_new


def test_a_default_factory_makes_a_new_value_for_each_record() -> None:
    one, other = Post(author_id="a", title="1"), Post(author_id="a", title="2")
    one.tags.add("x")
    assert other.tags == set()


def test_a_given_list_is_not_shared_with_the_record() -> None:
    given = {"x"}
    post = Post(author_id="a", title="1", tags=given)
    given.add("y")
    assert post.tags == {"x"}


def test_all_errors_are_listed_at_once_in_the_order_of_the_fields() -> None:
    with pytest.raises(debros.ValidationError) as caught:
        Post(id="", titel="x", likes="3", score=None, excerpt="e", author=3)  # type: ignore[call-arg, arg-type]
    found = [(error.field, error.constraint) for error in caught.value.errors]
    assert found == [
        ("id", "id"),
        ("titel", "extra_forbidden"),
        ("excerpt", "computed"),
        ("author", "relation"),
        ("author_id", "missing"),
        ("title", "missing"),
        ("likes", "int_type"),
    ]
    assert "did you mean 'title'" in str(caught.value)
    assert "author_id=" in str(caught.value)


def test_a_value_of_another_type_is_not_coerced() -> None:
    assert errors_of(lambda: Post(author_id="a", title="x", likes="3")) == {"likes": "int_type"}  # type: ignore[arg-type]


def test_a_declared_bound_is_checked_and_named_as_pydantic_names_it() -> None:
    assert errors_of(lambda: Post(author_id="a", title="x" * 11)) == {"title": "string_too_long"}
    assert errors_of(lambda: Author(handle="")) == {"handle": "string_too_short"}


def test_none_is_only_for_fields_that_say_so() -> None:
    assert Post(author_id="a", title="x", score=None).score is None
    assert set(errors_of(lambda: Post(author_id=None, title="x"))) == {"author_id"}  # type: ignore[arg-type]


def test_a_model_that_is_not_strict_coerces() -> None:
    @model(scope="global", strict=False)
    class Loose(Model):
        n: Field[int]
        names: Field[list[int]] = field(default_factory=list)

    loose = Loose(n="3", names=["1"])  # type: ignore[arg-type, list-item]  # coerced at run time
    assert (loose.n, loose.names) == (3, [1])
    loose.n = "4"  # type: ignore[assignment]  # as above
    assert loose.n == 4


def test_convert_runs_before_the_type_check_and_validate_after_it() -> None:
    @model(scope="global")
    class Item(Model):
        sku: Field[str] = field(convert=lambda v: v.strip().upper() if isinstance(v, str) else v)
        size: Field[int] = field(validate=lambda v: v % 2 == 0 or "must be even")
        colour: Field[str] = field(default="red", validate=lambda v: v != "grey")

    item = Item(sku=" a-1 ", size=2)
    assert item.sku == "A-1"
    with pytest.raises(debros.ValidationError, match="must be even") as caught:
        Item(sku="a", size=3, colour="grey")
    assert [error.field for error in caught.value.errors] == ["size", "colour"]


def test_an_abstract_model_makes_no_records() -> None:
    class Base(Model):
        name: Field[str]

    with pytest.raises(debros.ModelError, match="abstract"):
        Base(name="x")


def test_positional_arguments_are_a_type_error() -> None:
    with pytest.raises(TypeError):
        Author("ana")  # type: ignore[call-arg]  # wrong on purpose


def test_a_record_shows_its_values() -> None:
    assert repr(Author(id="1", handle="ana")) == "Author(id='1', handle='ana')"


def test_records_are_equal_by_model_and_id() -> None:
    one, same, other = Author(id="1", handle="a"), Author(id="1", handle="b"), Author(id="2", handle="a")
    assert one == same
    assert one != other
    assert one != Post(id="1", author_id="a", title="t")
    assert one != "1"
    assert len({one, same, other}) == 2
