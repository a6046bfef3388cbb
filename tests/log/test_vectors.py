"""The gate, the manifests, and void and skipped, against the vectors of the format and the project's own."""

from __future__ import annotations

from typing import Any

import pytest

from debros.blocks import cid
from debros.errors import DebrosError, EntryHeldError, EntryRefusedError, NewerFormatError
from debros.identity.did import tag
from debros.log.changes import good_changes
from debros.log.manifest import parse
from debros.log.rights import may_write, void
from tests.support.entries import MemoryLog, key
from tests.support.vectors import FORMAT, load

GOLDEN = load("golden_v1.json")
BOTH = [("format", FORMAT), ("golden", GOLDEN)]


def cases(kind: str) -> list[Any]:
    return [
        pytest.param(vectors, case, id=f"{name}: {case['name']}") for name, vectors in BOTH for case in vectors[kind]
    ]


def optional(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def log_of(vectors: dict[str, Any], name: str) -> MemoryLog:
    block = bytes.fromhex(vectors["logs"][name])
    manifest = parse(block)
    assert manifest.block == block
    assert manifest.address == "/debros/" + cid.to_text(cid.digest_of(block))
    return MemoryLog(manifest)


@pytest.mark.parametrize(("vectors", "case"), cases("manifests"))
def test_a_manifest_is_valid_newer_or_invalid(vectors: dict[str, Any], case: dict[str, Any]) -> None:
    block = bytes.fromhex(case["bytes"])
    if case["verdict"] == "valid":
        assert parse(block).block == block
    else:
        with pytest.raises(NewerFormatError if case["verdict"] == "newer" else ValueError):
            parse(block)


@pytest.mark.parametrize(("vectors", "case"), cases("entries"))
def test_the_gate_gives_the_verdict_of_the_vector(vectors: dict[str, Any], case: dict[str, Any]) -> None:
    log = log_of(vectors, case["log"])
    named = {entry["name"]: entry for entry in vectors["entries"]}
    for name in case["given"]:
        given = named[name]
        assert not log.admit(bytes.fromhex(given["header"]), bytes.fromhex(given["body"]), given["now"]).known
    header, body = bytes.fromhex(case["header"]), optional(case["body"])
    if case["error"] is None:
        admission = log.judge(header, body, case["now"])
        assert ("known" if admission.known else "admitted") == case["verdict"]
        assert admission.header.raw == header
        assert cid.to_text(admission.header.digest) == case["cid"]
        assert admission.user.hex() == case["user"]
    else:
        with pytest.raises(EntryRefusedError if case["verdict"] == "refused" else EntryHeldError) as caught:
            log.judge(header, body, case["now"])
        assert type(caught.value).__name__ == case["error"]
        assert isinstance(caught.value, DebrosError)
        assert str(caught.value)


@pytest.mark.parametrize(("vectors", "case"), cases("folds"))
def test_void_and_skipped_are_those_of_the_vector(vectors: dict[str, Any], case: dict[str, Any]) -> None:
    log = log_of(vectors, case["log"])
    for header, body in case["entries"]:
        log.admit(bytes.fromhex(header), bytes.fromhex(body), case["now"])
    assert sorted(digest.hex() for digest in void(log.facts.values(), log.acts(), log.manifest)) == sorted(case["void"])
    skipped = []
    for digest, body in log.bodies.items():
        user = log.facts[digest].user
        good = {at for at, _, _, id, _ in good_changes(body.ops) if may_write(id, user, log.manifest)}
        skipped += [[digest.hex(), at] for at in range(len(body.ops)) if at not in good]
    assert sorted(skipped) == sorted(case["skipped"])


def test_keys_and_owner_tags_are_those_of_the_vectors() -> None:
    for named in FORMAT["keys"].values():
        signer = key(bytes.fromhex(named["seed"])[0])
        assert signer.seed().hex() == named["seed"]
        assert signer.public.hex() == named["public"]
        assert tag(signer.public) == named["tag"]


@pytest.mark.parametrize(("name", "vectors"), BOTH)
def test_every_step_of_the_gate_is_pinned_by_two_cases_or_more(name: str, vectors: dict[str, Any]) -> None:
    seen: dict[str, int] = {}
    for case in vectors["entries"]:
        if case["error"] is not None:
            step = case["name"].split()[0]
            seen[step] = seen.get(step, 0) + 1
    least = 2 if name == "golden" else 1
    assert all(seen.get(str(step), 0) >= least for step in range(1, 12) if (name, step) != ("format", 5))
