"""Pages by cursor: a page begins behind the last row of the one before, so inserts neither repeat nor skip rows.

A cursor is the base64url of DAG-CBOR `[fingerprint, [sort values of the last row]]`, infinity as `["inf"]`: opaque, but no secret. The
fingerprint says which question it answers: model, users, conditions with their values, order; and how the values that it
sorts by are read: their types, and the migrations that made them what they are. Where one id may be of several users'
records, their logs' numbers decide last, so the cursor says which logs have these numbers: another node, or a view made
anew, may have others. A page's size and what is included may change from page to page, and so may a field's name, for a
renamed one keeps its values.
"""

from __future__ import annotations

import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from debros.blocks import dagcbor
from debros.errors import CursorError
from debros.query.compile import Question, Sort
from debros.query.expressions import Leaf, Statement
from debros.query.ports import Source

PAGE_SIZE: Final = 50  # rows, where the query has no limit
_AGAIN: Final = "start again from the first page"
_FINGERPRINT_SIZE: Final = 8
_INFINITE: Final = (math.inf, -math.inf)  # which expressions come to, and no field holds
_INFINITE_TOLD: Final = (["inf"], ["-inf"])


def fingerprint(question: Question) -> bytes:
    """Return 8 bytes that tell this question from others, the same on every node."""
    out = Statement(None, question.users)
    if question.condition is not None:
        question.condition.write(out)
    orders = [(order.text, order.bindings, order.type) for order in question.orders]
    picked = question.picked and [
        (column.sql, column.bindings, column.codec.name) for column in question.picked if not column.is_computed
    ]
    about = (question.columns.name, question.users, out.text(), out.bound, orders, picked, question.is_distinct)
    return sha256(repr(about).encode()).digest()[:_FINGERPRINT_SIZE]


def lifted(question: Question, source: Source) -> Sequence[str]:
    """Return what tells the migrations that made the values which a question sorts by what they are; the same wherever the same entries are."""
    fields = {order.name for order in question.orders}
    if question.is_distinct:
        fields |= {column.name for column in question.picked or ()}
    fields.discard("id")
    return source.lifted(question.users, fields) if fields else ()


def mark_of(question: Question, lifted: Sequence[str]) -> bytes:
    """Return what a cursor is known by: the question, and how the values it sorts by are read."""
    asked = fingerprint(question)
    return sha256(asked + repr(lifted).encode()).digest()[:_FINGERPRINT_SIZE] if lifted else asked


def write_cursor(mark: bytes, values: Sequence[object]) -> str:
    """Return the cursor behind a row with these sort values."""
    told = [[str(value)] if value in _INFINITE else value for value in values]
    return urlsafe_b64encode(dagcbor.encode([mark, told])).rstrip(b"=").decode()


def read_cursor(cursor: str, mark: bytes, size: int) -> list[Any]:
    """Return the sort values that a cursor holds.

    Raises:
        CursorError: it is damaged, belongs to another query, or is of before the values it sorts by were read otherwise.
    """
    if not isinstance(cursor, str):
        raise CursorError(f"a cursor is text from `page.next`, not {cursor!r}")
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        found: Any = dagcbor.decode(raw)
    except (Base64Error, ValueError, RecursionError):
        raise CursorError(f"the cursor {cursor[:40]!r} is damaged; {_AGAIN}") from None
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != cursor:  # one text per cursor
        raise CursorError(f"the cursor {cursor[:40]!r} is damaged; {_AGAIN}")
    if type(found) is not list or len(found) != 2 or found[0] != mark:
        raise outdated(cursor)
    values = found[1]
    if type(values) is list:
        values = [float(value[0]) if value in _INFINITE_TOLD else value for value in values]
    if type(values) is not list or len(values) != size or not all(map(_can_be_bound, values)):
        raise CursorError(f"the cursor {cursor[:40]!r} is damaged; {_AGAIN}")
    return values


def written(mark: bytes, values: Sequence[object], sorts: Sequence[Sort], source: Source) -> str:
    """Return the cursor of a query behind a row with these sort values."""
    last = values[-1]
    logs = [source.logs_up_to(last)] if sorts[-1].is_log and isinstance(last, int) else []
    return write_cursor(mark, [*values, *logs])


def read(cursor: str, mark: bytes, sorts: Sequence[Sort], source: Source) -> list[Any]:
    """Return the sort values that a cursor of a query holds.

    Raises:
        CursorError: as `read_cursor`, or logs have other numbers by now.
    """
    values = read_cursor(cursor, mark, len(sorts) + sorts[-1].is_log)
    if sorts[-1].is_log:
        logs, log = values.pop(), values[-1]
        if type(log) is not int or not logs or source.logs_up_to(log) != logs:
            raise outdated(cursor)
    return values


def outdated(cursor: str) -> CursorError:
    """Return the error for a cursor whose sort values mean something else here and now."""
    return CursorError(
        f"the cursor {cursor[:40]!r} belongs to another query, or is of before a migration, or another type, of what it sorts "
        f"by, or of several users' records in another order; {_AGAIN}"
    )


def behind(sorts: Sequence[Sort], values: Sequence[Any], owners: frozenset[str]) -> Leaf:
    """Return the condition that a row comes after the one with these sort values.

    Each term narrows by a plain comparison first, which an index can use.
    """
    text = "0"
    bound: tuple[object, ...] = ()
    for term, value in zip(reversed(sorts), reversed(values), strict=True):
        at, of = term.sql, term.bindings
        if value is None and term.descending:  # nulls are last: only equal ones remain
            text, bound = f"({at} IS NULL AND {text})", (*of, *bound)
        elif value is None:
            text, bound = f"({at} IS NOT NULL OR {text})", (*of, *bound)
        else:
            more = "<" if term.descending else ">"
            text = f"({at} {more}= ? AND ({at} {more} ? OR {text}))"
            bound = (*of, value, *of, value, *bound)
            if term.descending and term.nullable:
                text, bound = f"({text} OR {at} IS NULL)", (*bound, *of)
    return Leaf(text, bound, owners)


def _can_be_bound(value: object) -> bool:
    if type(value) is int:
        return -(2**63) <= value < 2**63
    return value is None or type(value) in (str, bytes, float)
