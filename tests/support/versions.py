"""A model in five versions, the migrations between them, and nodes that replicate with each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from debros import Field, Migration, Model, field, migration, model
from debros.node import Debros
from debros.opening import open as open_node
from debros.replica.receive import Delivery, receive


@model(name="Person", version="1.0.0")
class Person1(Model):
    name: Field[str] = field(default="")
    age: Field[str] = field(default="0")
    city: Field[str | None] = field(default=None)
    visits: Field[int] = field(default=0, merge="counter")
    tags: Field[set[str]] = field(default_factory=set)


@model(name="Person", version="1.1.0")
class Person2(Model):
    name: Field[str] = field(default="")
    age: Field[str] = field(default="0")
    city: Field[str | None] = field(default=None)
    email: Field[str] = field(default="")
    visits: Field[int] = field(default=0, merge="counter")
    tags: Field[set[str]] = field(default_factory=set)


@model(name="Person", version="1.2.0")
class Person3(Model):
    name: Field[str] = field(default="")
    age: Field[str] = field(default="0")
    town: Field[str | None] = field(default=None)
    email: Field[str] = field(default="")
    visits: Field[int] = field(default=0, merge="counter")
    tags: Field[set[str]] = field(default_factory=set)


@model(name="Person", version="1.3.0")
class Person4(Model):
    name: Field[str] = field(default="")
    age: Field[int] = field(default=0)
    town: Field[str | None] = field(default=None)
    email: Field[str] = field(default="")
    visits: Field[int] = field(default=0, merge="counter")
    tags: Field[set[str]] = field(default_factory=set)


@model(name="Person", version="2.0.0")
class Person5(Model):
    first: Field[str] = field(default="")
    last: Field[str] = field(default="")
    age: Field[int] = field(default=0)
    email: Field[str] = field(default="")
    visits: Field[int] = field(default=0, merge="counter")
    tags: Field[set[str]] = field(default_factory=set)


def split(row: dict[str, Any]) -> dict[str, Any]:
    first, _, last = row["name"].partition(" ")
    return {**row, "first": first, "last": last}


def join(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "name": f"{row['first']} {row['last']}".strip()}


MIGRATIONS: tuple[Migration, ...] = (
    migration("email", "1.1.0").add_field("Person", "email", make=lambda row: f"{row['name'].lower()}@example.org"),
    migration("town", "1.2.0").rename_field("Person", "city", "town"),
    migration("numbers", "1.3.0").change_field("Person", "age", up=int, down=str, was=str),
    migration("names", "2.0.0")
    .add_field("Person", "first", default="")
    .add_field("Person", "last", default="")
    .transform("Person", up=split, down=join)
    .remove_field("Person", "name", type=str)
    .remove_field("Person", "town", type=str | None),
)
VERSIONS: tuple[Any, ...] = (Person1, Person2, Person3, Person4, Person5)


@asynccontextmanager
async def at_version(n: int, home: str = ":memory:", **options: Any) -> AsyncIterator[Debros]:
    """Open a node whose program has the n-th version of the model, 1 to 5, and the migrations up to it."""
    async with open_node(home, models=[VERSIONS[n - 1]], migrations=MIGRATIONS[: n - 1], **options) as node:
        yield node


async def send(here: Debros, there: Debros) -> None:
    """Give all entries of one node to another, in the order of their arrival."""
    store = here.store
    store.flush()
    waiting: dict[int, list[Delivery]] = {}
    for number in range(1, store.entries.next_e):
        entry = store.entries.by_number(number)
        waiting.setdefault(entry.log, []).append(Delivery(store.log.read(entry.header), store.log.read(entry.body)))
    for log, deliveries in waiting.items():
        await receive(there.store, there.store.replica(store.by_number[log].manifest), deliveries)


async def meet(*nodes: Debros) -> None:
    """Let nodes exchange all they have."""
    for here in nodes:
        for there in nodes:
            if here is not there:
                await send(here, there)


async def shown(node: Debros, cls: Any, names: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return what a node shows of a model, by id."""
    with node.current():
        records = await cls.all()
    return {record.id: {n: v for n, v in record.to_dict().items() if n in names or not names} for record in records}
