"""Which migration comes after which: by version and by what they name as their dependencies.

Two migrations of one version that concern one model are branches: somebody has to say which comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from debros.errors import MigrationError, did_you_mean
from debros.migrations.builder import Migration
from debros.migrations.operations import RenameModel


def ordered(migrations: Iterable[Migration]) -> tuple[Migration, ...]:
    """Return migrations in the order in which they apply: dependencies first, then by version, then by name.

    Raises:
        MigrationError: two have one name, a dependency is missing or of a later version, they depend on each other in a
            ring, or two branches lead from one version.
    """
    by_name: dict[str, Migration] = {}
    for each in migrations:
        if not isinstance(each, Migration):
            raise MigrationError(f"{each!r} is no migration; make one by `migration(name, version)`")
        if each.name in by_name:
            raise MigrationError(f"two migrations are called {each.name!r}; rename one of them")
        by_name[each.name] = each
    _check_dependencies(by_name)
    found = _sorted(by_name)
    _check_branches(found, by_name)
    return found


def stored_names(migrations: Sequence[Migration]) -> Mapping[str, str]:
    """Return, by every name a model ever had or has, the one it is stored under: its first."""
    stored: dict[str, str] = {}
    for each in migrations:
        for operation in each.operations:
            if isinstance(operation, RenameModel):
                stored[operation.new] = stored.get(operation.model, operation.model)
    return stored


def concerned(migration: Migration, stored: Mapping[str, str]) -> tuple[str, ...]:
    """Return the models that a migration is about, as they are stored."""
    return tuple(dict.fromkeys(stored.get(name, name) for name in migration.models))


def _check_dependencies(by_name: Mapping[str, Migration]) -> None:
    for each in by_name.values():
        for name in each.depends:
            if name not in by_name:
                raise MigrationError(
                    f"{each.name} depends on {name!r}, which is not here{did_you_mean(name, by_name)}; "
                    "restore its file, or take it out of `depends_on`"
                )
            if by_name[name].number > each.number:
                raise MigrationError(
                    f"{each.name} ({each.version}) depends on {name} ({by_name[name].version}), which is of a later "
                    f"version; give {each.name} a version of at least {by_name[name].version}"
                )


def _sorted(by_name: Mapping[str, Migration]) -> tuple[Migration, ...]:
    left = dict(sorted(by_name.items(), key=lambda item: (item[1].number, item[0])))
    found: list[Migration] = []
    done: set[str] = set()
    while left:
        ready = next((each for each in left.values() if done.issuperset(each.depends)), None)
        if ready is None:
            raise MigrationError(f"these migrations depend on each other in a ring: {' -> '.join(_ring(left))}")
        found.append(left.pop(ready.name))
        done.add(ready.name)
    return tuple(found)


def _ring(left: Mapping[str, Migration]) -> list[str]:
    """Return one ring among migrations all of which wait for another."""
    path = [next(iter(left))]
    while path[-1] not in path[:-1]:
        path.append(next(name for name in left[path[-1]].depends if name in left))
    return path[path.index(path[-1]) :]


def _check_branches(found: Sequence[Migration], by_name: Mapping[str, Migration]) -> None:
    stored = stored_names(found)
    last: dict[tuple[int, str], Migration] = {}
    for each in found:
        for model in concerned(each, stored):
            other = last.get((each.number, model))
            if other is not None and other.name not in behind(each, by_name):
                raise MigrationError(
                    f"{other.name} and {each.name} are two branches: both bring {model} to {each.version}; give one a "
                    f'later version, or say which comes first: `.depends_on("{other.name}")`'
                )
            last[each.number, model] = each


def behind(migration: Migration, by_name: Mapping[str, Migration]) -> set[str]:
    """Return all that a migration depends on, directly or not."""
    found: set[str] = set()
    open_ends = list(migration.depends)
    while open_ends:
        name = open_ends.pop()
        if name not in found:
            found.add(name)
            open_ends += by_name[name].depends
    return found
