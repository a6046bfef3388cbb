"""Constraints for `Annotated`: `Field[Annotated[str, MaxLen(200)]]`. They are pydantic's, under one roof."""

from __future__ import annotations

from annotated_types import Ge as Ge
from annotated_types import Gt as Gt
from annotated_types import Le as Le
from annotated_types import Lt as Lt
from annotated_types import MaxLen as MaxLen
from annotated_types import MinLen as MinLen
from pydantic import StringConstraints


def Pattern(regex: str) -> StringConstraints:
    """Text that this regular expression matches somewhere; `^` and `$` anchor it."""
    return StringConstraints(pattern=regex)
