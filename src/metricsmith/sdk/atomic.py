"""Updates that no other thread can split, without a lock where the interpreter allows it.

CPython from 3.10 on looks for another thread that wants to run only after calls, at the start of functions
and at backward jumps. Between reading `self._value` and writing it back in `self._value += amount` there is
none of these, if `amount` is a float or an int, whose addition runs no Python code. So such a line is one
step for other threads, for signal handlers and for callbacks of the garbage collector; a lock would cost
three times as much, and dead-lock where one of those updates the metric that it interrupted.

This is how CPython works and no promise of the language. `tests/sdk/test_atomic.py` reads the byte code of
each method marked here on the interpreter in use, and counts under threads. Where there is no such GIL
(free-threaded builds, other interpreters) the decorator takes the child's lock, which may be taken again by
the same thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])

GIL: bool = (
    sys.implementation.name == "cpython"
    and "t" not in getattr(sys, "abiflags", "")
    and getattr(sys, "_is_gil_enabled", lambda: True)()
)
"""Whether updates are single steps without a lock.

Not in a free-threaded build whose GIL is on: it may be on only while an extension module is imported.
"""
METHODS: list[Callable[..., Any]] = []
"""What relies on single steps; for the test that reads their byte code."""


def atomic(method: Method) -> Method:
    """Return the method as it is where the GIL makes its updates single steps, else one that locks."""
    METHODS.append(method)
    return method if GIL else locked(method)


def locked(method: Method) -> Method:
    """Return the method, run under the lock of its instrument."""

    @wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            return method(self, *args, **kwargs)

    return run  # type: ignore[return-value]


def new_lock() -> Any:
    """Return a lock for one instrument, or none where it is not needed: a million of them would be 50 MB."""
    return None if GIL else RLock()
