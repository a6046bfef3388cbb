"""Rows are those of the declarations that a store is opened with, whatever earlier sessions declared: as in a view made anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

import pydantic
import pytest
import trio

from debros.blocks.files import MemoryFiles
from debros.schema import ComputedSpec, FieldSpec, IndexSpec, Schema
from debros.values import describe
from tests.support.stores import deliver, meaning, opened, shown, spec
from tests.support.worlds import LOGS

WIRES = ("a", "b", "n", "tags")
VALUES: dict[str, list[Any]] = {
    "a": [None, "x", "y", 3],
    "b": ["x", "y", "long"],
    "n": [0, 5, "x"],
    "tags": [["x"], []],
}


CHOICES: dict[str, list[Any]] = {
    "names": [("a", "b"), ("b", "a")],  # attributes may take each other's place
    "a": [str | None, str],
    "default": [{}, {"has_default": True, "default": "d"}],
    "b": ["lww", "keep"],
    "length": [2, 9],
    "n": ["lww", "counter"],
    "tags": ["lww", "set"],
    "start": [1, 2],
    "new": [None, 7],
    "left out": ["", "n", "tags", "new"],
    "unique": [True, False],
    "indexes": [[("a",)], [("a", "b")], [("b",), ("n",)], []],
    "computed": ["", "1", "2"],
    "store": ["documents", "events"],
    "write": ["anyone", "owner"],
    "opened": [True, True, False],
}


def redrawn(random: Random, chosen: dict[str, Any]) -> dict[str, Any]:
    """Choices of which most are those of before."""
    return {of: random.choice(some) if random.random() < 0.15 else chosen[of] for of, some in CHOICES.items()}


def declared(chosen: dict[str, Any]) -> Schema:
    first, second = chosen["names"]
    fields: list[FieldSpec] = [
        spec(first, chosen["a"], "a", **chosen["default"]),
        spec(second, str | None, "b", merge=chosen["b"], bounds={"max_length": chosen["length"]}),
        spec("n", int, merge=chosen["n"], has_default=True, default=chosen["start"]),
        spec("tags", set[str], merge=chosen["tags"], has_default=True, default=[]),
        spec("new", int | None, has_default=True, default=chosen["new"]),
    ]
    fields = [field for field in fields if field.name != chosen["left out"]]
    plain = {field.name for field in fields if field.merge == "lww"}
    indexes = [
        IndexSpec(tuple((name, False) for name in names), chosen["unique"])
        for names in chosen["indexes"]
        if plain.issuperset(names)
    ]
    version = chosen["computed"]
    twice = ComputedSpec("twice", describe(str).codec, True, True, lambda values: values["a"] * int(version), version)
    return Schema(
        "Post", 1, "global", chosen["store"], chosen["write"], tuple(fields),
        computed=(twice,) if version else (), indexes=tuple(indexes),
    )  # fmt: skip


def some_operation(random: Random) -> list[Any]:
    """Create, change, delete or restore one of a few records, with values of any type."""
    change: dict[str, Any] = {"put": {wire: random.choice(VALUES[wire]) for wire in WIRES if random.random() < 0.7}}
    if random.random() < 0.4:
        change = {"live": random.random() < 0.5}
    elif random.random() < 0.7:
        change["live"] = True
    if random.random() < 0.3:
        change |= {"inc": {"n": 2}, "add": {"tags": ["y"]}, "keep": {"b": ["z", []]}}
    return ["Post", 1, random.choice("cde"), change]


async def check(seed: int, view: str) -> None:
    random, files, world = Random(seed), MemoryFiles(), LOGS[0]()
    other = Schema("Other", 1, "global", "documents", "anyone", ())
    chosen = {of: some[0] for of, some in CHOICES.items()}
    for _ in range(5):
        chosen = redrawn(random, chosen)
        models = [declared(chosen), other] if chosen["opened"] else [other]
        store = opened(models, files=files, view=view).store
        replica = store.replica(world.manifest)
        for _ in range(random.randrange(6)):
            made = world.write(
                random.randrange(3), [some_operation(random) for _ in range(3)], ahead=random.randint(1, 3)
            )
            await deliver(store, replica, [made])
            if random.random() < 0.5:
                store.flush()
        anew = opened(models, files=files).store
        assert meaning(store, replica) == meaning(anew, anew.replica(world.manifest))
        store.close()
        anew.close()


@pytest.mark.parametrize("seed", range(40))
def test_rows_are_those_of_the_declaration_of_now(seed: int, tmp_path: Path) -> None:
    trio.run(check, seed, str(tmp_path / "view.sqlite"))


@pytest.mark.parametrize("of", ["computed", "unique"])
async def test_attributes_that_take_each_others_place_are_unique_and_computed_as_they_are_now(
    of: str, tmp_path: Path
) -> None:
    files, world, view = MemoryFiles(), LOGS[0](), str(tmp_path / "view.sqlite")
    world.write(0, [["Post", 1, "c", {"live": True, "put": {"a": "x", "b": "y"}}]])
    world.write(0, [["Post", 1, "d", {"live": True, "put": {"a": "x", "b": "z"}}]])
    chosen = {choice: some[0] for choice, some in CHOICES.items()} | {"indexes": [], "computed": ""}
    chosen |= {"computed": "2"} if of == "computed" else {"indexes": [("a",)]}
    for names in CHOICES["names"]:
        models = [declared(chosen | {"names": names})]
        store = opened(models, files=files, view=view).store
        replica = store.replica(world.manifest)
        for made in world.entries:
            await deliver(store, replica, [made])
        anew = opened(models, files=files).store
        assert meaning(store, replica) == meaning(anew, anew.replica(world.manifest))
        store.close()
        anew.close()


# -- nested classes --------------------------------------------------------------------------------------------------


class Free(pydantic.BaseModel):
    zip: str | None


class Limited(pydantic.BaseModel):
    zip: Annotated[str | None, pydantic.Field(min_length=2)]


class Patterned(pydantic.BaseModel):
    zip: str | None = pydantic.Field(pattern="^[0-9]{2}$")


class Never(pydantic.BaseModel):
    zip: str


class Checked(pydantic.BaseModel):
    zip: str | None

    @pydantic.field_validator("zip")
    @classmethod
    def is_long(cls, value: str | None) -> str | None:
        assert value is None or len(value) > 1, "too short"
        return value


class Strict(pydantic.BaseModel, extra="forbid"):
    zip: str | None
    at: int = 0

    def model_post_init(self, context: Any, /) -> None:
        assert self.zip != "1", "nowhere"


@dataclass
class Plain:
    zip: str | None


@dataclass
class ByItself:
    zip: str | None

    def __post_init__(self) -> None:
        assert self.zip is None or len(self.zip) > 1, "too short"


CLASSES: list[type] = [Free, Limited, Patterned, Never, Checked, Strict, Plain, ByItself]
KINDS: list[tuple[Any, Any]] = [
    (lambda place: place, lambda wire: wire),
    (lambda place: list[place], lambda wire: [wire]),
    (lambda place: dict[str, place], lambda wire: {"k": wire}),
    (lambda place: tuple[int, place | None], lambda wire: [1, wire]),
]


async def check_nested(first: type, then: type, kind: tuple[Any, Any], view: str) -> None:
    files, world = MemoryFiles(), LOGS[0]()
    annotation, wire = kind
    for id, zip in (("a", "1"), ("b", "12"), ("c", None)):
        world.write(0, [["House", 1, id, {"live": True, "put": {"place": wire({"zip": zip})}}]])
    for place in (first, then):
        place.__qualname__ = "Place"
        models = [Schema("House", 1, "global", "documents", "anyone", (spec("place", annotation(place) | None),))]
        store = opened(models, files=files, view=view).store
        replica = store.replica(world.manifest)
        for made in world.entries:
            await deliver(store, replica, [made])
        anew = opened(models, files=files).store
        assert meaning(store, replica) == meaning(anew, anew.replica(world.manifest))
        assert shown(store, replica)  # each value can be read
        store.close()
        anew.close()


@pytest.mark.parametrize("first", CLASSES)
def test_values_of_a_nested_class_that_takes_others_now_are_looked_at_again(first: type, tmp_path: Path) -> None:
    for n, then in enumerate(CLASSES):
        trio.run(check_nested, first, then, KINDS[0], str(tmp_path / f"{n}.sqlite"))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_they_are_wherever_such_a_value_stands(kind: tuple[Any, Any], tmp_path: Path) -> None:
    trio.run(check_nested, Free, Limited, kind, str(tmp_path / "view.sqlite"))
