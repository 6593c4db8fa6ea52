"""The agent's own metrics: counted here, declared in `own_metrics`, never silent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from metricsmith.model.clock import Clock, SystemClock
from metricsmith.model.metadata import MetricType
from metricsmith.model.own_metrics import OWN_METRICS, OwnMetric

LOG_EVERY_S = 30.0
"""A problem with the same counter, labels and subject is logged at most this often."""
MAX_SUBJECTS = 1000
"""Subjects told apart at a time; what more there are share a line."""

_Key: TypeAlias = tuple[str, ...]
_silent: ContextVar[bool] = ContextVar("_silent", default=False)

disable_created_metrics()  # type: ignore[no-untyped-call]  # start times are a gauge of ours


class Telemetry:
    """Own metrics of one runtime, in a registry of its own.

    Only metrics declared in `OWN_METRICS` exist: another name is a KeyError,
    so an undeclared metric fails the first test that reaches it.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock or SystemClock()
        self._metrics: dict[str, Any] = {m.name: _make(m, self.registry) for m in OWN_METRICS}
        self._logged: dict[_Key, tuple[float, int]] = {}
        self._logged_subjects: dict[_Key, tuple[float, int]] = {}

    @staticmethod
    @contextmanager
    def silence() -> Iterator[None]:
        """Count nothing and log no problem within: what is done again was told when it was done first.

        Others, in other threads and tasks, are heard meanwhile.
        """
        token = _silent.set(True)
        try:
            yield
        finally:
            _silent.reset(token)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        if _silent.get():
            return
        self._child(name, labels).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._child(name, labels).set(value)

    def watch(self, name: str, read: Callable[[], float], **labels: str) -> None:
        """Have a gauge read its value when it is collected."""
        self._child(name, labels).set_function(read)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add an observation to a histogram."""
        self._child(name, labels).observe(value)

    def value(self, name: str, **labels: str) -> float:
        """Return the present value of a counter or gauge."""
        return float(self._child(name, labels)._value.get())

    def forget(self, name: str, **labels: str) -> None:
        """Remove one label set of a metric, when what it describes has gone."""
        self._metrics[name].remove(*(labels[n] for n in self._metrics[name]._labelnames))

    def problem(
        self,
        log: logging.Logger,
        name: str,
        message: str,
        *,
        amount: float = 1,
        level: int = logging.WARNING,
        subject: str = "",
        **labels: str,
    ) -> None:
        """Count a problem and log it, at most once in LOG_EVERY_S per counter, labels and subject.

        A `subject` is what must not hide another in the log though both are
        counted together, such as one target of many.
        """
        if _silent.get():
            return
        self.count(name, amount, **labels)
        now = self._clock.monotonic()
        logged, key = self._logged, (name, *labels.values())
        if subject and self._has_room(subjected := (*key, subject), now):
            logged, key = self._logged_subjects, subjected
        last, held_back = logged.get(key, (-LOG_EVERY_S, 0))
        if now - last < LOG_EVERY_S:
            logged[key] = (last, held_back + 1)
            return
        logged.pop(key, None)  # so that the first is the one logged longest ago
        logged[key] = (now, 0)
        log.log(level, "%s%s", message, f" (and {held_back} more like it)" if held_back else "")

    def _has_room(self, key: _Key, now: float) -> bool:
        """Whether a subject is remembered or can be, in place of one whose time has passed."""
        subjects = self._logged_subjects
        if key in subjects or len(subjects) < MAX_SUBJECTS:
            return True
        oldest = next(iter(subjects))
        if now - subjects[oldest][0] < LOG_EVERY_S:
            return False
        del subjects[oldest]
        return True

    def _child(self, name: str, labels: dict[str, str]) -> Any:
        metric = self._metrics[name]
        return metric.labels(**labels) if labels else metric


def _make(spec: OwnMetric, registry: CollectorRegistry) -> Any:
    # The client appends `_total` and the unit itself; the declared name is the exposed one.
    match spec.type:
        case MetricType.COUNTER:
            return Counter(spec.name, spec.help, spec.labels, registry=registry)
        case MetricType.GAUGE:
            return Gauge(spec.name, spec.help, spec.labels, registry=registry)
        case MetricType.HISTOGRAM:
            return Histogram(spec.name, spec.help, spec.labels, registry=registry, buckets=spec.buckets)
    raise ValueError(f"{spec.name}: own metrics are counters, gauges or histograms, got {spec.type}")
