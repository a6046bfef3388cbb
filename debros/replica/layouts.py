"""The layouts of sharded models: what they declare, and what their logs announce.

A resize announces a layout in the document `<model>` of the model `_layouts` (`<model>~admin` where the log has
admins), in the scope's unsharded log. New documents follow the newest layout, reads use all: so no document moves, and
peers agree as soon as they have the announcement (docs/format.md, Shards).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from debros.blocks import dagcbor
from debros.errors import ModelError
from debros.log.layout import MAX_LAYOUTS, Layout, declared, place, read
from debros.replica.refold import change_in, entries_of
from debros.replica.tables import Row, quoted
from debros.schema import Codec, FieldSpec, Schema, ShardSpec, key_text
from debros.values.composites import ANY, collection
from debros.values.scalars import TEXT

if TYPE_CHECKING:
    from debros.log.manifest import Manifest
    from debros.replica.changes import Change
    from debros.replica.store import Store
    from debros.replica.view import View

LAYOUTS: Final = "_layouts"
FIELD: Final = "layouts"
SCHEMA: Final = Schema(
    LAYOUTS,
    1_000_000,
    "global",
    "documents",
    "anyone",
    (FieldSpec(FIELD, FIELD, collection("set", ANY, False, "set[Any]"), merge="set", has_default=True, default=[]),),
)
"""The model that announces layouts; debros's own, as its name says."""


def with_layouts(schemas: Iterable[Schema]) -> tuple[Schema, ...]:
    """Return the schemas to open: with the one that announces layouts, where one is sharded."""
    given = tuple(schemas)
    return (*given, SCHEMA) if any(schema.sharding is not None for schema in given) else given


def key_codec(schema: Schema) -> Codec:
    """Return the codec of a sharded model's key; the id's and the owner tag's is text."""
    key = "" if schema.sharding is None else schema.sharding.key
    return schema.by_name[key].codec if key in schema.by_name else TEXT


class Layouts:
    """The layouts of one store's sharded models."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._specs: dict[str, tuple[ShardSpec, Codec]] = {}
        self._layouts: dict[str, tuple[Layout, ...]] = {}
        self._newest: dict[str, tuple[int, Layout]] = {}
        self._announced: dict[str, int] = {}
        self._ever: dict[str, dict[bytes, Any]] = {}  # by model: all that was announced, though it may count no more
        self._in_place: dict[tuple[str, int], Callable[[str, Any], bool]] = {}
        self.on_changed: list[Callable[[str], None]] = []  # told of a model whose layouts changed
        self.relaid: set[tuple[str, int]] = set()  # (model, log): rows to be looked at again, for now it can be told

    def add(self, schema: Schema) -> None:
        """Take up a sharded model."""
        if schema.sharding is not None:
            self._specs[schema.name] = (schema.sharding, key_codec(schema))
            self._layouts[schema.name] = (declared(schema.sharding),)
            self._newest[schema.name] = (0, declared(schema.sharding))

    def of(self, model: str) -> tuple[Layout, ...]:
        """Return a model's layouts, in the order in which their shards are numbered."""
        return self._layouts[model]

    def newest(self, model: str) -> Layout:
        """Return the layout that new records follow."""
        return self._newest[model][1]

    def next_seq(self, model: str) -> int:
        """Return the number of the next layout to be announced."""
        return self._newest[model][0] + 1

    def announced(self, model: str) -> int:
        """Return how many layouts were announced."""
        return self._announced.get(model, 0)

    def knows(self, manifest: Manifest) -> bool:
        """Whether a log is of a shard that its model has, as far as the model is opened, or of none."""
        if manifest.part is None or manifest.part[0] not in self._store.models:
            return True
        model, name = manifest.part
        return any(name in layout.parts for layout in self._layouts.get(model, ()))

    def load(self) -> None:
        """Take up the announcements that the view shows, and those that count no more."""
        store, model = self._store, self._store.models[LAYOUTS]
        for row in store.view.read(model.table.select, ()):
            replica = store.by_number[row[model.table.log_at]]
            for entry in entries_of(store, model, row):
                if (change := change_in(store, replica, model, row[0], entry)) is not None:
                    self.hear(replica.manifest, change)
            self.note(row, None, False)

    def hear(self, manifest: Manifest, change: Change) -> None:
        """Take notice of what somebody announced who may, whether or not it counts.

        Records that were written under a layout stay where they are, and others wrote them: they are found there though the
        announcement was revoked.
        """
        ever = self._ever.setdefault(self._model_of(change.id, manifest), {})
        for value in change.value.get("add", {}).get(FIELD, ()):
            ever[dagcbor.encode(value)] = value

    def _model_of(self, id: str, manifest: Manifest) -> str:
        return id.removesuffix("~admin") if manifest.admins else id

    def note(self, row: Row, _: Row | None, __: bool) -> None:
        """Take notice of a new state of an announcement."""
        table = self._store.models[LAYOUTS].table
        manifest = self._store.by_number[row[table.log_at]].manifest
        model = self._model_of(row[0], manifest)
        if model not in self._specs or row[0] != announcement_of(model, bool(manifest.admins)):
            return
        spec, codec = self._specs[model]
        values: Any = [] if row[table.hidden_at] else dagcbor.decode(row[1])
        known = [found for value in values if (found := read(value, spec, codec)) is not None]
        known.sort(key=lambda found: (found[0], dagcbor.encode(found[1].announced(found[0]))))
        known = known[:MAX_LAYOUTS]
        self._announced[model] = len(known)
        ever = [
            found for value in self._ever.get(model, {}).values() if (found := read(value, spec, codec)) is not None
        ]
        ever.sort(key=lambda found: (found[0], dagcbor.encode(found[1].announced(found[0]))))
        counting = dict.fromkeys(layout for _, layout in known)
        revoked = dict.fromkeys(layout for _, layout in ever if layout not in counting)
        layouts = [*counting, *list(revoked)[:MAX_LAYOUTS]]
        first = declared(spec)
        before, newest = self._layouts[model], self._newest[model]
        self._layouts[model] = tuple(layouts) if first in layouts else (first, *layouts)
        self._newest[model] = known[-1] if known else (0, first)
        if self._layouts[model] != before:
            self._relay(model, {part for layout in before for part in layout.parts})
        if (self._layouts[model], self._newest[model]) != (before, newest):
            for tell in self.on_changed:
                tell(model)

    def _relay(self, model: str, known: set[str]) -> None:
        """Have rows looked at again whose shard could not be told before."""
        self._in_place = {place: found for place, found in self._in_place.items() if place[0] != model}
        for replica in self._store.by_number.of_shards():
            part = replica.manifest.part
            if part is not None and part[0] == model and part[1] not in known and replica.heads:
                self.relaid.add((model, replica.n))

    def is_in_place(self, model: str, log: int, id: str, value: Any) -> bool:
        """Whether a document belongs into the log that it is in, by its key's wire value."""
        check = self._in_place.get((model, log))
        if check is None:
            check = self._in_place[model, log] = self._check(model, log)
        return check(id, value)

    def _check(self, model: str, log: int) -> Callable[[str, Any], bool]:
        part = self._store.by_number[log].manifest.part
        if part is not None and part[0] == model:
            spec, codec = self._specs[model]
            for layout in self._layouts[model]:
                if part[1] in layout.parts:
                    shard, find = layout.parts.index(part[1]), place(layout, spec, codec)
                    return lambda id, value: find(id, value) == shard
        return lambda id, value: False

    def refuse_others(self) -> None:
        """Refuse a store whose shards are not those of the declarations.

        Raises:
            ModelError: naming the model, and what to do.
        """
        for replica in self._store.by_number.of_shards():
            part = replica.manifest.part
            if part is None or part[0] not in self._store.models or not replica.heads:
                continue
            if part[0] not in self._specs:
                raise ModelError(
                    f"{part[0]} is declared without sharding=, and its records are in shards such as {part[1]!r}; declare"
                    f" them as before, or copy the records to a new model: migration(...).copy_to({part[0]}, ...)"
                )
            if not self.knows(replica.manifest):
                raise ModelError(
                    f"{part[0]} is declared to have the shards {', '.join(self._layouts[part[0]][0].parts[:3])}..., and its"
                    f" records are in another layout, in {part[1]!r}; next: debros makemigrations, which writes"
                    f" migration(...).reshard({part[0]!r}, {_told(self._specs[part[0]])}, was=...)"
                )


def _told(sharding: tuple[ShardSpec, Codec]) -> str:
    """Return the layout that a model declares, as a migration names it."""
    spec, codec = sharding
    return (
        str(spec.n)
        if spec.kind != "range"
        else repr([codec.from_wire(b) if codec.from_wire else b for b in spec.bounds])
    )


def refuse_other_key(view: View, schema: Schema) -> None:
    """Refuse a declaration that shards by another key than the rows in the view were, or not at all.

    Raises:
        ModelError: there are rows; naming the migration to write.
    """
    before, now = view.meta(f"shard key {schema.name}"), key_text(schema)
    if before is None or before == now:
        return
    table = quoted(f"m_{schema.name}")
    if view.read("SELECT 1 FROM sqlite_master WHERE name = 'm_' || ?", (schema.name,)) and view.read(
        f"SELECT 1 FROM {table} LIMIT 1", ()
    ):
        raise ModelError(
            f"{schema.name} has records that are sharded by {before or 'nothing'}, and is declared to be sharded by"
            f" {now or 'nothing'}; declare it as before, and copy the records to a new model:"
            f" migration(...).copy_to({schema.name}, ...)"
        )


def announcement_of(model: str, has_admins: bool) -> str:
    """Return the id of the document that announces a model's layouts."""
    return f"{model}~admin" if has_admins else model
