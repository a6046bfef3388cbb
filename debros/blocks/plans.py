"""What every SQLite connection that binds values wants."""

from __future__ import annotations

import apsw


def keep_plans(db: apsw.Connection) -> None:
    """Have a statement keep its plan, whatever is bound to it (https://sqlite.org/queryplanner-ng.html#qpsg).

    An SQLite built with STAT4 compiles a statement anew whenever other values are bound to what it compares with indexed
    columns: that is most of what a short query costs, and for nothing, as there are no statistics to look them up in.
    """
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
