"""A plausible history for a place without git: twelve people, one growing tree, the same at every run."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime, timedelta
from typing import Final

from debros.cli.demo.past import CommitPast, FilePast, Past

PEOPLE: Final = (
    *("Ana Duarte", "Bo Lindqvist", "Cy Okafor", "Dara Singh", "Elif Kaya", "Femi Adeyemi"),
    *("Gus Moreau", "Hana Sato", "Ivo Petrov", "Jun Park", "Kit Walsh", "Lea Brandt"),
)
AREAS: Final = ("src", "tests", "docs", "tools")
WORDS: Final = ("parser", "cache", "index", "clock", "reader", "writer", "queue", "schema", "planner", "codec")
DEEDS: Final = ("Add", "Fix", "Speed up", "Simplify", "Document", "Test", "Rename", "Remove dead code in")
BEGIN: Final = datetime(2020, 1, 6, 9, tzinfo=UTC)
SEED: Final = 4_668


def generate(commits: int, note: str = "") -> Past:
    """Return a history of `commits` commits; a shorter one is the beginning of a longer one."""
    chance = random.Random(SEED)  # noqa: S311 - a story, not a secret
    weights = [1 / (rank + 1) for rank in range(len(PEOPLE))]  # Zipf: few people write most of it
    tree = ["README.md"]
    at = BEGIN
    told = []
    for number in range(commits):
        at += timedelta(minutes=chance.randint(5, 600))
        word, deed = chance.choice(WORDS), chance.choice(DEEDS)
        files = {_old_or_new(chance, tree, word) for _ in range(min(6, 1 + int(chance.expovariate(0.8))))}
        told.append(
            CommitPast(
                sha=hashlib.sha256(f"{SEED} {number}".encode()).hexdigest()[:40],
                author=chance.choices(PEOPLE, weights)[0],
                authored_at=at,
                subject=f"{deed} the {word}",
                files=tuple(
                    FilePast(path, int(chance.expovariate(1 / 20)), int(chance.expovariate(1 / 9)))
                    for path in sorted(files)
                ),
            )
        )
    return Past("a generated history", "generated", tuple(told), note)


def _old_or_new(chance: random.Random, tree: list[str], word: str) -> str:
    """Return a file that is there, now and then a new one."""
    if chance.random() > 1 / (1 + len(tree) / 20):
        return chance.choice(tree)
    area = chance.choice(AREAS)
    path = f"{area}/{word}_{len(tree)}.{'md' if area == 'docs' else 'py'}"
    tree.append(path)
    return path
