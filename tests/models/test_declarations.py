"""Wrong declarations: each is a `ModelError` when the class is made, naming the model, the field and the cure."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

import pytest

import debros
from debros import (
    Field,
    Index,
    Many,
    Model,
    ModelError,
    One,
    belongs_to,
    computed,
    field,
    has_many,
    many_to_many,
    model,
)

NONE: dict[str, Any] = {}


def make(annotations: dict[str, Any], values: dict[str, Any] | None = None, **options: Any) -> type[Model]:
    """Make a model class from annotations and values, as a class statement would."""
    body = {"__annotations__": annotations, "__module__": __name__, "__qualname__": "Made", **(values or {})}
    metaclass: Any = type(Model)
    made: type[Model] = model(**options)(metaclass("Made", (Model,), body))
    return made


def method(returns: Any, name: str = "made") -> Callable[..., Any]:
    def made(self: Any) -> Any:
        return None

    made.__name__ = name
    made.__annotations__["return"] = returns
    return made


loosely: Any = field  # what type checkers refuse is tried here too
loosely_to: Any = belongs_to

STR, INT = "Field[str]", "Field[int]"

WRONG: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    # what, annotations, values, options, what the error says
    ("scope", NONE, NONE, {"scope": "galaxy"}, "scope='galaxy' is not one of 'global', 'user'"),
    ("store", NONE, NONE, {"store": "document"}, "did you mean 'documents'"),
    ("write", NONE, NONE, {"write": "me"}, "write='me'"),
    ("extra", NONE, NONE, {"extra": "drop"}, "extra='drop'"),
    ("strict", NONE, NONE, {"strict": 1}, "strict=1"),
    ("version", NONE, NONE, {"version": "1.0"}, "major.minor.patch"),
    ("version too great", NONE, NONE, {"version": "1.1000.0"}, "below 1000"),
    ("version with zeros", NONE, NONE, {"version": "1.01.0"}, "major.minor.patch"),
    ("model name", NONE, NONE, {"name": "my model"}, "'my model'"),
    ("own model name", NONE, NONE, {"name": "_layouts"}, "'_layouts'"),
    ("long model name", NONE, NONE, {"name": "x" * 64}, "63 characters"),
    ("write of a user's model", NONE, NONE, {"scope": "user", "write": "owner"}, "global models"),
    ("anyone in a log of events", NONE, NONE, {"store": "events", "write": "anyone"}, "write='owner' or 'admins'"),
    ("reserved field", {"count": INT}, NONE, NONE, r"spell it `count_`.*name=\"count\""),
    ("reserved relation", {"history": "Many[Made]"}, {"history": has_many("x")}, NONE, "Made.history hides"),
    ("underscore", {"_x": STR}, {"_x": loosely()}, NONE, "begin with `_`"),
    ("stored name", {"x": STR}, {"x": loosely(name="a b")}, NONE, "'a b'"),
    ("own stored name", {"x": STR}, {"x": loosely(name="_x")}, NONE, "'_x'"),
    ("attribute that is no stored name", {"größe": INT}, NONE, NONE, r"give another by `field\(name=...\)`"),
    ("same stored name", {"a": STR, "b": STR}, {"b": loosely(name="A")}, NONE, "stored as alike"),
    ("names that differ by case", {"title": STR, "Title": STR}, NONE, NONE, "alike"),
    ("computed names that differ by case", NONE, {"a": computed(method("str", "a")), "A": computed(method("str", "A"))}, NONE, "alike"),
    ("bare annotation", {"title": "str"}, NONE, NONE, r"annotate it as `Field\[...\]`"),
    ("field without a type", {"title": "Field"}, NONE, NONE, "say what the field holds"),
    ("field without annotation", NONE, {"title": loosely()}, NONE, "annotate it"),
    ("unknown name", {"title": "Field[Colour]"}, NONE, NONE, "'Colour'.*not known where the class is defined"),
    ("no type", {"title": "Field[1 +]"}, NONE, NONE, "is not a type"),
    ("type that cannot be stored", {"it": "Field[complex]"}, NONE, NONE, "Made.it"),
    ("plain default", {"title": STR}, {"title": "x"}, NONE, r"field\(default="),
    ("field as relation", {"a": "Field[str]"}, {"a": loosely_to("b")}, NONE, r"One\[...\]"),
    ("both defaults", {"a": STR}, {"a": loosely(default="x", default_factory=str)}, NONE, "not both"),
    ("factory that cannot be called", {"a": STR}, {"a": loosely(default_factory="x")}, NONE, "cannot be called"),
    ("default of another type", {"a": STR}, {"a": loosely(default=3)}, NONE, "default 3 is not a good value"),
    ("default beyond its bound", {"a": INT}, {"a": loosely(default=3, ge=4)}, NONE, "default 3"),
    ("default that changes in place", {"a": "Field[list[int]]"}, {"a": loosely(default=[])}, NONE, "default_factory=list"),
    ("default None", {"a": STR}, {"a": loosely(default=None)}, NONE, r"str \| None"),
    ("bound of another type", {"a": STR}, {"a": loosely(ge=3)}, NONE, "Made.a"),
    ("merge", {"a": STR}, {"a": loosely(merge="max")}, NONE, "merge='max'"),
    ("index", {"a": STR}, {"a": loosely(index="local")}, NONE, "index='local'"),
    ("unique", {"a": STR}, {"a": loosely(unique="yes")}, NONE, "unique='yes'"),
    ("counter of text", {"a": STR}, {"a": loosely(merge="counter")}, NONE, r"for `Field\[int\]`"),
    ("counter that may be None", {"a": "Field[int | None]"}, {"a": loosely(merge="counter")}, NONE, r"Field\[int\]"),
    ("counter from 3", {"a": INT}, {"a": loosely(merge="counter", default=3)}, NONE, "begins at 0"),
    ("unique counter", {"a": INT}, {"a": loosely(merge="counter", unique=True)}, NONE, "Made.a"),
    ("merged list", {"a": "Field[list[int]]"}, {"a": loosely(merge="set")}, NONE, r"set\[...\]"),
    ("merged set that may be None", {"a": "Field[set[int] | None]"}, {"a": loosely(merge="set")}, NONE, "without None"),
    ("unique list", {"a": "Field[list[int]]"}, {"a": loosely(unique=True)}, NONE, "plain value"),
    ("merge in keyvalue", {"a": INT}, {"a": loosely(merge="counter")}, {"store": "keyvalue"}, "leave merge= out"),
    ("text in a counter store", {"a": STR}, NONE, {"store": "counter"}, "every field"),
    ("derived int", {"a": INT}, {"a": loosely(unique="derived")}, NONE, "the value is the id"),
    ("derived None", {"a": "Field[str | None]"}, {"a": loosely(unique="derived")}, NONE, "the value is the id"),
    ("two derived", {"a": STR, "b": STR}, {"a": loosely(unique="derived"), "b": loosely(unique="derived")}, NONE, "at most"),
    ("derived and owned", {"a": STR}, {"a": loosely(unique="derived")}, {"write": "owner"}, "does not go with"),
    ("index of nothing", {"a": STR}, NONE, {"indexes": [Index()]}, "different fields"),
    ("index of one field twice", {"a": STR}, NONE, {"indexes": [("a", "-a")]}, "different fields"),
    ("index of an unknown field", {"title": STR}, NONE, {"indexes": [("titel",)]}, "did you mean 'title'"),
    ("index that is text", {"a": STR}, NONE, {"indexes": ["a"]}, "takes Index"),
    ("index of a computed field that is not kept", NONE, {"a": computed(method("str", "a"))}, {"indexes": [("a",)]}, "no field"),
    ("unique index of a computed field", NONE, {"a": computed(index=True)(method("str", "a"))}, {"indexes": [Index("a", unique=True)]}, "not stored"),
    ("computed without a type", NONE, {"a": computed(lambda self: 1)}, NONE, "says what it returns"),
    ("computed with arguments", NONE, {"a": computed(eval("lambda self, x: 1"))}, NONE, "."),
    ("relation without a key", {"a": "One[Made]"}, {"a": loosely_to("b")}, NONE, "has no field 'b'"),
    ("relation by a misspelt key", {"made_id": STR, "a": "One[Made]"}, {"a": loosely_to("mad_id")}, NONE, "did you mean 'made_id'"),
    ("relation by a number", {"b": INT, "a": "One[Made]"}, {"a": loosely_to("b")}, NONE, "holds ids"),
    ("relation that is not assigned", {"a": "One[Made]"}, NONE, NONE, "belongs_to"),
    ("many by belongs_to", {"b": STR, "a": "Many[Made]"}, {"a": loosely_to("b")}, NONE, "One"),
    ("one by has_many", {"a": "One[Made]"}, {"a": has_many("b")}, NONE, "Many"),
    ("many of none", {"a": "Many[Made | None]"}, {"a": has_many("b")}, NONE, r"Many\[Made\]"),
    ("one of two", {"b": STR, "a": "One[Made | User]"}, {"a": loosely_to("b")}, NONE, "is not a model"),
    ("on_delete", {"b": STR, "a": "One[Made]"}, {"a": loosely_to("b", on_delete="drop")}, NONE, "on_delete='drop'"),
    ("null of a required key", {"b": STR, "a": "One[Made | None]"}, {"a": loosely_to("b", on_delete="set_null")}, NONE, r"str \| None"),
    ("limit", {"a": "Many[Made]"}, {"a": has_many("b", limit=0)}, NONE, "limit=0"),
    ("through nothing", {"a": "Many[Made]"}, {"a": has_many("b", through="c")}, NONE, "through='c'"),
    ("many to many by nothing", {"a": "Many[Made]"}, {"a": many_to_many()}, NONE, "either through="),
    ("many to many without sides", {"a": "Many[Made]"}, {"a": many_to_many(through="X")}, NONE, "local="),
    ("many to many by text", {"b": STR, "a": "Many[Made]"}, {"a": many_to_many(ids="b")}, NONE, r"Field\[list\[str\]\]"),
    ("decorated relation without a type", NONE, {"a": has_many("b")(method(None, "a"))}, NONE, "say which model|return"),
    ("decorated relation to no list", NONE, {"a": has_many("b")(method("Made", "a"))}, NONE, r"list\[Post\]"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("annotations", "values", "options", "says"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG]
)
def test_a_wrong_declaration_is_a_model_error(
    annotations: dict[str, Any], values: dict[str, Any], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelError) as caught:
        make(annotations, values, **options)
    assert "Made" in str(caught.value) or "model name" in str(caught.value)
    assert re.search(says, str(caught.value)), str(caught.value)


@pytest.mark.parametrize("name", sorted(debros.RESERVED_NAMES))
def test_no_field_is_named_like_a_public_attribute_of_model(name: str) -> None:
    with pytest.raises(ModelError, match=f"Made.{name} hides"):
        make({name: STR})


def test_a_reserved_name_may_be_stored() -> None:
    made = make({"count_": INT}, {"count_": field(name="count")})
    assert [spec.wire for spec in debros.schema_of(made).fields] == ["count"]


def test_other_names_are_free() -> None:
    names = ("address", "clock", "owner", "created_at", "type", "name", "key", "values", "items", "schema")
    made = make(dict.fromkeys(names, STR))
    assert [spec.name for spec in debros.schema_of(made).fields] == list(names)


def test_a_class_variable_is_no_field() -> None:
    @model(scope="global")
    class Limited(Model):
        LIMIT: ClassVar[int] = 3
        name: Field[str]
        _cache = None

    assert [spec.name for spec in debros.schema_of(Limited).fields] == ["name"]
    assert Limited(name="x").LIMIT == 3


def test_the_schema_says_what_was_declared() -> None:
    @model(scope="user", store="documents", name="Item", version="1.2.3", indexes=[("price", "-sku")])
    class Article(Model):
        sku: Field[str] = field(unique=True, pattern=r"SKU-\d+")
        price: Field[Decimal | None] = field(default=None, ge=0, name="cost", index="global")
        stock: Field[int] = field(merge="counter")
        tags: Field[set[str]] = field(default_factory=set, expose=False)
        kept: Field[str] = field(default="x", merge="keep")
        notes: Field[list[str]] = field(default_factory=list)
        made: Field[str] = field(default_factory=lambda: "now")

        @computed(index=True)
        def label(self) -> str:
            return self.sku

    schema = debros.schema_of(Article)
    assert (schema.name, schema.version, schema.scope, schema.write) == ("Item", 1_002_003, "user", "anyone")
    assert [(s.name, s.wire, s.merge, s.nullable, s.has_default, s.default) for s in schema.fields] == [
        ("sku", "sku", "lww", False, False, None),
        ("price", "cost", "lww", True, True, None),
        ("stock", "stock", "counter", False, True, 0),
        ("tags", "tags", "set", False, True, []),
        ("kept", "kept", "keep", False, True, "x"),
        ("notes", "notes", "lww", False, True, []),
        ("made", "made", "lww", False, False, None),
    ]
    assert [(index.fields, index.unique) for index in schema.indexes] == [
        ((("sku", False),), True),
        ((("price", False),), False),
        ((("label", False),), False),
        ((("price", False), ("sku", True)), False),
    ]
    assert schema.by_name["tags"].expose is False
    assert [(c.name, c.index) for c in schema.computed] == [("label", True)]


def test_events_and_feeds_of_a_global_log_belong_to_their_writers() -> None:
    assert debros.schema_of(make({"a": STR}, store="events")).write == "owner"
    assert debros.schema_of(make({"a": STR}, store="feed", write="admins")).write == "admins"
    assert debros.schema_of(make({"a": STR}, store="feed", scope="user")).write == "anyone"


def test_a_class_without_the_decorator_has_no_schema() -> None:
    class Base(Model):
        name: Field[str]

    with pytest.raises(ModelError, match="put `@model"):
        debros.schema_of(Base)
    with pytest.raises(ModelError, match="cannot be queried"):
        Base.name  # noqa: B018 - the access raises
    with pytest.raises(ModelError, match="abstract"):
        Base.query()


def test_one_and_many_are_told_apart() -> None:
    one: One[Any] = belongs_to("a")
    many: Many[Any] = has_many("a")
    assert isinstance(one, One)
    assert isinstance(many, Many)
    assert not isinstance(one, Many)


def test_a_private_name_is_no_field_and_says_so() -> None:
    with pytest.raises(ModelError, match="begin with `_` are not fields"):

        @model()
        class Hidden(Model):
            _secret: Field[int]


def test_the_decorator_says_what_it_was_given_wrong() -> None:
    with pytest.raises(ModelError, match="with parentheses"):
        model(type("Post", (Model,), {}))  # type: ignore[arg-type]  # what `@model` without parentheses does
    with pytest.raises(ModelError, match="no subclass of Model"):
        model()(int)  # type: ignore[type-var]  # a class that is no model
