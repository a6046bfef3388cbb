"""The laws that hold in every world, checked from outside: by reading logs, not by asking those that keep them."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from debros.errors import DebrosError
from debros.identity.signing import verify
from debros.log.certificate import user_of_chain
from debros.log.entry import Header, parse_header
from debros.replica.replica import Replica
from debros.replica.store import Admitted, Store


class Broken(AssertionError):
    """A law does not hold. `law` names it."""

    def __init__(self, law: str, what: str) -> None:
        super().__init__(f"{law}: {what}")
        self.law = law


class Witness:
    """What nodes were seen to do, and may not take back."""

    def __init__(self) -> None:
        self.acknowledged: dict[bytes, str] = {}  # entry -> who was told that it is durable
        self.shown: dict[bytes, str] = {}  # entry -> who was seen to have it, having sent or acknowledged it
        self.forged: dict[bytes, str] = {}  # entry that nobody may admit -> why

    def saw(self, name: str, store: Store | None, admitted: Sequence[Admitted]) -> None:
        """Note what a node says it admitted: parents first."""
        for one in admitted:
            if one.entry.digest in self.forged:
                raise Broken("authenticity", f"{name} admitted a forged entry: {self.forged[one.entry.digest]}")

    def acknowledge(self, name: str, digest: bytes) -> None:
        """Note that a save returned: its entry is never lost."""
        self.acknowledged[digest] = name

    def check(self, name: str, held: frozenset[bytes]) -> None:
        """Check that a node holds everything that was ever acknowledged."""
        lost = sorted(digest.hex()[:12] for digest in self.acknowledged.keys() - held)
        if lost:
            raise Broken("durability", f"{name} lacks {len(lost)} acknowledged entries, e.g. {lost[0]}")


def check_log(store: Store, replica: Replica) -> None:
    """Check one log of a node from its bytes: addresses, signatures, rights, chains, clocks, and parents first.

    Raises:
        Broken: with the name of the law.
    """
    known: dict[bytes, tuple[Header, bytes]] = {}
    for e in range(1, store.entries.next_e):
        row = store.entries.by_number(e)
        if row.log != replica.n:
            continue
        where = f"entry {e} of {replica.manifest.address[-8:]}"
        raw, body = store.log.read(row.header), store.log.read(row.body)
        header = parse_header(raw)
        if sha256(raw).digest() != row.digest or sha256(body).digest() != header.body:
            raise Broken("integrity", f"{where} does not hash to its address")
        if row.digest in known:
            raise Broken("once", f"{where} was admitted before")
        if header.log != replica.log_id:
            raise Broken("authenticity", f"{where} is of another log")
        if not verify(header.author, header.signed(), header.sig):
            raise Broken("authenticity", f"{where} is not signed by its author")
        parents = [known.get(parent) for parent in header.parents()]
        if None in parents:
            raise Broken("causal order", f"{where} was admitted before its parents")
        found = [parent for parent in parents if parent is not None]
        if any(parent.clock >= header.clock for parent, _ in found):
            raise Broken("causal order", f"{where} has a clock that is not after its parents'")
        if header.prev is None:
            try:
                user = user_of_chain(header.author, header.certificates, replica.manifest)
            except DebrosError as error:
                raise Broken("authenticity", f"{where}: {error}") from error
        else:
            prev, user = known[header.prev]
            if prev.author != header.author or prev.seq != header.seq - 1:
                raise Broken("authenticity", f"{where} does not go on its author's chain")
        if user != row.user:
            raise Broken("authenticity", f"{where} is counted as another user's")
        known[row.digest] = header, user
    linked = {parent for header, _ in known.values() for parent in header.parents()}
    if replica.heads != known.keys() - linked:
        raise Broken("heads", f"the heads of {replica.manifest.address[-8:]} are not those entries that none links")
