"""Questions as other libraries spell them: what they would mean here is said where they are written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pytest

import debros
from debros import Field, Many, Model, One, QueryError, belongs_to, field, has_many, model
from tests.support.nodes import a_node


@model(name="HabitUser")
class User(Model):
    name: Field[str]
    notes: Many[Note] = has_many("user_id")


@model(name="HabitNote")
class Note(Model):
    title: Field[str]
    n: Field[int] = field(default=0)
    day: Field[date | None] = field(default=None)
    at: Field[datetime] = field(default_factory=debros.now)
    tags: Field[set[str]] = field(default_factory=set)
    place: Field[dict[str, Any]] = field(default_factory=dict)
    user_id: Field[str] = field(default="")
    user: One[User] = belongs_to("user_id")


NOON = datetime(2025, 4, 1, 12)  # without a zone
ANY: Any = Note  # what checkers would refuse is what is tried

WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: ANY.at > NOON, r"it has no zone; write e\.g\. datetime\(2025, 4, 1, tzinfo=UTC\)"),
    (lambda: ANY.at > date(2025, 4, 1), r"`HabitNote\.at\.date` is the day"),
    (lambda: ANY.at > "2025-04-01", r"datetime\.fromisoformat\('2025-04-01'\)"),
    (lambda: ANY.day > "2025-04-01", r" date\.fromisoformat"),
    (lambda: ANY.day == NOON, r"value\.date\(\)"),
    (lambda: ANY.tags == "a", r"`HabitNote\.tags\.contains\(\.\.\.\)`"),
    (lambda: ANY.user_id == User(name="a"), "its `id`"),
    (lambda: ANY.n > timedelta(1), r"is not$"),
    (
        lambda: ANY.user == User(name="a"),
        r"`HabitNote\.user_id == record\.id`, or `HabitNote\.user\.any\(User\.id",
    ),
    (lambda: User.notes == Note(title="a"), r"compare: `HabitUser\.notes\.any\("),
    (lambda: ANY.user != None, "does not compare"),  # noqa: E711 - what is tried
    (lambda: ANY.user.name == "a", r"`HabitNote\.user\.any\(User\.name == value\)`"),
    (lambda: ANY.user.anyy(), "did you mean 'any'"),
    (lambda: ANY.title.endwith("a"), "did you mean 'endswith'"),
    (lambda: ANY.place.city == "Graz", r"`HabitNote\.place\.path\('city'\)`"),
    (lambda: ANY.n + 1, "increment"),
    (lambda: -ANY.n, r"`HabitNote\.n\.desc\(\)`"),
    (lambda: ANY.n == 1 & ANY.n, "in parentheses each"),
    (lambda: Note.query().where("n__gt", 3), r"where\('n', '>', value\)"),
    (lambda: Note.query().where("user.name", "ana"), r"where_has\('user', lambda q: q\.where\('name', value\)\)"),
    (lambda: Note.query().where("user__name", "ana"), r"where_has\('user', lambda q: q\.where\('name', value\)\)"),
    (lambda: Note.query().order_by("user.name"), "'user.name' is about related records"),
    (lambda: Note.query().where("user", "ana"), r"'user_id' is its key; where_has\('user'\)"),
    (lambda: User.query().where("notes", "ana"), r"related records: where_has\('notes'\)"),
    (lambda: Note.query().where("n", "===", 3), r"did you mean '=='\? Operators: ="),
    (lambda: Note.query().where_raw("title = ?", ["a"]), r"a field stands in braces, \{title\}$"),
    (lambda: Note.query().where_raw("titel = ?", ["a"]), "did you mean 'title'"),
    (lambda: ANY.query().select_related("user"), r"include\(\.\.\.\)$"),
    (lambda: ANY.query().last(), r"then await first\(\)$"),
    (lambda: ANY.query().exclude(n=1), r"where_not\(\.\.\.\)$"),
    (lambda: ANY.query().values("n"), r"select\(\.\.\.\)$"),
    (lambda: ANY.query().zzz(), r"no zzz\(\)$"),
]


@pytest.mark.parametrize(("wrong", "cure"), WRONG)
def test_the_text_names_what_to_write(wrong: Callable[[], object], cure: str) -> None:
    with pytest.raises((QueryError, AttributeError), match=cure):
        wrong()


def test_names_that_are_not_public_are_never_suggested() -> None:
    with pytest.raises(debros.UnknownMethodError) as caught:
        ANY.query().related()
    assert "_related" not in str(caught.value)


def test_a_relation_is_equal_to_itself_and_may_be_a_key() -> None:
    relation = Note.user
    assert relation == relation
    assert len({relation, User.notes}) == 2


async def test_a_name_with_a_minus_is_descending_as_in_indexes_and_relations() -> None:
    async with a_node(Note, User):
        await Note.create_many([{"title": str(n), "n": n % 2} for n in range(4)])
        found = await Note.query().order_by("-n").order_by("-title").all()
        assert [note.title for note in found] == ["3", "1", "2", "0"]
        with pytest.raises(debros.UnknownFieldError, match="did you mean 'title'"):
            Note.query().order_by("-titel")


async def test_texts_that_end_alike_are_found_literally_nul_and_all() -> None:
    async with a_node(Note, User):
        await Note.create_many([{"title": title} for title in ("a%b", "ab", "b", "", "x\0b", "B")])
        assert {note.title for note in await Note.where(Note.title.endswith("b")).all()} == {"a%b", "ab", "b", "x\0b"}
        assert [note.title for note in await Note.where(Note.title.endswith("%b")).all()] == ["a%b"]
        assert await Note.where(Note.title.endswith("")).count() == 6


def test_a_query_and_a_condition_can_be_looked_at() -> None:
    query = Note.where(Note.n > 3, Note.user.any(User.name == "ana")).order_by("-n").limit(3).offset(2)
    text = repr(query)
    assert text.startswith("<query: HabitNote where <(")
    assert '"f_n" > ?' in text
    assert "[3, " in text
    assert text.endswith(" DESC limit 3 offset 2>")
    assert repr(Note.query()) == "<query: HabitNote>"
    assert repr(Note.n == 3) == '<"m_HabitNote"."f_n" = ? [3]>'
