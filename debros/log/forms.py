"""The form of names, ids and changes: what the fold takes, and what a writer may write.

A known key of a change of another form than docs/format.md, Changes, states makes the whole change skipped;
unknown keys are ignored.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

MAX_ID: Final = 128  # bytes of UTF-8
MAX_NAME: Final = 63  # characters of a model or field name
MAX_DOTS: Final = 256  # of one value in one change
DOT_SIZE: Final = 32
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1

_MANY_NAMES: Final = 256
_GOOD_NAMES: Final[set[tuple[str, ...]]] = set()  # fields that changes name together, over and over
_NOTHING: Final[dict[str, Any]] = {}
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


def is_name(name: str) -> bool:
    """Is this a name of a model or a field: `[A-Za-z_][A-Za-z0-9_]{0,62}`?"""
    return len(name) <= MAX_NAME and _is_identifier(name)  # so that nothing long is ever kept in memory


@lru_cache(maxsize=4096)
def _is_identifier(name: str) -> bool:
    return name.isascii() and name.isidentifier()


def is_id(id: str) -> bool:
    """Is this text an id: 1..128 bytes of UTF-8 without control characters (U+0000..001F, 007F..009F)?"""
    if id.isascii() and id.isprintable():  # of ASCII, all but the control characters is printable
        return 0 < len(id) <= MAX_ID
    return len(id) <= MAX_ID and len(id.encode()) <= MAX_ID and _CONTROL.search(id) is None


def is_change(change: object) -> bool:
    """Is this a change whose known keys have their form?"""
    if type(change) is not dict:
        return False
    get = change.get
    put, inc, add = get("put", _NOTHING), get("inc", _NOTHING), get("add", _NOTHING)
    if type(put) is not dict or (tuple(put) not in _GOOD_NAMES and not _is_fields(put)):
        return False
    if inc is not _NOTHING and not _is_inc(inc):
        return False
    if add is not _NOTHING and not _is_add(add):
        return False
    if "rem" in change and not _is_rem(change["rem"]):
        return False
    if "keep" in change and not _is_keep(change["keep"]):
        return False
    return type(get("live", True)) is bool


def _is_fields(fields: Any) -> bool:
    if type(fields) is not dict:
        return False
    names = tuple(fields)
    if names in _GOOD_NAMES:
        return True
    if not all(map(is_name, names)):
        return False
    if len(names) <= _MANY_NAMES and len(_GOOD_NAMES) < _MANY_NAMES:
        _GOOD_NAMES.add(names)
    return True


def _is_inc(fields: Any) -> bool:
    if not _is_fields(fields):
        return False
    for n in fields.values():  # noqa: SIM110 - `all` of a generator takes twice the time, here and below
        if type(n) is not int or not INT_MIN <= n <= INT_MAX:
            return False
    return True


def _is_add(fields: Any) -> bool:
    if not _is_fields(fields):
        return False
    for values in fields.values():  # noqa: SIM110 - as above
        if type(values) is not list:
            return False
    return True


def _is_rem(fields: Any) -> bool:
    if not _is_fields(fields):
        return False
    return all(type(ends) is list and all(_is_dotted(end, 1) for end in ends) for ends in fields.values())


def _is_keep(fields: Any) -> bool:
    return _is_fields(fields) and all(_is_dotted(kept, 0) for kept in fields.values())


def _is_dotted(pair: Any, least: int) -> bool:
    """Is this `[value, [dots]]`, the dots ascending, each once?"""
    if type(pair) is not list or len(pair) != 2 or type(pair[1]) is not list:
        return False
    dots = pair[1]
    if not least <= len(dots) <= MAX_DOTS or not all(type(dot) is bytes and len(dot) == DOT_SIZE for dot in dots):
        return False
    return all(first < second for first, second in pairwise(dots))
