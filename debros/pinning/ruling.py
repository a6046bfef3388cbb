"""Which rule is for which content, and the facts that rules look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from debros.pinning import ledger as states
from debros.pinning.deciding import decayed
from debros.pinning.ledger import Item, Ledger
from debros.pinning.rules import DAY_S, Facts, Rule
from debros.replica.store import Model

TRUST_S: Final = DAY_S  # that a receipt counts
MS: Final = 1000


class Ruling:
    """The rules of a node's models, over its ledger and in its time."""

    def __init__(self, models: Mapping[str, Model], now: Callable[[], int]) -> None:
        """`now` returns milliseconds."""
        self.now = now
        self.rules: dict[str, Rule] = {}
        self._of_users = [1]  # copies that rules of models in users' own logs ask for
        for name, model in models.items():
            schema = model.table.schema
            if isinstance(schema.pinning, Rule):
                self.rules[name] = schema.pinning
                if schema.scope == "user":
                    self._of_users.append(schema.pinning.copies[0])

    @property
    def copies_of_users(self) -> int:
        """How many others must hold a user's log before it goes: as many as a rule of its models asks for, and one."""
        return max(self._of_users)

    def facts(
        self, ledger: Ledger, item: Item, rule: Rule | None = None, copies: int | None = None, now: int | None = None
    ) -> Facts:
        """Return what is known of an item; what is known already may be given."""
        now = self.now() if now is None else now
        rule = rule or self.rule(ledger, item)
        idle_s = max(0, now - item.used) / MS
        return Facts(
            model=ledger.name(item.model).decode(), cid=str(item.link), size=max(0, item.size),
            age_s=max(0, now - item.added) / MS, idle_s=idle_s, accesses=item.uses,
            score=decayed(item.score, idle_s, DAY_S if rule is None else rule.half_life_s),
            copies=len(ledger.copies(item.n, self.trusted())) if copies is None else copies,
        )  # fmt: skip

    def rule(self, ledger: Ledger, item: Item) -> Rule | None:
        """Return the rule for an item."""
        return self.rule_of(ledger, {model for model, _, _ in ledger.referred(item.n)})

    def rule_of(self, ledger: Ledger, models: Iterable[int]) -> Rule | None:
        """Return the rule for what these models' records refer to: none, and so it is kept, if any of them has none."""
        rules = [self.rules.get(ledger.name(model).decode()) for model in models]
        found = [rule for rule in rules if rule is not None]
        return max(found, key=lambda rule: rule.factor) if found and len(found) == len(rules) else None

    def why_none(self, ledger: Ledger, item: Item) -> str:
        """Return in words why no rule decides about an item."""
        if item.hand == states.AGAINST:
            return "unpinned by hand"
        if ledger.referred(item.n):
            return "its model has no rule, so it comes when it is asked for"
        return "no record refers to it"

    def trusted(self) -> int:
        """Return from when on receipts count."""
        return self.now() - int(TRUST_S * MS)


def optimal_copies(rule: Rule | None, users: int) -> int:
    """Return how many copies there had better be: one here, and one with each peer that uses the content, within bounds."""
    least, most = (1, 1) if rule is None else rule.copies
    return min(most, max(least, 1 + users))
