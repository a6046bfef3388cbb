"""The project one stands in: where its models, its migrations and its database are, as `[tool.debros]` says."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debros.cli.exits import CommandError, Exit
from debros.env import SYSTEM
from debros.errors import DebrosError

if TYPE_CHECKING:
    from debros.config import Config
    from debros.migrations.builder import Migration
    from debros.node import Debros


@dataclass(frozen=True)
class Project:
    """A project, or, where there is none, the working directory with the defaults."""

    root: Path
    config: Config
    is_one: bool  # whether there is a `[tool.debros]`

    @classmethod
    def here(cls) -> Project:
        """Return the project of the working directory.

        Raises:
            ConfigError: its settings are wrong.
        """
        from debros.config import load

        config = load(None, preset=None, arguments={}, environ=SYSTEM.environ(), cwd=Path.cwd())
        for folder in (Path.cwd(), *Path.cwd().parents):
            path = folder / "pyproject.toml"
            if path.is_file():
                tool = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("tool", {})
                return cls(folder, config, "debros" in tool)
        return cls(Path.cwd(), config, False)

    @property
    def folder(self) -> Path:
        """Where its migrations are."""
        return self.root / self.config.migrations

    def home(self, given: Path | None) -> Path:
        """Return the home to open."""
        return self.root / self.config.home if given is None else given

    def existing_home(self, given: Path | None) -> Path:
        """Return the home to open, which must hold a database.

        Raises:
            CommandError: there is none.
        """
        home = self.home(given)
        if not (home / "log").is_dir():
            raise CommandError(
                f"there is no debros database in {home}",
                next="open it once with debros.open, or name another: --home PATH",
            )
        return home

    def models(self) -> tuple[Any, ...]:
        """Import the models and return them.

        Raises:
            CommandError: no module is named, it cannot be imported, or it defines no model.
        """
        from debros.models.registry import defined_models

        name = self.config.models
        if name is None:
            raise CommandError(
                'no models: say where they are, `models = "app.models"` under [tool.debros] in pyproject.toml',
                next="debros init --models app.models",
            )
        if str(self.root) not in sys.path:
            sys.path.insert(0, str(self.root))
        try:
            module = import_module(name)
        except DebrosError:
            raise
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):  # something that the module imports
                raise self._broken(name, error) from error
            raise CommandError(
                f"there is no module {name} in {self.root}: `models = ...` under [tool.debros] in pyproject.toml says which it is",
                exit=Exit.FAILED,
            ) from error
        except Exception as error:  # whatever the program's module raises
            raise self._broken(name, error) from error
        package, seen = name.partition(".")[0], {id(value) for value in vars(module).values()}
        found = tuple(
            model for model in defined_models() if model.__module__.partition(".")[0] == package or id(model) in seen
        )
        if not found:
            raise CommandError(f"{name} defines no model: put `@model(...)` above a subclass of debros.Model")
        return found

    def _broken(self, name: str, error: Exception) -> CommandError:
        told = f"the models in {name} cannot be imported: {type(error).__name__}: {error}; correct the module"
        return CommandError(told, exit=Exit.FAILED)

    def migrations(self) -> tuple[Migration, ...]:
        """Return the migrations in the folder, in their order; none where there is no folder.

        Raises:
            MigrationError: a file is broken, or they contradict each other.
        """
        from debros.migrations.files import load

        return load(self.folder) if self.folder.is_dir() else ()

    @asynccontextmanager
    async def open(self, home: Path, **settings: Any) -> AsyncIterator[Debros]:
        """Open a home with the project's models and migrations; nothing is applied.

        Raises:
            DebrosError: as `debros.open`.
        """
        import debros

        options: dict[str, Any] = {"auto_migrate": False, **settings}
        models, migrations = self.models(), self.migrations()
        async with debros.open(home, models=models, migrations=migrations, **options) as node:
            yield node
