"""`debros check`: models, migrations and settings, checked without a database."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from debros.cli.exits import Exit
from debros.cli.options import Flag, Json
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.cli.units import counted
from debros.config import DEFAULT_APP
from debros.errors import DebrosError


class Remark(NamedTuple):
    """Something to be mended (an error), or to be thought about (a warning)."""

    kind: Literal["error", "warning"]
    text: str
    next: str = ""


def command(*, laws: Flag = False, strict: Flag = False, json: Json = False) -> Exit:
    """Check that models, migrations and settings fit each other, and that no change waits for a migration.

    Args:
        laws: Also try on random documents that `down` undoes `up`, that functions are pure, and that merges do not
            depend on the order.
        strict: Count warnings as errors.
        json: Print one JSON object.
    """
    screen = Screen(json)
    found = remarks(Project.here(), laws=laws)
    for remark in found:
        screen.say(remark.kind, remark.text, style="bold red" if remark.kind == "error" else "yellow")
        if remark.next:
            screen.say("", f"  next: {remark.next}")
    failed = any(remark.kind == "error" or strict for remark in found)
    if not found:
        screen.say("good", "models, migrations and settings fit each other", style="bold green")
    else:
        errors = sum(remark.kind == "error" for remark in found)
        screen.say("", f"{counted(errors, 'error')}, {counted(len(found) - errors, 'warning')}")
    screen.result({"good": not failed, "remarks": [remark._asdict() for remark in found]})
    return Exit.FAILED if failed else Exit.DONE


def remarks(project: Project, *, laws: bool) -> list[Remark]:
    """Return everything that is to be said about a project, as far as the checks come."""
    from debros.migrations import snapshot as snapshots
    from debros.migrations.plans import rename_models
    from debros.migrations.stages import steps_of
    from debros.models.declare import schema_of
    from debros.models.linking import check_models

    found: list[Remark] = []
    if project.config.app == DEFAULT_APP:
        found.append(
            Remark("warning", "the app has no name of its own, and shares logs with every other one", "debros init")
        )
    try:
        models = project.models()
        check_models(models)
        now = snapshots.snapshot(models)
        migrations = project.migrations()
        rename_models(models, migrations)
        check_models(models)
        schemas = [schema_of(model) for model in models]
        steps = {schema.name: steps_of(schema, migrations) for schema in schemas}
        before = snapshots.read(project.folder)
    except DebrosError as error:
        return [*found, Remark("error", str(error), getattr(error, "next", ""))]
    if before is None:
        found.append(Remark("warning", "there is no snapshot of the models yet", "debros makemigrations"))
    elif changed := changed_names(before, now):
        text = f"{', '.join(changed)} changed since the last snapshot"
        found.append(
            Remark("error", text, "debros makemigrations; with --by-hand if a migration that was typed says so")
        )
    for schema in schemas:
        found += _of_schema(schema)
    if laws:
        from debros.migrations.laws import broken_merges, broken_migrations

        for schema in schemas:
            found += [Remark("error", text) for text in broken_migrations(schema, steps[schema.name])]
            found += [Remark("error", text) for text in broken_merges(schema)]
    return found


def changed_names(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the names of the models that two snapshots have differently."""
    return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))


def _of_schema(schema: Any) -> list[Remark]:
    found: list[Remark] = []
    indexed = {index.fields[0][0] for index in schema.indexes if index.fields}
    for relation in schema.relations:
        if relation.kind == "belongs_to" and relation.key not in indexed:
            found.append(
                Remark(
                    "warning",
                    f"{schema.name}.{relation.key} is a relation's key without an index: every lookup reads the whole table",
                    f"{relation.key}: ... = field(index=True)",
                )
            )
    for spec in schema.fields:
        if spec.unique is True and schema.scope == "global" and schema.write == "anyone":
            found.append(
                Remark(
                    "warning",
                    f"{schema.name}.{spec.name} is unique among peers only in the end: two that claim at once are both "
                    "written, and one is flagged",
                    'unique="derived" makes the value the id',
                )
            )
    return [remark for remark in found if remark.kind == "error"] + [r for r in found if r.kind == "warning"]
