"""What has to be said about the way from one snapshot of the models to the next.

A new field with a default or that may be null, an index, a new model need no migration. A field that went while another
of its type came may have been renamed: that is a question, for nobody but its author knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import product
from typing import Any, Final, NamedTuple

from debros.errors import MigrationError
from debros.migrations.snapshot import Snapshot

NAMED: Final = {  # types that a file can name; `render` imports what they need
    "Decimal", "str", "int", "float", "bool", "bytes", "list[str]", "set[str]", "list[int]", "set[int]", "dict[str, str]",
}  # fmt: skip
CONVERSIONS: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("str", "int"): ("int", "str"),
    ("int", "str"): ("str", "int"),
    ("str", "float"): ("float", "str"),
    ("float", "str"): ("str", "float"),
    ("int", "float"): ("float", "int"),
    ("float", "int"): ("int", "float"),
    ("int", "bool"): ("bool", "int"),
    ("bool", "int"): ("int", "bool"),
    ("int", "Decimal"): ("Decimal", "int"),
    ("Decimal", "int"): ("int", "Decimal"),
    ("str", "Decimal"): ("Decimal", "str"),
    ("Decimal", "str"): ("str", "Decimal"),
    ("float", "Decimal"): ("lambda value: Decimal(str(value))", "float"),
    ("Decimal", "float"): ("float", "lambda value: Decimal(str(value))"),
}
# where nobody knows better; where it gives no value of the new type, `migrate` says so
_SAME: Final = "lambda value: value"
_EMPTY: Final[Mapping[str, str]] = {
    "str": '""',
    "int": "0",
    "float": "0.0",
    "bool": "False",
}  # for null, where it may not stand


class Question(NamedTuple):
    """Whether something was renamed."""

    model: str  # empty: of models
    old: str
    new: str

    @property
    def text(self) -> str:
        """How a person reads it."""
        where = f"{self.model}." if self.model else ""
        return f"was {where}{self.old} renamed to {where}{self.new}?"

    @property
    def answer(self) -> str:
        """What to type."""
        return f"--rename {self.model + '.' if self.model else ''}{self.old}={self.new}"


@dataclass
class Changes:
    """What changed, as lines of a migration, by the version it brings its models to."""

    lines: dict[str, list[str]] = field(default_factory=dict)  # version -> calls of the builder
    notes: list[str] = field(default_factory=list)  # what needs no migration
    names: dict[str, list[str]] = field(default_factory=dict)  # version -> words for a name

    def add(self, version: str, line: str, word: str) -> None:
        """Take in one call of the builder."""
        self.lines.setdefault(version, []).append(line)
        self.names.setdefault(version, []).append(word)


Ask = Callable[[Question], bool]
Default = Callable[[str, str, str], str]  # model, field, type -> Python source of a value


def diff(before: Snapshot, after: Snapshot, ask: Ask, default: Default) -> Changes:
    """Return what changed between two snapshots.

    Args:
        before: the old snapshot.
        after: the new one.
        ask: whether a field or model was renamed.
        default: the value that old records get of a new field that has none.

    Raises:
        MigrationError: a change that no migration can make, or a version that was not raised.
    """
    changes = Changes()
    renamed = _renamed_models(before, after, ask)
    for old, new in renamed.items():
        changes.add(_raised(new, before[old], after[new]), f'.rename_model("{old}", "{new}")', f"rename_{old}")
    for name in sorted(after.keys() - before.keys() - set(renamed.values())):
        changes.notes.append(f"new model {name}: no migration needed")
    for name in sorted(before.keys() - after.keys() - renamed.keys()):
        changes.notes.append(f"model {name} is gone: its documents stay in the log")
    for name in sorted(after):
        old = next((one for one, other in renamed.items() if other == name), name)
        if old in before:
            _model(name, before[old], after[name], changes, ask, default)
    return changes


def _renamed_models(before: Snapshot, after: Snapshot, ask: Ask) -> dict[str, str]:
    found: dict[str, str] = {}
    for new in sorted(after.keys() - before.keys()):
        for old in sorted(before.keys() - after.keys() - found.keys()):
            alike = before[old]["fields"].keys() == after[new]["fields"].keys()
            if alike and ask(Question("", old, new)):
                found[old] = new
                break
    return found


def _model(
    name: str, before: dict[str, Any], after: dict[str, Any], changes: Changes, ask: Ask, default: Default
) -> None:
    for option in ("scope", "store", "write"):
        if before[option] != after[option]:
            raise MigrationError(
                f"{name}: {option} changed from {before[option]!r} to {after[option]!r}, and the old documents lie where "
                f"the new ones would not; declare a new model, and `copy_to` it"
            )
    old, new = before["fields"], after["fields"]
    lines: list[tuple[str, str]] = _sharding(name, before.get("sharding"), after.get("sharding"))
    gone, come = sorted(old.keys() - new.keys()), sorted(new.keys() - old.keys())
    for removed, added in _pairs(old, new, gone, come):
        if removed not in gone or added not in come:
            continue
        if old[removed]["stored"] == new[added]["stored"] or ask(Question(name, removed, added)):
            lines.append((f'.rename_field("{name}", "{removed}", "{added}")', f"rename_{removed}"))
            gone.remove(removed)
            come.remove(added)
    for removed in gone:
        known = old[removed]["type"].removesuffix(" | None") in NAMED
        type_ = f", type={old[removed]['type']}" if known else ""
        lines.append((f'.remove_field("{name}", "{removed}"{type_})', f"remove_{removed}"))
    for added in come:
        nullable = new[added]["type"].endswith("| None")
        if new[added]["default"] is not None or nullable or new[added]["merge"] != "lww":
            changes.notes.append(f"{name}.{added} is new and has a default: no migration needed")
        else:
            value = default(name, added, new[added]["type"])
            lines.append((f'.add_field("{name}", "{added}", default={value})', f"add_{added}"))
    for kept in sorted(old.keys() & new.keys()):
        line = _field(name, kept, old[kept], new[kept])
        if line:
            lines.append((line, f"change_{kept}"))
    if before["indexes"] != after["indexes"]:
        changes.notes.append(f"{name}: indexes changed: no migration needed, the view follows")
    if lines:
        version = _raised(name, before, after)
        for line, word in lines:
            changes.add(version, line, word)


def _pairs(old: dict[str, Any], new: dict[str, Any], gone: list[str], come: list[str]) -> list[tuple[str, str]]:
    """Return what may have been renamed to what: first what has one stored name, then the names that are most alike."""
    ranked: list[tuple[float, str, str]] = []
    for removed, added in product(gone, come):
        was, is_now = old[removed], new[added]
        if was["stored"] == is_now["stored"]:
            ranked.append((0, removed, added))
        elif was["type"] == is_now["type"] and was["merge"] == is_now["merge"]:
            ranked.append((2 - SequenceMatcher(None, removed, added).ratio(), removed, added))
    return [(removed, added) for _, removed, added in sorted(ranked)]


def _sharding(model: str, before: dict[str, str] | None, after: dict[str, str] | None) -> list[tuple[str, str]]:
    """Return the call that opens another layout, if that is what changed."""
    if before == after:
        return []
    if before is None or after is None or before["by"] != after["by"]:
        was, is_now = (one["by"] if one else "nothing" for one in (before, after))
        raise MigrationError(
            f"{model}: it was sharded by {was} and is sharded by {is_now} now, and the old records lie where the new ones "
            "would not; declare a new model, and `copy_to` it"
        )
    return [(f'.reshard("{model}", {after["layout"]}, was={before["layout"]})', "reshard")]


def _field(model: str, name: str, before: dict[str, Any], after: dict[str, Any]) -> str | None:
    if before["merge"] != after["merge"]:
        raise MigrationError(
            f"{model}.{name}: merge changed from {before['merge']!r} to {after['merge']!r}, which are different cells; "
            "add a field under another name, and transform"
        )
    old, new = before["type"], after["type"]
    if old == new or old + " | None" == new:
        return None
    plain_old, plain_new = old.removesuffix(" | None"), new.removesuffix(" | None")
    was = f", was={old}" if plain_old in NAMED else ""
    up, down = CONVERSIONS.get((plain_old, plain_new), (_SAME, _SAME))
    if plain_old == plain_new:  # null is not allowed any more
        up = 'lambda value: "" if value is None else value' if plain_new == "str" else "lambda value: value or 0"
    else:
        up, down = _past_null(up, old, new), _past_null(down, new, old)
    return f'.change_field("{model}", "{name}", up={up}, down={down}{was})'


def _past_null(function: str, from_: str, to: str) -> str:
    """Return the source of a function that takes null past a conversion: as it is where it may stand, else as what is empty."""
    if not from_.endswith("| None") or function == _SAME:
        return function
    of_value = function.removeprefix("lambda value: ") if function.startswith("lambda") else f"{function}(value)"
    return f"lambda value: {_EMPTY.get(to, None)} if value is None else {of_value}"


def _raised(model: str, before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return the version that the model declares now, which must be greater than it was."""
    old, new = (tuple(map(int, one["version"].split("."))) for one in (before, after))
    if new <= old:
        raise MigrationError(
            f"{model} changed, and still declares version {after['version']!r}; "
            f'next: @model(..., version="{old[0]}.{old[1] + 1}.0"), then: debros makemigrations'
        )
    return str(after["version"])
