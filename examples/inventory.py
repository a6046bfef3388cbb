"""Items, stock counters, reservations and movements: transactions that check and then write, and reports.

Run: `python examples/inventory.py [home]` (a new directory is made when none is given). It prints exactly:
    reserved 3 of SKU-1, left 7
    refused: SKU-1 has 7, asked 8
    nothing written by the refused reservation: 1 reservation, left 7
    SKU-1 is taken
    after 20 tasks at once: left 0, 8 reservations, 13 refused
    Q2 2025: 2 movements
    report: [('SKU-1', 'in', 40, 4), ('SKU-1', 'out', 10, 1)]
    value of stock: 249.90
    page 1 of 2, 5 movements
    SKU-1 is still referred to by Movement.item
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum

import trio

import debros
from debros import Field, Index, Many, Model, One, before_save, belongs_to, field, has_many, model


class Direction(Enum):
    IN = "in"
    OUT = "out"


class OutOfStock(Exception):
    pass


@model(scope="global", name="Item", version="1.0.0")
class Item(Model):
    sku: Field[str] = field(unique=True, pattern=r"SKU-\d+")
    price: Field[Decimal] = field(ge=0)
    on_hand: Field[int] = field(default=0, merge="counter")

    movements: Many[Movement] = has_many("item_id", order_by="-at")

    @before_save
    def tidy(self) -> None:
        self.price = self.price.quantize(Decimal("0.01"))


@model(scope="global", indexes=[Index("item_id", "-at")])
class Movement(Model):
    item_id: Field[str] = field(index=True)
    direction: Field[Direction]
    quantity: Field[int] = field(ge=1)
    at: Field[datetime] = field(default_factory=debros.now, index=True)

    item: One[Item] = belongs_to("item_id", on_delete="restrict")


@model(scope="global")
class Reservation(Model):
    item_id: Field[str] = field(index=True)
    quantity: Field[int] = field(ge=1)

    item: One[Item] = belongs_to("item_id", on_delete="cascade")


async def reserve(sku: str, quantity: int) -> Reservation:
    """All or nothing; on one node transactions run one after another, so the check holds."""
    async with debros.current_node().transaction():
        item = await Item.where(Item.sku == sku).one()
        reservation = await Reservation.create(item_id=item.id, quantity=quantity)
        item.on_hand -= quantity
        await item.save()
        if (left := (await Item.get(item.id)).on_hand) < 0:  # reads inside see the block's own writes
            raise OutOfStock(f"{sku} has {left + quantity}, asked {quantity}")
        return reservation


async def count_refusals(tasks: int) -> int:
    refused = 0

    async def attempt() -> None:
        nonlocal refused
        try:
            await reserve("SKU-1", 1)
        except OutOfStock:
            refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(attempt)
    return refused


async def trade(home: str) -> None:
    async with debros.open(home, models=[Item, Movement, Reservation]):
        item = await Item.create(sku="SKU-1", price=Decimal("24.99"), on_hand=10)
        await Item.create(sku="SKU-2", price=Decimal("5"))
        stock = Decimal(item.on_hand) * item.price

        await reserve("SKU-1", 3)
        print(f"reserved 3 of SKU-1, left {(await item.refresh()).on_hand}")
        try:
            await reserve("SKU-1", 8)
        except OutOfStock as error:
            print(f"refused: {error}")
        left = (await item.refresh()).on_hand
        print(f"nothing written by the refused reservation: {await Reservation.count()} reservation, left {left}")
        try:
            await Item.create(sku="SKU-1", price=Decimal(1))
        except debros.UniqueError:
            print(f"{item.sku} is taken")
        refused = await count_refusals(20)
        left = (await item.refresh()).on_hand
        print(f"after 20 tasks at once: left {left}, {await Reservation.count()} reservations, {refused} refused")

        for month in (1, 4, 7, 10):
            at = datetime(2025, month, 15, tzinfo=UTC)
            await Movement.create(item_id=item.id, direction=Direction.IN, quantity=10, at=at)
        at = datetime(2025, 5, 2, tzinfo=UTC)
        await Movement.create(item_id=item.id, direction=Direction.OUT, quantity=10, at=at)
        april, july = datetime(2025, 4, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC)
        print(f"Q2 2025: {await Movement.where(Movement.at >= april, Movement.at < july).count()} movements")

        moved = debros.sum(Movement.quantity)
        report = Movement.query().group_by(Movement.item_id, Movement.direction).having(moved > 5)
        lines = await report.order_by(moved.desc()).aggregate(moved, debros.count())
        skus = {row.id: row.sku for row in await Item.get_many({line[0] for line in lines})}
        print(f"report: {[(skus[id], direction.value, total, times) for id, direction, total, times in lines]}")
        print(f"value of stock: {stock}")
        page = await Movement.query().order_by(Movement.at.desc()).paginate(1, size=3)
        print(f"page {page.page} of {page.pages}, {page.total} movements")
        try:
            await item.delete()
        except debros.RestrictedError as error:
            print(f"{item.sku} is still referred to by {error.by}")


if __name__ == "__main__":
    trio.run(trade, sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
