"""Running trio so that the same seed gives the same run: virtual time, and an order of tasks that does not roll dice.

trio shuffles runnable tasks on purpose. Both private switches below are needed to make it repeatable; they are touched here and
nowhere else, and `check_switches` tells when a new trio has moved them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any, TypeVar

import trio
import trio._core._run
from trio.testing import MockClock

T = TypeVar("T")

run_module: Any = trio._core._run  # its switches are final for everybody else


def check_switches() -> None:
    """Raise `RuntimeError` if this trio cannot be made deterministic."""
    if not hasattr(run_module, "_ALLOW_DETERMINISTIC_SCHEDULING") or not hasattr(run_module, "_r"):
        raise RuntimeError(
            f"trio {version('trio')} has moved its switches; simulations would not repeat: pin an older one"
        )


def run(main: Callable[[], Awaitable[T]], seed: int) -> T:
    """Run `main` in virtual time; every run with this seed is the same, in every process."""
    check_switches()
    before = run_module._ALLOW_DETERMINISTIC_SCHEDULING
    run_module._ALLOW_DETERMINISTIC_SCHEDULING = True
    state = run_module._r.getstate()
    run_module._r.seed(seed)
    try:
        return trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        run_module._ALLOW_DETERMINISTIC_SCHEDULING = before
        run_module._r.setstate(state)
