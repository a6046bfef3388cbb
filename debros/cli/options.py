"""Options that verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

Flag: TypeAlias = Annotated[bool, Parameter(negative="")]
Json: TypeAlias = Annotated[bool, Parameter(name="--json", negative="")]
Yes: TypeAlias = Annotated[bool, Parameter(name=("--yes", "-y"), negative="")]
FileOrDash: TypeAlias = Annotated[Path, Parameter(allow_leading_hyphen=True)]  # `-` is a stream
HomePath: TypeAlias = Annotated[Path | None, Parameter(name="--home")]
