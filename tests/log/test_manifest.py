"""Manifests: the same choices give the same log, on every peer."""

from __future__ import annotations

import pytest

from debros.log.manifest import Manifest, manifest_of_all, manifest_of_user, parse
from tests.support.entries import A, B

TWO = (A.public, B.public)


def test_the_page_names_the_digest_of_its_example() -> None:
    manifest = manifest_of_user("blog-k3x9q7", A.public)
    assert manifest.log_id.hex().startswith("7786c42c")
    assert manifest.address.startswith("/debros/bafyrei")
    assert manifest.is_admin(A.public)
    assert not manifest.is_admin(B.public)


def test_admins_in_any_order_mean_the_same_log() -> None:
    one, other = manifest_of_all("a", True, TWO), manifest_of_all("a", True, TWO[::-1])
    assert one == other
    assert one.address == other.address


def test_each_choice_makes_another_log() -> None:
    made = [
        manifest_of_all("a", True, TWO),
        manifest_of_all("b", True, TWO),
        manifest_of_all("a", False, TWO),
        manifest_of_all("a", True, TWO[:1]),
        manifest_of_all("a", True, TWO, ("Post", "0/2")),
        manifest_of_all("a", True, TWO, ("Post", "1/2")),
        manifest_of_user("a", A.public),
        manifest_of_user("a", A.public, ("Post", "0/2")),
    ]
    assert len({manifest.log_id for manifest in made}) == len(made)
    assert [parse(manifest.block) for manifest in made] == made


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (lambda: Manifest("a", "global", True, TWO), "ascending"),  # A's key is above B's
        (lambda: Manifest("A", "global", True), "app"),
        (lambda: Manifest("a", "user", True, TWO[:1]), "not open"),
        (lambda: Manifest("a", "user", False, tuple(sorted(TWO))), "one admin"),
        (lambda: manifest_of_all("a", False, ()), "nobody could write"),
        (lambda: manifest_of_all("a", True, (A.public, A.public)), "each once"),
        (lambda: manifest_of_all("a", True, (), ("9", "0/2")), "part"),
    ],
)
def test_a_manifest_that_peers_would_refuse_cannot_be_made(manifest: object, why: str) -> None:
    assert callable(manifest)
    with pytest.raises(ValueError, match=why):
        manifest()
