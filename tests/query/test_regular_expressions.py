"""`matches` agrees with `re` where both know the pattern, and takes linear time where `re` does not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.errors import QueryError
from debros.query import regex

ATOMS = st.sampled_from(
    [
        "a",
        "b",
        "ab",
        ".",
        "[ab]",
        "[^a]",
        "[a-c]",
        r"\d",
        r"\w",
        r"\W",
        r"\s",
        "^",
        "$",
        r"\b",
        r"\A",
        r"\Z",
        r"\.",
        "é",
        "_",
    ]
)
REPEATS = st.sampled_from(["*", "+", "?", "*?", "{2}", "{1,2}", "{0,}", "{,2}", "{,}"])


def patterns() -> st.SearchStrategy[str]:
    def extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.tuples(inner, inner).map("".join),
            st.tuples(inner, inner).map("|".join),
            st.tuples(inner, REPEATS).map(lambda p: f"(?:{p[0]}){p[1]}"),
            inner.map(lambda p: f"({p})"),
        )

    return st.recursive(ATOMS, extend, max_leaves=8)


@settings(max_examples=300)
@given(patterns(), st.lists(st.text("abcé1 _.\n", max_size=8), min_size=1, max_size=5))
def test_it_finds_what_re_finds(pattern: str, texts: list[str]) -> None:
    expected = re.compile(pattern)
    compiled = regex.Pattern(pattern)
    for text in texts:
        assert compiled.search(text) == (expected.search(text) is not None), text


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"(?i)stra\w+", "in der STRASSE", True),
        (r"(?i)[a-c]x", "BX", True),
        (r"[]a]", "]", True),
        (r"[a\]-]", "-", True),
        (r"\x41\u00e9", "Aé", True),
        (r"(?P<year>\d{4})-\d\d", "on 2025-04", True),
        (r"a{2,3}$", "baaa\n", True),
        (r"x{", "x{", True),
        (r"a{}", "a{}", True),
        (r"[\b]", "\b", True),
        (r"[\W]", "a", False),
        (r"", "", True),
        (r"^$", "", True),
        (r"\B", "a", False),
    ],
)
def test_single_constructs(pattern: str, text: str, found: bool) -> None:
    assert regex.Pattern(pattern).search(text) is found
    assert (re.search(pattern, text) is not None) is found


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "a)", "[a", "*a", "a**", "a*{2}", r"(a)\1", "(?=a)", "(?<!a)b", "a{3,2}", "a{2000}", "a" * 1001, "[z-a]",
     r"\x4", r"\U00110000", "a++", "(?x)a", "(" * 60 + ")" * 60, "(?:(?:a{100}){100}){100}", "\\", r"[\d-z]"],
)  # fmt: skip
def test_what_is_wrong_or_not_linear_is_refused_when_compiled(pattern: str) -> None:
    with pytest.raises(QueryError):
        regex.Pattern(pattern)


def test_a_pattern_that_stops_re_is_linear() -> None:
    text = "a" * 20_000
    assert not regex.Pattern("(a*)*b").search(text)
    assert not regex.Pattern("(a|aa)+$").search(text + "!")
    assert not regex.Pattern("(.*a){20}x").search(text)


def test_memory_is_bounded_when_every_character_is_new() -> None:
    pattern = regex.Pattern("[a-z].{12}X")
    text = "".join(chr(0x4E00 + n % 20_000) for n in range(50_000))
    assert not pattern.search(text)
    assert len(pattern._sets) <= regex.MAX_SETS + 1
    assert len(pattern._steps) <= regex.MAX_SEEN + 1
    assert pattern.search(text + "q" + "-" * 12 + "X")
