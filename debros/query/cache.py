"""The cache of query results: what SQLite answered, kept until a row of a model that was read may have changed.

An entry is found by the exact statement and everything bound to it, the logs that may be read among it, and counts only
while the versions of all models it reads (`Rows.revision`) are those it was made at. So a stale row cannot be served,
whoever wrote it, and nothing has to be told of writes. Rows are kept as SQLite gave them, so each hit makes records of
its own. Empty results are results. Inside a transaction the cache is passed by.

What goes: an entry whose time is up, then the one unused for longest, when there are too many or too many bytes
(estimated as Python counts its objects). Relations that `include` loads have a cache of their own, of the same kind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cachetools import TLRUCache

from debros.errors import QueryError

if TYPE_CHECKING:
    from debros.query.ports import Source
    from debros.query.query import Query

ENTRY_BYTES: Final = 600  # of an entry beside its rows and its text
KINDS: Final = frozenset({"belongs_to", "has_one", "has_many", "many_to_many"})

Found = list[tuple[Any, ...]]
Key = tuple[str, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Caching:
    """How a query asks for its results to be kept."""

    ttl_s: float | None = None  # seconds; `None`: the node's setting
    tags: frozenset[str] = frozenset()
    key: str | None = None  # a name of the caller's, to invalidate by
    is_fresh: bool = False  # do not look, only keep


def caching(ttl_s: float | None, tags: Iterable[str] | str, key: str | None = None) -> Caching:
    """Return how results are to be kept.

    Raises:
        QueryError: the time is no number of seconds above 0, or a tag is no text.
    """
    if ttl_s is not None and (type(ttl_s) not in (int, float) or not 0 < ttl_s < 2**53):
        raise QueryError(f"cache() takes seconds above 0, not {ttl_s!r}; no_cache() keeps nothing")
    named = frozenset([tags] if isinstance(tags, str) else tags)
    if not all(isinstance(tag, str) for tag in named):
        raise QueryError(f"tags are texts, not {sorted(map(repr, named))}")
    return Caching(ttl_s, named, key)


@dataclass(frozen=True, slots=True)
class Labels:
    """What an entry is about, to find it when somebody invalidates."""

    models: tuple[str, ...]  # all it reads
    mark: bytes = b""  # fingerprint of the query
    tags: frozenset[str] = frozenset()
    key: str | None = None
    owners: frozenset[str] | None = frozenset()  # DIDs whose records of a user-scoped model it reads; `None`: all
    relation: str = ""  # "Post.author"
    kind: str = ""  # of the relation
    records: frozenset[str] = frozenset()  # ids of the records whose relation it is


@dataclass(slots=True)
class Use:
    """How often a model's queries found what they asked for, and how often not."""

    hits: int = 0
    misses: int = 0

    @property
    def requests(self) -> int:
        """How often they asked."""
        return self.hits + self.misses


@dataclass(slots=True)
class Entry:
    """One kept result."""

    rows: Found
    revision: tuple[int, ...]
    expires: float  # by the node's monotonic clock
    size: int  # bytes, estimated
    labels: Labels
    use: Use
    key: Key
    version: int | None = None  # of the source when it was last found to be good
    is_kept: bool = True  # whether it is in the cache still
    hits: int = 0


@dataclass(frozen=True, slots=True)
class CacheStats:
    """How a cache does."""

    requests: int
    hits: int
    misses: int
    evictions: int  # entries that went to make room
    entries: int
    max_entries: int
    bytes: int
    max_bytes: int
    models: dict[str, tuple[int, int]]  # model -> requests, hits

    @property
    def hit_rate(self) -> float:
        """Hits by requests, 0..1."""
        return self.hits / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Popular:
    """An entry that is asked for often."""

    sql: str
    models: tuple[str, ...]
    hits: int
    rows: int
    bytes: int


class _Kept(TLRUCache[Key, Entry]):
    """Least recently used first, by bytes and by number; counts who had to go, and tells entries that they went."""

    def __init__(self, entries: int, max_bytes: int, timer: Callable[[], float]) -> None:
        super().__init__(max_bytes, lambda _key, entry, _now: entry.expires, timer, lambda entry: entry.size)
        self.most = entries
        self.evictions = 0

    def popitem(self) -> tuple[Key, Entry]:
        self.evictions += 1
        return super().popitem()

    def __delitem__(self, key: Key) -> None:
        entry = self.get(key)
        if entry is not None:
            entry.is_kept = False
        super().__delitem__(key)


class ResultCache:
    """One cache: results of queries, or of relations."""

    def __init__(self, timer: Callable[[], float], *, entries: int, max_bytes: int, ttl_s: float) -> None:
        """Keep at most `entries` results of together `max_bytes`, each for `ttl_s` seconds unless it says otherwise."""
        self.ttl_s = ttl_s
        self._timer = timer
        self._most, self._max_bytes = entries, max_bytes
        self._kept = _Kept(entries, max_bytes, timer)
        self._uses: dict[str, Use] = {}

    async def fetch(
        self, source: Source, key: Key, caching: Caching, models: tuple[str, ...], labels: Callable[[], Labels]
    ) -> Entry:
        """Return what the statement gives, from here if it is here; `models` are all that it reads, its own first."""
        revision, version = source.revision(models), source.version()
        use = self._uses.get(models[0])
        if use is None:
            use = self._uses[models[0]] = Use()
        if revision is None:  # inside a transaction
            return Entry(await source.fetch(*key), (), 0, 0, Labels(models), use, key, is_kept=False)
        if not caching.is_fresh:
            try:
                entry = self._kept[key]
            except KeyError:
                entry = None
            if entry is not None and entry.revision == revision:
                use.hits += 1
                entry.hits += 1
                entry.version = version
                return entry
        use.misses += 1
        rows = await source.fetch(*key)
        ttl_s = self.ttl_s if caching.ttl_s is None else caching.ttl_s
        size = ENTRY_BYTES + len(key[0]) + _size(key[1]) + sum(map(_size, rows))
        entry = Entry(rows, revision, self._timer() + ttl_s, size, labels(), use, key, version)
        if self._most:
            self._keep(entry)
        return entry

    def again(self, entry: Entry, source: Source) -> Found | None:
        """Return the rows of an entry that was found before, if it is as good as then: the short way to a hit."""
        if not entry.is_kept or entry.version != source.version() or self._timer() >= entry.expires:
            return None
        entry.use.hits += 1
        entry.hits += 1
        if not entry.hits & 15:  # now and then it is told to the order of use
            self._kept.get(entry.key)
        return entry.rows

    def _keep(self, entry: Entry) -> None:
        self._kept.pop(entry.key, None)
        if entry.size > self._max_bytes:
            entry.is_kept = False
            return
        self._kept[entry.key] = entry
        while len(self._kept) > self._most:
            self._kept.popitem()

    def invalidate(self, does_go: Callable[[Labels], bool]) -> int:
        """Drop entries whose labels say so; return how many."""
        gone = [key for key, entry in list(self._kept.items()) if does_go(entry.labels)]
        for key in gone:
            self._kept.pop(key, None)
        return len(gone)

    def expire(self) -> int:
        """Drop what is too old; return how many entries that were."""
        return len(self._kept.expire())

    def tune(self, *, entries: int, max_bytes: int, ttl_s: float) -> None:
        """Change the settings; what is kept is dropped, for it may not fit them."""
        self.ttl_s, self._most, self._max_bytes = ttl_s, entries, max_bytes
        evictions = self._kept.evictions
        self._kept = _Kept(entries, max_bytes, self._timer)
        self._kept.evictions = evictions

    def clear(self) -> None:
        """Drop everything; what was counted goes on."""
        for key in list(self._kept):
            self._kept.pop(key, None)

    def stats(self) -> CacheStats:
        """Return how it does."""
        requests = sum(use.requests for use in self._uses.values())
        hits = sum(use.hits for use in self._uses.values())
        return CacheStats(
            requests, hits, requests - hits, self._kept.evictions, len(self._kept), self._most, int(self._kept.currsize),
            self._max_bytes, {name: (use.requests, use.hits) for name, use in sorted(self._uses.items())},
        )  # fmt: skip

    def like(self) -> ResultCache:
        """Return an empty cache of the same settings."""
        return ResultCache(self._timer, entries=self._most, max_bytes=self._max_bytes, ttl_s=self.ttl_s)

    def popular(self, n: int = 10) -> list[Popular]:
        """Return the entries hit most often."""
        entries = sorted(self._kept.items(), key=lambda item: -item[1].hits)[:n]
        return [Popular(key[0], e.labels.models, e.hits, len(e.rows), e.size) for key, e in entries]


@dataclass
class Caches:
    """`db.cache`: results of queries that say `.cache()`, and of the relations they include."""

    queries: ResultCache
    relations: ResultCache

    def like(self) -> Caches:
        """Return empty caches of the same settings."""
        return Caches(self.queries.like(), self.relations.like())

    def stats(self) -> CacheStats:
        """Return how both do together; `queries.stats()` and `relations.stats()` tell them apart."""
        a, b = self.queries.stats(), self.relations.stats()
        models = dict(a.models)
        for name, (requests, hits) in b.models.items():
            before = models.get(name, (0, 0))
            models[name] = (before[0] + requests, before[1] + hits)
        return CacheStats(
            a.requests + b.requests, a.hits + b.hits, a.misses + b.misses, a.evictions + b.evictions,
            a.entries + b.entries, a.max_entries + b.max_entries, a.bytes + b.bytes, a.max_bytes + b.max_bytes, models,
        )  # fmt: skip

    def clear(self) -> None:
        """Drop everything."""
        self.queries.clear()
        self.relations.clear()

    def expire(self) -> int:
        """Drop what is too old, which otherwise goes when room is needed; return how many entries that were."""
        return self.queries.expire() + self.relations.expire()

    def popular(self, n: int = 10) -> list[Popular]:
        """Return the entries hit most often."""
        return sorted(self.queries.popular(n) + self.relations.popular(n), key=lambda one: -one.hits)[:n]

    def invalidate(self, what: Any = None, *, key: str | None = None) -> int:
        """Drop entries and return how many. Writes need no such call: what they change is never served again.

        Args:
            what: a model, a query, a relation (`Post.author`), a record (its relations), a user's DID, a kind of relation
                (`"has_many"`), or else a tag.
            key: instead, the name that `.cache(key=...)` gave.

        Raises:
            QueryError: it is none of these.
        """
        does_go = _chosen(what, key)
        return self.queries.invalidate(does_go) + self.relations.invalidate(does_go)

    async def warm(self, *queries: Query[Any]) -> int:
        """Run queries, so that the next to ask finds their results; return how many rows there are."""
        found = 0
        for query in queries:
            found += len(await (query if query.caching else query.cache()).all())
        return found


def _chosen(what: Any, key: str | None) -> Callable[[Labels], bool]:
    from debros.query.paging import fingerprint
    from debros.query.relations import Relation
    from debros.query.steps import Steps

    if key is not None:
        return lambda labels: labels.key == key
    if isinstance(what, Relation):
        return lambda labels: labels.relation == repr(what)
    if isinstance(what, Steps):
        mark = fingerprint(what)
        return lambda labels: labels.mark == mark
    if isinstance(what, str):
        if what.startswith("did:"):
            return lambda labels: labels.owners is None or what in labels.owners
        if what in KINDS:
            return lambda labels: labels.kind == what
        return lambda labels: what in labels.tags
    schema = getattr(what, "__schema__", None)
    if schema is None:
        raise QueryError(f"invalidate a model, query, relation, record, DID or tag, not {what!r}")
    if isinstance(what, type):
        return lambda labels: schema.name in labels.models
    prefix, id = f"{schema.name}.", what.id
    return lambda labels: labels.relation.startswith(prefix) and id in labels.records


def _size(values: Iterable[object]) -> int:
    return sys.getsizeof(values) + sum(map(sys.getsizeof, values))
