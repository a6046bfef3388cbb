"""Threads of a test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

SOON_S: Final = 20  # of real time, behind which something waits for ever


def in_thread(function: Callable[[], Any]) -> Any:
    """Call a function in a thread of its own, which ends; return what it gave, or raised."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(function())
        except Exception as error:  # for the test to look at
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SOON_S)
    assert not thread.is_alive(), "it waits for ever"
    return found[0]
