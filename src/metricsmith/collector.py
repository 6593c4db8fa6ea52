"""What the author of a collector needs: a decorator, and values that know their type.

    from metricsmith.collector import collector, gauge

    @collector(interval="30s")
    def queue_depth():
        yield gauge("queue_depth", 3, {"queue": "mail"}, help="Messages that wait.")

A collector may give plain numbers, `(name, value, labels)`, a mapping of names to numbers, these values, or
metric families of `prometheus_client`; one at a time, or several by `yield` or in a list. This module
imports nothing but the standard library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

from metricsmith.model.duration import parse_duration

T = TypeVar("T", bound=Callable[..., Any])
MARK = "__metricsmith_collector__"
NO_LABELS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Value:
    """One sample with what is known of its metric; `type` is `gauge`, `counter` or `unknown`."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    type: str = "unknown"
    help: str = ""
    unit: str = ""


def gauge(
    name: str, value: float, labels: Mapping[str, str] = NO_LABELS, *, help: str = "", unit: str = ""
) -> Value:
    """Return the value of something that goes up and down.

    >>> gauge("queue_depth", 3, {"queue": "mail"}).type
    'gauge'
    """
    return Value(name, value, labels, "gauge", help, unit)


def counter(
    name: str, value: float, labels: Mapping[str, str] = NO_LABELS, *, help: str = "", unit: str = ""
) -> Value:
    """Return the value of something that only goes up; its name should end in `_total`."""
    return Value(name, value, labels, "counter", help, unit)


def untyped(
    name: str, value: float, labels: Mapping[str, str] = NO_LABELS, *, help: str = "", unit: str = ""
) -> Value:
    """Return a value of which it is not known how it moves."""
    return Value(name, value, labels, "unknown", help, unit)


@dataclass(frozen=True, slots=True)
class Options:
    """What a collector says of itself; None leaves it to the settings of the source.

    Units:
        milliseconds.
    """

    name: str = ""
    interval_ms: int | None = None
    timeout_ms: int | None = None
    max_samples: int | None = None
    max_series: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@overload
def collector(made: T, /) -> T: ...
@overload
def collector(
    *,
    name: str = "",
    interval: str | None = None,
    timeout: str | None = None,
    max_samples: int | None = None,
    max_series: int | None = None,
    labels: Mapping[str, str] = NO_LABELS,
) -> Callable[[T], T]: ...
def collector(
    made: Any = None,
    /,
    *,
    name: str = "",
    interval: str | None = None,
    timeout: str | None = None,
    max_samples: int | None = None,
    max_series: int | None = None,
    labels: Mapping[str, str] = NO_LABELS,
) -> Any:
    """Return a decorator that marks a function, or a class with `collect()`, and leaves it as it is.

    What is not given is left to the settings of the agent; `@collector` alone leaves all to them.

    Raises:
        ValueError: a duration or number that cannot be meant.

    >>> @collector(interval="10s")
    ... def answer():
    ...     return 42
    >>> answer(), options_of(answer).interval_ms
    (42, 10000)
    """
    for limit, what in ((max_samples, "max_samples"), (max_series, "max_series")):
        if limit is not None and limit < 1:
            raise ValueError(f"got {what} {limit}, wanted at least 1")
    options = Options(
        name, _duration(interval, "interval"), _duration(timeout, "timeout"), max_samples, max_series, labels
    )

    def mark(made: T) -> T:
        setattr(made, MARK, options)
        return made

    return mark if made is None else mark(made)


def options_of(made: Any) -> Options | None:
    """Return what the decorator was given, None when there was none."""
    found = getattr(made, MARK, None)
    return found if isinstance(found, Options) else None


def _duration(text: str | None, what: str) -> int | None:
    if text is None:
        return None
    try:
        duration_ms = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    if not duration_ms:
        raise ValueError(f'{what}: got "{text}", wanted a time above 0, such as 10s')
    return duration_ms
