"""A record that was read takes its values from its row when they are looked at; nothing else shows that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros import Field, Model, field, model
from tests.support.nodes import a_node

AT = datetime(2025, 1, 1, tzinfo=UTC)


@model(scope="global")
class Page(Model):
    title: Field[str]
    text: Field[str | None] = field(default=None)
    shown: Field[bool] = field(default=True)
    certain: Field[bool | None] = field(default=None)
    likes: Field[int] = field(default=0, merge="counter")
    tags: Field[set[str]] = field(default_factory=set)
    at: Field[datetime] = field(default=AT)


VALUES: dict[str, Any] = {
    "title": "a", "text": None, "shown": False, "certain": None, "likes": 3, "tags": {"x"}, "at": AT,
}  # fmt: skip
NAMES = ("id", *VALUES)


@settings(max_examples=30)
@given(st.permutations(NAMES), st.sets(st.sampled_from(["title", "shown", "likes", "tags", "at"])), st.integers(0, 8))
def test_in_whatever_order_values_are_looked_at_and_assigned_they_are_what_they_were(
    order: list[str], assigned: set[str], before: int
) -> None:
    import trio

    new = {"title": "b", "shown": True, "likes": 5, "tags": {"y"}, "at": AT.replace(year=2026)}

    async def run() -> None:
        async with a_node(Page):
            made = await Page.create(**VALUES)
            [page] = await Page.query().all()
            expected = {"id": made.id, **VALUES, **{name: new[name] for name in assigned}}
            for name in order[:before]:
                assert getattr(page, name) == {"id": made.id, **VALUES}[name]
            for name in assigned:
                setattr(page, name, new[name])
            assert {name: (old, now) for name, (old, now) in page.changes.items()} == {
                name: (VALUES[name], new[name]) for name in assigned
            }
            for name in order:
                value = getattr(page, name)
                assert (value, type(value)) == (expected[name], type(expected[name]))
            await page.save()
            assert (await Page.get(made.id)).to_dict() == expected

    trio.run(run)


async def test_what_nobody_looked_at_is_written_by_nobody() -> None:
    async with a_node(Page) as db:
        made = await Page.create(**VALUES)
        entries = db.status().entries
        page = await Page.get(made.id)
        assert not page.is_changed()
        await page.save()
        assert db.status().entries == entries
        page.tags.add("z")
        assert page.is_changed("tags")
        assert (await page.save()).title == "a"
        assert (await Page.get(made.id)).tags == {"x", "z"}


async def test_records_that_nobody_looked_at_are_copied_compared_and_shown() -> None:
    async with a_node(Page):
        made = await Page.create(**VALUES)
        assert (await Page.get(made.id)).copy().tags == {"x"}
        assert await Page.get(made.id) == made
        assert hash(await Page.get(made.id)) == hash(made)
        assert "title='a'" in repr(await Page.get(made.id))
        with pytest.raises(AttributeError):
            (await Page.get(made.id)).nothing  # type: ignore[attr-defined]  # noqa: B018 - it is no field
