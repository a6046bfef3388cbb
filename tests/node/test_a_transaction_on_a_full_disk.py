"""A query inside a transaction for which the view has no room says so, and the next one shows all of it."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from debros import Field, Model, One, belongs_to, field, model
from debros.errors import StorageError
from debros.opening import open as open_node


@model(scope="global")
class Shelf(Model):
    """What books stand on."""

    name: Field[str] = field(default="")


@model(scope="global")
class Book(Model):
    """What goes with its shelf."""

    shelf_id: Field[str | None] = field(default=None)
    shelf: One[Shelf | None] = belongs_to("shelf_id", on_delete="cascade")


async def test_effects_that_found_no_room_show_with_the_next_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(tmp_path, models=[Shelf, Book], open=True) as db:
        shelf = await Shelf.create()
        await Book.create(shelf_id=shelf.id)
        async with db.transaction():
            await shelf.delete()

            def refuse(*_: object) -> None:
                raise apsw.FullError("database or disk is full")

            with monkeypatch.context() as patch:
                patch.setattr(db.store.effects, "preview", refuse)
                with pytest.raises(StorageError, match="full; free some of it"):
                    await Book.query().all()
            assert await Book.query().all() == []
        assert await Book.count() == 0
