"""Nodes of five schema versions that replicate with each other: nothing is lost, and equal versions show the same."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from debros.node import Debros
from tests.support.versions import MIGRATIONS, VERSIONS, at_version, meet, send, shown


async def write(node: Debros, n: int, id: str, person: str) -> None:
    """Create a person as a program of the n-th version does."""
    cls = VERSIONS[n - 1]
    age: Any = 30 + n if n >= 4 else str(30 + n)
    first, last = person.split()
    values: dict[str, Any] = {"age": age, "tags": {f"v{n}"}}
    values |= {"first": first, "last": last} if n == 5 else {"name": person}
    if n >= 2:
        values["email"] = f"{first.lower()}@v{n}.example"
    with node.current():
        await cls.create(id=id, **values)
        await cls.increment(id, visits=n)


def expected(n: int, person: str) -> dict[str, Any]:
    """What the fifth version shows of it."""
    first, last = person.split()
    email = f"{first.lower()}@v{n}.example" if n >= 2 else f"{person.lower()}@example.org"
    return {"id": f"p{n}", "first": first, "last": last, "age": 30 + n, "email": email, "visits": n, "tags": {f"v{n}"}}


@pytest.mark.parametrize(("i", "j"), list(itertools.product(range(1, 6), repeat=2)))
async def test_two_versions_that_replicate_lose_nothing_and_agree_after_their_upgrade(i: int, j: int) -> None:
    people = {i: "Ana Lima", 10 + j: "Bo Berg"}
    async with at_version(i) as one, at_version(j) as two, at_version(5) as late, at_version(5) as later:
        for node, n, number in ((one, i, i), (two, j, 10 + j)):
            with node.current():
                await node.migrations.apply()
            await write(node, n, f"p{number}", people[number])
        await meet(one, two)
        for node, n, id in ((one, i, f"p{10 + j}"), (two, j, f"p{i}")):  # each edits what the other wrote
            with node.current():
                record = await VERSIONS[n - 1].get_or_none(id)
                if record is not None:
                    await record.update(tags=record.tags | {"seen"})
        await meet(one, two)
        if i == j:
            assert await one.fingerprint() == await two.fingerprint()
        await send(one, late)
        await send(two, later)
        await meet(late, later)
        with late.current():
            await late.migrations.apply()
        await meet(late, later)
        assert await late.fingerprint() == await later.fingerprint()
        found = await shown(late, VERSIONS[4])
        for number, n in ((i, i), (10 + j, j)):
            wanted = expected(n, people[number]) | {"id": f"p{number}"}
            got = found[f"p{number}"]
            assert got.pop("tags") - {"seen"} == wanted.pop("tags")
            assert got == wanted


async def test_two_peers_that_run_the_same_migration_at_once_converge() -> None:
    async with at_version(1) as old, at_version(2) as one, at_version(2) as two:
        await write(old, 1, "p1", "Ana Lima")
        for node in (one, two):
            await send(old, node)
            with node.current():
                await node.migrations.apply()
        await meet(one, two)
        assert await one.fingerprint() == await two.fingerprint()
        assert (await shown(one, VERSIONS[1]))["p1"]["email"] == "ana lima@example.org"
        for node in (one, two):
            assert await node.migrations.pending() == []
            assert {event.state for event in await node.migrations.history()} == {"applied"}


async def test_a_migration_that_a_peer_applied_is_applied_here_as_soon_as_its_entry_comes() -> None:
    async with at_version(1) as old, at_version(2) as one, at_version(2) as two:
        await write(old, 1, "p1", "Ana Lima")
        await meet(old, one, two)
        with one.current():
            await one.migrations.apply()
        assert (await shown(two, VERSIONS[1]))["p1"]["email"] == ""
        assert [step.name for step in await two.migrations.pending()] == ["email"]
        await send(one, two)
        assert (await shown(two, VERSIONS[1]))["p1"]["email"] == "ana lima@example.org"
        assert await two.migrations.pending() == []
        await write(two, 2, "p2", "Bo Berg")


async def test_what_an_old_node_writes_after_the_migration_is_lifted_where_it_arrives() -> None:
    async with at_version(1) as old, at_version(2) as new:
        await write(old, 1, "p1", "Ana Lima")
        await send(old, new)
        with new.current():
            await new.migrations.apply()
        await write(old, 1, "p2", "Bo Berg")
        await send(old, new)
        found = await shown(new, VERSIONS[1])
        assert {id: row["email"] for id, row in found.items()} == {
            "p1": "ana lima@example.org",
            "p2": "bo berg@example.org",
        }


async def test_a_field_written_under_the_new_version_is_not_lifted_again() -> None:
    async with at_version(1) as old, at_version(2) as new:
        await write(old, 1, "p1", "Ana Lima")
        await send(old, new)
        with new.current():
            await new.migrations.apply()
            await (await VERSIONS[1].get("p1")).update(email="mine@example.org")
        await send(new, old)
        with old.current():
            await (await VERSIONS[0].get("p1")).update(name="Ana L")
        await send(old, new)
        assert (await shown(new, VERSIONS[1]))["p1"]["email"] == "mine@example.org"
        assert (await shown(new, VERSIONS[1]))["p1"]["name"] == "Ana L"


async def test_an_old_node_keeps_what_it_does_not_know_and_shows_it_after_its_upgrade(tmp_path: Any) -> None:
    home = str(tmp_path / "home")
    async with at_version(5) as new:
        await write(new, 5, "p5", "Cy Coe")
        async with at_version(1, home) as old:
            await send(new, old)
            assert (await shown(old, VERSIONS[0]))["p5"]["name"] == ""  # it knows no `first` and `last`
            with old.current():
                await (await VERSIONS[0].get("p5")).update(tags={"old"})
        async with at_version(5, home) as old:
            found = (await shown(old, VERSIONS[4]))["p5"]
            assert (found["first"], found["last"], found["age"], found["tags"]) == ("Cy", "Coe", 35, {"old"})


async def test_a_rebuilt_view_shows_what_the_one_before_showed(tmp_path: Any) -> None:
    home = tmp_path / "home"
    async with at_version(1, str(home)) as node:
        await write(node, 1, "p1", "Ana Lima")
        await write(node, 1, "p2", "Bo Berg")
    async with at_version(5, str(home)) as node:
        assert [step.name for step in await node.migrations.apply()] == [each.name for each in MIGRATIONS]
        await write(node, 5, "p3", "Cy Coe")
        before = await node.fingerprint()
    async with at_version(5, str(home)) as node:
        assert await node.fingerprint() == before
    (home / "view.sqlite").unlink()
    async with at_version(5, str(home)) as node:
        assert node.status().rebuilt
        assert await node.fingerprint() == before
