"""`debros migrate`: applies pending migrations."""

from __future__ import annotations

from typing import Any

from debros.cli.check import changed_names
from debros.cli.exits import Exit
from debros.cli.options import Flag, HomePath, Json
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.cli.units import counted, duration
from debros.migrations import snapshot as snapshots
from debros.migrations.steps import Progress, Step


async def command(
    target: str | None = None, /, *, home: HomePath = None, plan: Flag = False, dry_run: Flag = False, fake: Flag = False,
    skip_checks: Flag = False, keep_going: Flag = False, json: Json = False,
) -> Exit:  # fmt: skip
    """Apply pending migrations, oldest first; with none pending, do nothing.

    If it is interrupted or killed, type it again: it goes on from where it was.

    Args:
        target: The last one to apply: its name, or a version.
        home: The database; by default the project's.
        plan: Only say what would be applied.
        dry_run: Only say what would become of records, with samples.
        fake: Only write down that they are applied.
        skip_checks: Do not run the checks of the migrations.
        keep_going: Where one fails, go on with those that do not depend on it.
        json: Print one JSON object.
    """
    screen, project = Screen(json), Project.here()
    place = project.home(home)
    async with project.open(place) as node:
        if plan or dry_run:
            steps = await (node.migrations.plan(target) if plan else node.migrations.apply(target, dry_run=True))
            for step in steps:
                show_step(screen, step)
            if not steps:
                _say_nothing_is_pending(screen, project)
        else:
            with screen.progress("records") as bar:
                task = bar.add_task("migrating", total=None)

                def tell(progress: Progress) -> None:
                    told = f"{progress.name}: {progress.operation or progress.state}"
                    bar.update(task, description=told, completed=progress.done, total=progress.total or None)

                steps = await node.migrations.apply(
                    target, progress=tell, fake=fake, skip_checks=skip_checks, keep_going=keep_going
                )
            for step in steps:
                if step.state != "applied":
                    screen.say("failed", f"{step.name}: {step.warnings[0]}", style="bold red")
                    continue
                told = f"{step.version}, {counted(step.records, 'record')} in {duration(step.duration_s)}"
                screen.say("applied", f"{step.name} {told}", style="bold green")
            if not steps:
                _say_nothing_is_pending(screen, project)
    screen.result({"home": str(place), "applied": not (plan or dry_run), "steps": [told_step(step) for step in steps]})
    failed = not (plan or dry_run) and any(step.state != "applied" for step in steps)
    return Exit.FAILED if failed else Exit.DONE


def _say_nothing_is_pending(screen: Screen, project: Project) -> None:
    before = snapshots.read(project.folder)
    screen.say("", "nothing is pending")
    if before is not None and (changed := changed_names(before, snapshots.snapshot(project.models()))):
        screen.say(
            "changed", f"{', '.join(changed)} since the last snapshot; next: debros makemigrations", style="bold red"
        )


def show_step(screen: Screen, step: Step) -> None:
    """Print what a step would do."""
    screen.say(step.state, f"{step.name} {step.version}, {counted(step.records, 'record')}", style="bold")
    if step.description:
        screen.say("", f"  {step.description}")
    for operation in step.operations:
        screen.say("", f"  - {operation}")
    for sample in step.samples:
        changes = ", ".join(f"{name}: {sample.before[name]!r} -> {sample.after[name]!r}" for name in sample.after)
        screen.say("", f"  {sample.model} {sample.id}: {changes}")
    for warning in step.warnings:
        screen.say("warning", warning, style="yellow")


def told_step(step: Step) -> dict[str, Any]:
    """Return a step as it is printed in JSON."""
    return {
        "name": step.name, "version": step.version, "state": step.state, "records": step.records,
        "description": step.description, "models": list(step.models), "operations": list(step.operations),
        "reversible": step.is_reversible, "warnings": list(step.warnings), "duration_s": round(step.duration_s, 3),
        "samples": [{"model": s.model, "id": s.id, "before": s.before, "after": s.after} for s in step.samples],
    }  # fmt: skip
