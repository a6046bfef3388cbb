"""What a home shows does not depend on which models earlier sessions opened: it is the fold of the log."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest

import debros
from debros import Field, Identity, Model, One, belongs_to, field, model


@model(scope="global")
class Owner(Model):
    name: Field[str]


@model(scope="global")
class Pet(Model):
    owner_id: Field[str] = field(index=True)
    name: Field[str] = field(unique=True)
    owner: One[Owner | None] = belongs_to("owner_id", on_delete="cascade")


@model(scope="global")
class Toy(Model):
    pet_id: Field[str | None] = field(default=None, index=True)
    pet: One[Pet | None] = belongs_to("pet_id", on_delete="set_null")


KEPT: list[Any] = [Owner, Pet, Toy]


@pytest.mark.parametrize("seed", range(6))
async def test_sessions_with_fewer_models_leave_nothing_stale(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    home, admin, spammer = tmp_path / "home", Identity.generate(), Identity.generate()
    ids: dict[str, list[str]] = {"Owner": [], "Pet": [], "Toy": []}
    for session in range(6):
        opened = [Owner, *([Pet, Toy] if random.random() < 0.5 else [])]
        async with debros.open(home, models=opened, identity=admin, admins=[admin.did]) as db:
            for _ in range(6):
                who = spammer if random.random() < 0.3 else admin
                async with db.acting_as(who):
                    await step(random, opened, ids)
            if random.random() < 0.4:
                await db.revoke(spammer.did, keep=random.random() < 0.5)
        async with debros.open(home, models=KEPT, identity=admin, admins=[admin.did]) as db:
            shown = await db.fingerprint()
        aside = tmp_path / f"aside-{session}"
        shutil.copytree(home, aside)
        (aside / "view.sqlite").unlink()
        async with debros.open(aside, models=KEPT, identity=admin, admins=[admin.did]) as db:
            assert await db.fingerprint() == shown


async def step(random: Random, opened: list[Any], ids: dict[str, list[str]]) -> None:
    """Create, delete or restore a record of an opened model."""
    cls = random.choice(opened)
    known = ids[cls.__name__]
    try:
        if known and random.random() < 0.5:
            record = await cls.get(random.choice(known), deleted=True)
            await (record.restore() if record.meta.is_deleted else record.delete())
            return
        above = ids["Owner"] if cls is Pet else ids["Pet"]
        key = random.choice(above) if above else "nobody"
        name = f"n{random.randrange(4)}"
        values = {"Owner": {"name": name}, "Pet": {"owner_id": key, "name": name}, "Toy": {"pet_id": key}}
        known.append((await cls.create(**values[cls.__name__])).id)
    except (debros.UniqueError, debros.PermissionDeniedError, debros.NotFoundError):
        return  # the value is taken, the right revoked, or the record hidden with its target


async def test_a_relation_that_ceases_to_cascade_shows_its_children_again(tmp_path: Path) -> None:
    @model(scope="global", name="Child")
    class Cascading(Model):
        owner_id: Field[str] = field(index=True)
        owner: One[Owner | None] = belongs_to("owner_id", on_delete="cascade")

    @model(scope="global", name="Child")
    class Keeping(Model):
        owner_id: Field[str] = field(index=True)
        owner: One[Owner | None] = belongs_to("owner_id")

    async with debros.open(tmp_path, models=[Owner, Cascading]):
        owner = await Owner.create(name="ana")
        await Cascading.create(owner_id=owner.id)
        await owner.delete()
        assert await Cascading.count() == 0
    async with debros.open(tmp_path, models=[Owner, Keeping]):
        assert await Keeping.count() == 1
    async with debros.open(tmp_path, models=[Owner, Cascading]):
        assert await Cascading.count() == 0


@pytest.mark.parametrize("on_delete", ["cascade", "set_null"])
@pytest.mark.parametrize("scopes", [("global", "user"), ("user", "global")])
async def test_targets_of_another_scope_are_others(scopes: tuple[Any, Any], on_delete: Any, tmp_path: Path) -> None:
    @model(scope=scopes[0], name="Target")
    class Before(Model):
        name: Field[str] = field(default="")

    @model(scope=scopes[1], name="Target")
    class After(Model):
        name: Field[str] = field(default="")

    def child(target: Any) -> Any:
        class Child(Model):
            target_id: Field[str | None]
            target: One[target | None] = belongs_to("target_id", on_delete=on_delete)

        return model(scope="user", name="Child")(Child)

    async with debros.open(tmp_path, models=[Before, first := child(Before)]):
        record = await Before.create()
        await first.create(target_id=record.id)
        await record.delete()
    async with debros.open(tmp_path, models=[After, then := child(After)]):
        assert [its.target_id for its in await then.all()] == [record.id]
