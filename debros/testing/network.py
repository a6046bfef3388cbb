"""The network of a simulated world: one in memory that knows its hosts by name."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from debros.errors import ArgumentError, did_you_mean
from debros.net.memory import Faults, MemoryNetwork, MemoryTransport


class Network(MemoryNetwork):
    """A network that knows its hosts by name, before they are up too: a partition of others would be of everybody."""

    def __init__(self, random: Random, faults: Faults | None, names: Iterable[str]) -> None:
        super().__init__(random, faults)
        self._names = dict.fromkeys(names)

    def host(self, name: str) -> MemoryTransport:
        """Return the transport of one host; entering it puts it on the network."""
        self._names[name] = None
        return super().host(name)

    def partition(self, *groups: Iterable[str]) -> None:
        """Let hosts reach only those of their own group; a host in none reaches nobody.

        Raises:
            ArgumentError: a group is no list of hosts, or names one that is not there.
        """
        for group in groups:
            if isinstance(group, str) or not isinstance(group, Iterable):
                raise ArgumentError(f"partition takes lists of hosts: `partition(['n0'], ['n1'])`, not {group!r:.80}")
        asked = [list(group) for group in groups]
        for name in (name for group in asked for name in group):
            if name not in self._names:
                raise ArgumentError(unknown(name, self._names))
        super().partition(*asked)


def unknown(name: object, known: Iterable[str]) -> str:
    """Return the text of an error about a node that is not there."""
    names = list(known)
    return f"no node is called {name!r:.80}{did_you_mean(str(name), names)}; they are {', '.join(names)}"
