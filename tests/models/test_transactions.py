"""Records inside transactions: what they hold after the commit, and after a rollback."""

from __future__ import annotations

import pytest

import debros
from debros import Field, Model, field, model
from tests.support.nodes import a_node


@model(scope="global")
class Account(Model):
    owner: Field[str] = field(unique=True)
    balance: Field[int] = field(default=0)
    log: Field[list[str]] = field(default_factory=list)


async def test_a_rollback_gives_records_their_unsaved_state_back() -> None:
    async with a_node(Account) as node:
        old = await Account.create(owner="ana", balance=5)
        gone = await Account.create(owner="cy")
        new = Account(owner="bo")
        with pytest.raises(RuntimeError):  # noqa: PT012 - the error leaves the block
            async with node.transaction():
                old.balance = 7
                old.log.append("x")
                await old.save()
                assert (await Account.get(old.id)).balance == 7
                await new.save()
                await gone.delete()
                assert gone.meta.is_deleted
                raise RuntimeError
        assert old.changes == {"balance": (5, 7), "log": ([], ["x"])}
        assert new.is_new
        assert not gone.meta.is_deleted
        assert await Account.count() == 2
        await old.save()
        await new.save()
        assert (await Account.get(old.id)).balance == 7
        assert await Account.count() == 3


async def test_a_commit_writes_one_entry_and_records_hold_what_it_made() -> None:
    async with a_node(Account) as node:
        old = await Account.create(owner="ana")
        entries = node.status().entries
        async with node.transaction():
            await old.update(balance=1)
            new = await Account.create(owner="bo")
            await new.update(balance=2)
            [many] = await Account.create_many([{"owner": "cy"}])
        assert node.status().entries == entries + 1
        assert old.meta.cid == new.meta.cid == many.meta.cid
        assert [version.kind for version in await new.history()] == ["create"]
        await new.update(balance=3)
        old.balance = 9
        await old.save(if_unchanged=True)


async def test_unsaved_edits_made_inside_stay_after_the_commit() -> None:
    async with a_node(Account) as node:
        account = await Account.create(owner="ana")
        async with node.transaction():
            await account.update(balance=1)
            account.balance = 5
        assert account.changes == {"balance": (1, 5)}


async def test_a_nested_transaction_is_a_savepoint() -> None:
    async with a_node(Account) as node:
        account = await Account.create(owner="ana")
        async with node.transaction():
            await account.update(balance=1)
            with pytest.raises(RuntimeError):  # noqa: PT012 - the error leaves the block
                async with node.transaction():
                    await account.update(balance=2)
                    raise RuntimeError
            assert account.changes == {"balance": (1, 2)}
        assert (await Account.get(account.id)).balance == 1


async def test_create_many_in_a_transaction_is_undone_whole() -> None:
    async with a_node(Account) as node:
        records = [Account(owner=str(n)) for n in range(3)]
        with pytest.raises(debros.UniqueError):  # noqa: PT012 - the error leaves the block
            async with node.transaction():
                await Account.create_many(records)
                await Account.create(owner="1")
        assert all(record.is_new for record in records)
        assert await Account.count() == 0


async def test_a_restore_is_undone_with_its_transaction() -> None:
    async with a_node(Account) as node:
        account = await Account.create(owner="ana")
        await account.delete()
        with pytest.raises(RuntimeError):  # noqa: PT012 - the error leaves the block
            async with node.transaction():
                await account.restore()
                raise RuntimeError
        assert account.meta.is_deleted
        assert await Account.get_or_none(account.id) is None
