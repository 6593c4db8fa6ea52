"""What wraps a block or a function: times, exceptions, how many are under way. Sync and async."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class Wrapper:
    """A context manager that is a decorator, too, also of async functions until they are done."""

    def _fresh(self) -> Wrapper:
        """Return what one call of a decorated function enters."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        return False

    def __call__(self, f: Function) -> Function:
        from inspect import iscoroutinefunction

        if iscoroutinefunction(f):

            @wraps(f)
            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                with self._fresh():
                    return await f(*args, **kwargs)

        else:

            @wraps(f)
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                with self._fresh():
                    return f(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


class _Counting(Protocol):
    def inc(self, amount: float = 1) -> None: ...


class _Tracking(_Counting, Protocol):
    def dec(self, amount: float = 1) -> None: ...


class ExceptionCounter(Wrapper):
    """Counts exceptions of some types, and lets them pass."""

    def __init__(
        self, counter: _Counting, exception: type[BaseException] | tuple[type[BaseException], ...]
    ) -> None:
        self._counter, self._exception = counter, exception

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if isinstance(error, self._exception):
            self._counter.inc()
        return False


class InprogressTracker(Wrapper):
    """Adds one while within."""

    def __init__(self, gauge: _Tracking) -> None:
        self._gauge = gauge

    def __enter__(self) -> Self:
        self._gauge.inc()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._gauge.dec()
        return False


class Timer(Wrapper):
    """Gives the seconds within to a method of a metric. `duration` has them afterwards."""

    duration: float | None = None

    def __init__(self, metric: Any, callback_name: str) -> None:
        self._metric, self._callback_name = metric, callback_name
        self._now = metric._family.clock.monotonic

    def _fresh(self) -> Wrapper:
        return type(self)(self._metric, self._callback_name)

    def __enter__(self) -> Self:
        self._start = self._now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self.duration = self._now() - self._start
        getattr(self._metric, self._callback_name)(self.duration)
        return False

    def labels(self, *labelvalues: object, **labelkwargs: object) -> None:
        """Choose the label set, which may be known only at the end of the block."""
        self._metric = self._metric.labels(*labelvalues, **labelkwargs)
