"""Pages of several users' records, where one id is several records': a cursor is refused once logs have other numbers."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest

from debros import CursorError, Field, Identity, Model, field, model
from debros.blocks import dagcbor
from debros.opening import open as open_node

PEOPLE = [Identity.from_seed(bytes([n]) * 32) for n in range(1, 7)]


@model(name="Setting", scope="user")
class Setting(Model):
    key: Field[str] = field(unique="derived")
    value: Field[int] = field(default=0)


async def rest(cursor: str | None) -> list[int]:
    found: list[int] = []
    while cursor:
        page = await Setting.query().all_users().order_by("key").limit(2).page(cursor)
        found += [one.value for one in page.rows]
        cursor = page.next
    return found


async def test_a_view_that_is_made_anew_refuses_cursors_by_the_numbers_that_logs_had(tmp_path: Path) -> None:
    async with open_node(tmp_path, models=[Setting], identity=PEOPLE[0]) as node:
        for who in reversed(PEOPLE):
            await node.follow(who.did)  # so logs have numbers in another order than they are written in
        for n, who in enumerate(PEOPLE):
            async with node.acting_as(who):
                await Setting.create(key="theme", value=n)
        first = await Setting.query().all_users().order_by("key").limit(2).page()
        assert sorted([one.value for one in first.rows] + await rest(first.next)) == [0, 1, 2, 3, 4, 5]
    async with open_node(tmp_path, models=[Setting], identity=PEOPLE[0]) as node:
        assert sorted([one.value for one in first.rows] + await rest(first.next)) == [0, 1, 2, 3, 4, 5]
    for path in tmp_path.glob("view.sqlite*"):
        path.unlink()
    async with open_node(tmp_path, models=[Setting], identity=PEOPLE[0]) as node:
        with pytest.raises(CursorError, match="start again from the first page"):
            await rest(first.next)


@pytest.mark.parametrize("tail", [[99, b"12345678"], [0, b""], [-1, b""], ["1", b"x"], [1, None], [2**62, b"x"], [1]])
async def test_a_forged_cursor_by_numbers_of_logs_is_refused(tail: list[Any], tmp_path: Path) -> None:
    async with open_node(tmp_path, models=[Setting], identity=PEOPLE[0]) as node:
        for who in PEOPLE[:3]:
            async with node.acting_as(who):
                await Setting.create(key="theme")
        cursor = (await Setting.query().all_users().order_by("key").limit(2).page()).next
        assert cursor is not None
        mark, values = dagcbor.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))  # type: ignore[misc]  # a pair
        forged = urlsafe_b64encode(dagcbor.encode([mark, [*values[:-2], *tail]])).rstrip(b"=").decode()
        with pytest.raises(CursorError):
            await rest(forged)
