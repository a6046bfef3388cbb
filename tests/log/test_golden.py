"""The project's own vectors change only on purpose."""

from __future__ import annotations

from tests.vectors.make_golden import FILE, text


def test_the_committed_golden_vectors_are_what_the_script_makes() -> None:
    assert FILE.read_text() == text()
