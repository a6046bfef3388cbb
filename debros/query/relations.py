"""Relations in queries: `Post.comments.any(...)`, and what `include` asks for.

A `Relation` is an immutable value: which relation, of which of its records, in which order, how many per record,
and what to include with those in turn. Loading is in `loading`.

User scope: a relation between two user-scoped models stays within the records that the query reads (the acting
identity's, or those of `where_user` or `all_users`); from a global model it leads to the acting identity's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from debros.errors import QueryError, UnknownFieldError, did_you_mean
from debros.query.cache import Caching, caching
from debros.query.catalog import Columns, columns
from debros.query.columns import Column
from debros.query.expressions import Expr, Order, Statement, all_of, top_level
from debros.query.ports import Subject, Users
from debros.schema import RelationSpec

R = TypeVar("R")

LINK: Final = '"_link"'  # pairs of ("parent", "child"): a record's id, and its target's id


class Relation(Generic[R]):
    """A relation on the class: `Post.author`, `User.posts.any(...)`."""

    __slots__ = ("caching", "condition", "count_limit", "counts", "loads", "orders", "spec", "subject")

    def __init__(self, subject: Subject[Any], name: str) -> None:
        """Name a relation of a subject.

        Raises:
            UnknownFieldError: the model declares no such relation.
        """
        found = next((spec for spec in subject.schema.relations if spec.name == name), None)
        if found is None:
            raise UnknownFieldError(subject.schema.name, str(name), [spec.name for spec in subject.schema.relations])
        self.subject = subject
        self.spec: RelationSpec = found
        self.condition: Expr | None = None
        self.orders: tuple[Order, ...] = ()
        self.count_limit: int | None = None
        self.loads: tuple[Relation[Any], ...] = ()
        self.counts: tuple[Relation[Any], ...] = ()
        self.caching: Caching | None = None

    def __repr__(self) -> str:
        return f"{self.subject.schema.name}.{self.spec.name}"

    if not TYPE_CHECKING:  # checkers know what there is

        def __getattr__(self, name):
            if name.startswith("_"):
                raise AttributeError(name)
            is_field = name in columns(self.target.schema).by_name
            cure = (
                f"; ask `{self!r}.any({self.spec.target}.{name} == value)`"
                if is_field
                else did_you_mean(name, dir(type(self)))
            )
            raise AttributeError(f"the relation {self!r} has no {name!r}{cure}")

        def __eq__(self, other):
            if isinstance(other, Relation):
                return self is other
            key = (
                f"`{self.subject.schema.name}.{self.spec.key} == record.id`, or "
                if self.spec.kind == "belongs_to"
                else ""
            )
            raise QueryError(
                f"{self!r} is a relation, which does not compare: {key}`{self!r}.any({self.spec.target}.id == record.id)`"
            )

        __hash__ = object.__hash__

    @property
    def target(self) -> Subject[Any]:
        """The subject that the relation leads to."""
        return self.subject.related(self.spec.name)

    @property
    def is_many(self) -> bool:
        """Whether it leads to several records."""
        return self.spec.kind in ("has_many", "many_to_many")

    def any(self, *conditions: Expr) -> Expr:
        """Whether there is a related record that fulfils all conditions. Never unknown."""
        return HasRelated(self if not conditions else self.where(*conditions))

    def none(self, *conditions: Expr) -> Expr:
        """Whether there is no related record that fulfils all conditions."""
        return ~self.any(*conditions)

    def where(self, *conditions: Expr) -> Self:
        """Mean only related records that fulfil all conditions."""
        condition = all_of((self.condition, *conditions) if self.condition is not None else conditions)
        if condition is not None:
            self._check_owners(condition.owners)
        return self._but("condition", condition)

    def order_by(self, *orders: Order) -> Self:
        """Order the related records of each record."""
        for one in orders:
            if not isinstance(one, Order):
                raise QueryError(f"order_by takes e.g. `{self.spec.target}.id.desc()`, not {one!r}")
            self._check_owners(one.owners)
        return self._but("orders", self.orders + orders)

    def limit(self, n: int) -> Self:
        """Take the first `n` related records of each record."""
        if type(n) is not int or n < 0:
            raise QueryError(f"a limit is 0 or more, not {n!r}")
        return self._but("count_limit", n)

    def include(self, *relations: Relation[Any]) -> Self:
        """Load these relations of the related records too."""
        return self._but("loads", merged(self.loads, relations, self.target))

    def with_count(self, *relations: Relation[Any]) -> Self:
        """Count these relations of the related records too."""
        return self._but("counts", merged(self.counts, relations, self.target))

    def cache(self, ttl_s: float | None = None, *, tags: Iterable[str] = ()) -> Self:
        """Keep what is loaded, as `Query.cache` does."""
        return self._but("caching", caching(ttl_s, tags))

    def _but(self, name: str, value: Any) -> Self:
        made = object.__new__(type(self))
        for slot in Relation.__slots__:
            setattr(made, slot, getattr(self, slot))
        setattr(made, name, value)
        return made

    def _check_owners(self, owners: frozenset[str]) -> None:
        if foreign := owners - columns(self.target.schema).owners:
            raise QueryError(f"{self!r} leads to {self.target.schema.name}, not {', '.join(sorted(foreign))}")

    def with_defaults(self) -> Self:
        """Return the relation with the order and limit it declares, where none is asked for."""
        made = self
        if not made.orders and self.spec.order_by is not None:
            name, down = self.spec.order_by
            column = columns(self.target.schema).named(name)
            made = made._but("orders", (column.desc() if down else column.asc(),))
        if made.count_limit is None and self.spec.limit is not None:
            made = made._but("count_limit", self.spec.limit)
        return made


def along(subject: Subject[Any], path: str) -> Relation[Any]:
    """Return the relation at a path such as `comments.user`, each step included in the one before."""
    if type(path) is not str:
        raise QueryError(f"a relation is named by text such as 'comments.user', not {path!r}")
    name, _, rest = path.partition(".")
    relation: Relation[Any] = Relation(subject, name)
    return relation.include(along(relation.target, rest)) if rest else relation


def merged(
    have: tuple[Relation[Any], ...], more: tuple[Relation[Any], ...], subject: Subject[Any]
) -> tuple[Relation[Any], ...]:
    """Add relations to be included. One named twice is loaded once: as said last, with all that is included in it."""
    found = {relation.spec.name: relation for relation in have}
    for relation in more:
        if not isinstance(relation, Relation):
            raise QueryError(f"include takes relations such as Post.author, not {relation!r}; names go to with_()")
        if relation.subject.schema.name != subject.schema.name:
            raise QueryError(f"{relation!r} is no relation of {subject.schema.name}")
        before = found.get(relation.spec.name)
        if before is not None:
            plain = relation.condition is None and not relation.orders and relation.count_limit is None
            kept = before if plain else relation
            relation = kept._but("loads", merged(before.loads, relation.loads, relation.target))
        found[relation.spec.name] = relation
    return tuple(found.values())


def users_for(target: Subject[Any], owner: Subject[Any], users: Users) -> Users:
    """Return whose records a relation leads to."""
    return users if target.schema.scope == "user" and owner.schema.scope == "user" else None


class HasRelated(Expr):
    """Whether a record has a related one that fulfils a condition.

    Where the answer is a short list (the related records are found by an index, or the relation leads to one), the
    list is made once and compared with; else each record is asked by itself.
    """

    __slots__ = ("_relation", "depth", "owners")

    def __init__(self, relation: Relation[Any]) -> None:
        self._relation = relation
        self.owners = columns(relation.subject.schema).owners
        self.depth = 1 if relation.condition is None else relation.condition.depth + 1

    def write(self, out: Statement) -> None:
        relation, spec, target = self._relation, self._relation.spec, self._relation.target
        users = users_for(target, relation.subject, out.users)
        mine, its = columns(relation.subject.schema), columns(target.schema)
        if spec.kind == "belongs_to":
            key = mine.named(spec.key).value
            out.add(f"({key} IS NOT NULL AND {key} IN (SELECT {its.id.sql}")
            _write_rows(out, relation, its, users)
            out.add("))")
        elif spec.through or spec.kind == "many_to_many":
            out.add(f'{mine.id.sql} IN (SELECT {LINK}."parent" FROM (')
            write_links(out, relation.subject, spec, None)
            joined = its.named(spec.key).value if spec.kind == "has_many" else its.id.sql
            out.add(f') AS {LINK} JOIN {its.sql_name} ON {joined} = {LINK}."child"')
            _write_rows(out, relation, its, users, joined=True)
            out.add(")")
        else:
            key = its.named(spec.key).value
            if key in its.indexed and mine.sql_name != its.sql_name and not self._is_narrow(its):
                out.add("EXISTS (SELECT 1")
                _write_rows(out, relation, its, users, f" AND {key} = {mine.id.sql}")
            else:
                out.add(f"{mine.id.sql} IN (SELECT {key}")
                _write_rows(out, relation, its, users, f" AND {key} IS NOT NULL")
            out.add(")")

    def _is_narrow(self, its: Columns) -> bool:
        """Whether an index of the target finds the records meant."""
        texts = [getattr(part, "text", "") for part in top_level(self._relation.condition)]
        return any(text.startswith((f"{sql} = ?", f"{sql} IN (")) for text in texts for sql in its.indexed)


def _write_rows(
    out: Statement, relation: Relation[Any], its: Columns, users: Users, more: str = "", joined: bool = False
) -> None:
    """Append FROM and WHERE of the related records that show and fulfil the relation's condition."""
    with out.reading(relation.target, users, its.sql_name) as (logs, bound):
        out.add(f" WHERE {its.visible}" if joined else its.from_visible)
        out.add(logs + more, bound)
        if relation.condition is not None:
            out.add(" AND ")
            relation.condition.write(out)


Only = Callable[[Column[Any]], Expr]
"""Restricts pairs to some parents: given the column of their ids, a condition."""


def write_links(out: Statement, subject: Subject[Any], spec: RelationSpec, only: Only | None) -> None:
    """Append a SELECT of pairs ("parent", "child"): ids of records, and of what shows of a relation's targets.

    For `through`, the pairs are those of the relation it names.
    """
    if spec.through and spec.kind == "has_many":
        through = next((one for one in subject.schema.relations if one.name == spec.through), None)
        if through is None:
            raise UnknownFieldError(subject.schema.name, spec.through, [one.name for one in subject.schema.relations])
        _write_targets(out, subject, through, only)
    elif spec.ids:
        _write_ids(out, subject, spec, only)
    else:
        junction = subject.junction(spec.name)
        pairs = columns(junction.schema)
        _write_pairs(out, subject, junction, pairs.named(spec.local), pairs.named(spec.remote).value, only)


def _write_targets(out: Statement, subject: Subject[Any], spec: RelationSpec, only: Only | None) -> None:
    """Append pairs of records and their targets by `spec`, those targets that show."""
    target = subject.related(spec.name)
    mine, its = columns(subject.schema), columns(target.schema)
    users = users_for(target, subject, out.users)
    if spec.kind in ("has_one", "has_many") and not spec.through:
        _write_pairs(out, subject, target, its.named(spec.key), its.id.sql, only)
        return
    if spec.kind == "belongs_to":
        out.add(f'SELECT "_pair"."parent", {its.id.sql} AS "child" FROM (')
        _write_pairs(out, subject, subject, mine.id, mine.named(spec.key).value, only)
        joined = its.id.sql
    else:
        out.add(f'SELECT DISTINCT "_pair"."parent", {its.id.sql} AS "child" FROM (')
        write_links(out, subject, spec, only)
        joined = its.named(spec.key).value if spec.kind == "has_many" else its.id.sql
    with out.reading(target, users, its.sql_name) as (logs, bound):
        out.add(f') AS "_pair" JOIN {its.sql_name} ON {joined} = "_pair"."child" WHERE {its.visible}{logs}', bound)


def _write_pairs(
    out: Statement, owner: Subject[Any], held: Subject[Any], parent: Column[Any], child: str, only: Only | None
) -> None:
    """Append pairs that the records of one model hold."""
    its = columns(held.schema)
    with out.reading(held, users_for(held, owner, out.users), its.sql_name) as (logs, bound):
        out.add(f'SELECT DISTINCT {parent.value} AS "parent", {child} AS "child"{its.from_visible}{logs}', bound)
        out.add(f" AND {parent.value} IS NOT NULL AND {child} IS NOT NULL")
        if only is not None:
            out.add(" AND ")
            only(parent).write(out)


def _write_ids(out: Statement, subject: Subject[Any], spec: RelationSpec, only: Only | None) -> None:
    """Append pairs from a field that holds ids."""
    mine = columns(subject.schema)
    ids = mine.named(spec.ids).value
    with out.reading(subject, out.users, mine.sql_name) as (logs, bound):
        out.add(f'SELECT DISTINCT {mine.id.sql} AS "parent", "_ids".value AS "child" FROM {mine.sql_name}')
        out.add(f' JOIN json_each(debros_texts({ids})) AS "_ids" WHERE {mine.visible}{logs}', bound)
        if only is not None:
            out.add(" AND ")
            only(mine.id).write(out)
