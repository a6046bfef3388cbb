"""Async tests run under trio, and properties try the same examples each time; nothing else is shared by all tests.

`HYPOTHESIS_PROFILE=search make test` tries other examples than the last time.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as whatever a shell starts in its background: tests interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes is for benchmarks to say, not for tests on a machine that does other things beside.
settings.register_profile("timeless", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("timeless"), derandomize=True)
settings.register_profile("search", settings.get_profile("timeless"), print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test with `trio.run`; async fixtures are async context managers the test enters."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    trio.run(functools.partial(pyfuncitem.obj, **wanted))
    return True
