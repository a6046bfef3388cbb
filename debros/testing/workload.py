"""What the users of a simulated world do: all kinds of writes at odd moments, and a look at what came of each.

A session sees its own writes: right after a save returned, the record is there with what was written, and its entry is in the
log. What is acknowledged is noted with the world's witness.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

import trio

from debros import Field, Model, field, model
from debros.blocks import cid
from debros.errors import DebrosError, StorageError
from debros.testing.checks import Broken
from debros.testing.world import Life, World

TICK_S: Final = 0.25  # writes fall on ticks, so that clocks of different nodes tie


def models() -> list[Any]:
    """Return models of every kind of merge and scope."""

    @model(scope="global", name="Doc")
    class Doc(Model):
        title: Field[str]
        count_: Field[int] = field(default=0, merge="counter")
        tags: Field[set[str]] = field(default_factory=set)
        note: Field[str | None] = field(default=None, merge="keep")
        slug: Field[str | None] = field(default=None, unique=True)

    @model(scope="global", name="Own", write="owner")
    class Own(Model):
        text: Field[str]

    @model(scope="user", name="Note")
    class Note(Model):
        text: Field[str]
        count_: Field[int] = field(default=0, merge="counter")

    return [Doc, Own, Note]


async def act(world: World, life: Life, random: Random, until_s: float) -> None:
    """Be a user of one node until a moment of virtual time."""
    while trio.current_time() < until_s:
        ticks = random.randint(1, 12)
        await trio.sleep((trio.current_time() // TICK_S + ticks) * TICK_S - trio.current_time())
        if not life.is_up:
            continue
        try:
            await _write(world, life, random)
        except StorageError:
            if life.is_up and life.disk is not None and life.disk.fails_now():
                await world.crash(life.name)
                await trio.sleep(random.uniform(0.1, 20))
                await world.up(life.name)
        except DebrosError as error:
            world.note(life.name, "refused", type(error).__name__)


async def _write(world: World, life: Life, random: Random) -> None:
    db = life.db
    with db.current():
        doc, own, note = world.models
        cls = random.choice([doc, doc, doc, doc, own, note])
        known = [record.id for record in await cls.query().all()]
        kind = random.choice(["create", "create", "update", "update", "update", "delete"]) if known else "create"
        text = f"{life.name} {random.randrange(1000)}"
        if kind == "create":
            extra = {"slug": random.choice([None, "a", "b", "c"])} if cls is doc else {}
            record = await cls.create(**({"title": text} if cls is doc else {"text": text}), **extra)
        else:
            popular = known[:3] if random.random() < 0.6 else known  # where edits meet
            record = await cls.get(random.choice(popular))
            if kind == "delete":
                await record.delete()
            elif cls is doc:
                await _change(record, text, random)
            else:
                await record.update(text=text)
        entry = cid.from_text(record.meta.cid).digest
        if life.is_up and life.db is db and db.store.entries.find(entry) is None:
            raise Broken("session", f"{life.name} acknowledged an entry that is not in its log")
        world.witness.acknowledge(life.name, entry)
        world.note(life.name, kind, cls.__name__, record.id)
        if life.is_up and life.db is db and kind == "create" and await cls.get_or_none(record.id) is None:
            raise Broken("session", f"{life.name} does not see the record it has just created")


async def _change(record: Any, text: str, random: Random) -> None:
    match random.randrange(5):
        case 0:
            await record.update(title=text)
        case 1:
            await type(record).increment(record.id, count_=random.randint(1, 5))
            await record.refresh()
        case 2:
            tag = random.choice("xyz")
            await record.update(tags=record.tags - {tag} if tag in record.tags else record.tags | {tag})
        case 3:
            await record.update(note=text)
        case _:
            async with record._home.node.transaction():
                await record.update(title=text, note=text)
