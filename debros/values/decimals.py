"""Decimals as text that keeps their scale, and as keys that sort and compare like numbers.

A key is one byte for the sign (7f negative, 80 zero, 81 positive), then, for a positive number, the exponent of its
first digit as 4 bytes, biased by 2**31, and its digits in ASCII without trailing zeros. A negative number has the
complement of these bytes and a closing ff, so that a longer one sorts first. 1.5 and 1.50 have one key.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

MAX_DIGITS: Final = 38
_TEXT: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?(E[+-][0-9]{1,9})?")
_BIAS: Final = 2**31
_COMPLEMENT: Final = bytes(255 - n for n in range(256))


def is_canonical(text: str) -> bool:
    """Whether a text is what `str` gives of a finite decimal of at most 38 digits, with an exponent of at most nine."""
    if _TEXT.fullmatch(text) is None or len(text) > 64:
        return False
    number = Decimal(text)
    return len(number.as_tuple().digits) <= MAX_DIGITS and str(number) == text


def key_of(text: str) -> bytes:
    """Return the sort key of a decimal in canonical text."""
    number = Decimal(text)
    if not number:
        return b"\x80"
    digits = "".join(map(str, number.as_tuple().digits)).rstrip("0").encode()
    magnitude = (number.adjusted() + _BIAS).to_bytes(4, "big") + digits
    if number > 0:
        return b"\x81" + magnitude
    return b"\x7f" + magnitude.translate(_COMPLEMENT) + b"\xff"
