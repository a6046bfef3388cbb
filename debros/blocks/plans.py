"""What every SQLite connection that binds values wants."""

from __future__ import annotations

from typing import Final

import apsw

ALONE: Final = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOMUTEX
"""Flags of a connection that no two threads use at a time: SQLite then takes no mutex for every value it is asked for."""


def keep_plans(db: apsw.Connection) -> None:
    """Have a statement keep its plan, whatever is bound to it (https://sqlite.org/queryplanner-ng.html#qpsg).

    An SQLite built with STAT4 compiles a statement anew whenever other values are bound to what it compares with indexed
    columns: that is most of what a short query costs, and for nothing, as there are no statistics to look them up in.
    """
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
