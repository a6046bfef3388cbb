"""What `debros.open` refuses, with an error that names the place and says what is wrong, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import debros
from debros import Field, Identity, Model, model
from tests.support.programs import ROOT

NOBODY = 65534

HOLDS = """\
import sys, trio, debros
async def main():
    async with debros.open(sys.argv[1], models=[]):
        print("open", flush=True)
        sys.stdin.read()
trio.run(main)
"""


@model(scope="global")
class Sheet(Model):
    text: Field[str]


async def opens(home: str | os.PathLike[str]) -> int:
    """Open the home, and return how many sheets it holds."""
    async with debros.open(home, models=[Sheet]):
        return await Sheet.count()


async def test_a_home_that_is_open_here_is_refused_at_once_and_left_alone(tmp_path: Path) -> None:
    async with debros.open(tmp_path / "home", models=[Sheet]) as db:
        await Sheet.create(text="one")
        with pytest.raises(debros.StoreLockedError, match="is open already, here or in another process"):
            await opens(tmp_path / "home")
        assert debros.current_node() is db
        await Sheet.create(text="two")
    assert await opens(tmp_path / "home") == 2


async def test_another_name_of_an_open_home_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "home", target_is_directory=True)
    async with debros.open(tmp_path / "home", models=[Sheet]):
        with pytest.raises(debros.StoreLockedError):
            await opens(tmp_path / "link")


async def test_a_home_that_is_open_in_another_process_is_refused_until_that_process_ends(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path / "home")],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(debros.StoreLockedError, match=str(tmp_path / "home")):
            await opens(tmp_path / "home")
        holder.kill()  # not even given the time to close
        holder.wait()
    assert await opens(tmp_path / "home") == 0


@pytest.mark.parametrize("inside", ["", "deeper/home"])
async def test_a_file_in_the_place_of_a_home_is_refused_and_kept(inside: str, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine", encoding="utf-8")
    home = tmp_path / "notes" / inside
    with pytest.raises(debros.StorageError, match=f"cannot use {home} as a home: .*; it must be a writable directory"):
        await opens(home)
    assert (tmp_path / "notes").read_text(encoding="utf-8") == "mine"


@contextmanager
def somebody_who_may_not_write() -> Iterator[Path]:
    """A directory that the process cannot write to, whoever runs the tests."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        try:
            if root:
                os.seteuid(NOBODY)
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)
            os.chmod(folder, 0o755)


@pytest.mark.parametrize("name", ["", "home"])
async def test_a_directory_that_cannot_be_written_to_is_refused(name: str) -> None:
    with somebody_who_may_not_write() as folder:
        with pytest.raises(debros.StorageError, match="Permission denied; it must be a writable directory"):
            await opens(folder / name)
        assert list(folder.iterdir()) == []


async def test_an_empty_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(debros.ConfigError, match="home is empty"):
        await opens("")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("home", [None, 7, b"home"])
async def test_what_is_no_path_is_a_type_error(home: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError):
        await opens(home)  # type: ignore[arg-type]  # wrong on purpose
    assert list(tmp_path.iterdir()) == []


async def test_a_path_is_taken_as_it_stands_as_everywhere_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "not-here"))
    await opens("~/with space/$HOME")
    assert (tmp_path / "~" / "with space" / "$HOME" / "log").is_dir()
    assert not (tmp_path / "not-here").exists()


async def test_a_path_object_named_memory_is_in_memory_like_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await opens(Path(":memory:"))
    assert list(tmp_path.iterdir()) == []


async def test_a_key_that_cannot_be_used_is_refused_and_the_home_is_free_again(tmp_path: Path) -> None:
    await opens(tmp_path)
    key = (tmp_path / "identity").read_bytes()
    (tmp_path / "identity").write_bytes(b"not a key")
    with pytest.raises(debros.IdentityError, match=str(tmp_path / "identity")):
        await opens(tmp_path)
    (tmp_path / "identity").write_bytes(key)
    assert await opens(tmp_path) == 0


async def test_a_log_that_cannot_be_read_is_refused_and_the_home_is_free_again(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file", encoding="utf-8")
    with pytest.raises(debros.StorageError):
        await opens(tmp_path)
    (tmp_path / "log").unlink()
    assert await opens(tmp_path) == 0


async def test_models_that_contradict_each_other_are_refused_before_a_home_is_made(tmp_path: Path) -> None:
    @model(scope="global", name="Sheet")
    class Other(Model):
        text: Field[str]

    with pytest.raises(debros.ModelError, match="Sheet"):
        async with debros.open(tmp_path / "home", models=[Sheet, Other]):
            raise AssertionError("it opened")
    assert not (tmp_path / "home").exists()


async def test_a_log_that_nobody_could_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(debros.ConfigError, match="open=False without admins"):
        async with debros.open(tmp_path / "home", models=[Sheet], open=False):
            raise AssertionError("it opened")
    with pytest.raises(debros.ConfigError, match="admins: "):
        async with debros.open(tmp_path / "home", models=[Sheet], admins=["did:web:example.org"]):
            raise AssertionError("it opened")
    assert not (tmp_path / "home").exists()
    async with debros.open(tmp_path / "home", models=[Sheet], open=False, admins=[Identity.generate().did]):
        with pytest.raises(debros.PermissionDeniedError):
            await Sheet.create(text="by somebody else")


async def test_a_home_of_another_application_is_refused_and_left_alone(tmp_path: Path) -> None:
    async with debros.open(tmp_path, app="one", models=[Sheet]):
        await Sheet.create(text="mine")
    with pytest.raises(debros.ConfigError, match="belongs to the app 'one', not 'two'"):
        async with debros.open(tmp_path, app="two", models=[Sheet]):
            raise AssertionError("it opened")
    async with debros.open(tmp_path, app="one", models=[Sheet]):
        assert [sheet.text for sheet in await Sheet.all()] == ["mine"]


async def test_a_home_whose_log_has_other_admins_is_refused_with_those_it_has(tmp_path: Path) -> None:
    ana, bo = Identity.generate(), Identity.generate()
    async with debros.open(tmp_path, models=[Sheet], identity=ana, admins=[ana.did]):
        await Sheet.create(text="mine")
    wrong: list[dict[str, Any]] = [
        {},
        {"admins": [bo.did]},
        {"admins": [ana.did, bo.did]},
        {"admins": [ana.did], "open": False},
    ]
    for options in wrong:
        with pytest.raises(debros.ConfigError, match=f"written with open=True and admins=.*{ana.did}"):
            async with debros.open(tmp_path, models=[Sheet], identity=ana, **options):
                raise AssertionError("it opened")
    async with debros.open(tmp_path, models=[Sheet], identity=bo, admins=[ana.did]):
        assert await Sheet.count() == 1  # who writes is another matter


async def test_an_error_inside_the_block_closes_the_node(tmp_path: Path) -> None:
    with pytest.raises(KeyError):  # noqa: PT012 - the block is what is tested
        async with debros.open(tmp_path, models=[Sheet]):
            await Sheet.create(text="kept")
            raise KeyError
    with pytest.raises(debros.NoNodeError):
        debros.current_node()
    assert await opens(tmp_path) == 1


async def test_what_is_no_identity_is_refused_where_it_is_given() -> None:
    wrong: Any = "did:key:z6Mk"
    with pytest.raises(debros.IdentityError, match="a DID only names a user"):
        async with debros.open(":memory:", models=[], identity=wrong):
            pass
    async with debros.open(":memory:", models=[]) as db:
        with pytest.raises(debros.IdentityError, match="is no identity"):
            async with db.acting_as(wrong):
                pass


async def test_a_choice_of_shards_of_a_model_that_is_not_there_is_refused() -> None:
    with pytest.raises(debros.ConfigError, match="'Post' is no sharded model that is opened"):
        async with debros.open(":memory:", models=[], shards={"Post": [0]}):
            pass
