"""The agent's own metrics: counted here, declared in `own_metrics`, never silent."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from metricsmith.model.clock import Clock, SystemClock
from metricsmith.model.metadata import MetricType
from metricsmith.model.own_metrics import OWN_METRICS, OwnMetric

LOG_EVERY_S = 30.0
"""A problem with the same counter and labels is logged at most this often."""

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
        self._logged: dict[tuple[object, ...], tuple[float, int]] = {}

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
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
        **labels: str,
    ) -> None:
        """Count something that went wrong and log it, at most once in LOG_EVERY_S per counter and labels."""
        self.count(name, amount, **labels)
        key = (name, *labels.values())
        now = self._clock.monotonic()
        last, held_back = self._logged.get(key, (-LOG_EVERY_S, 0))
        if now - last < LOG_EVERY_S:
            self._logged[key] = (last, held_back + 1)
            return
        self._logged[key] = (now, 0)
        log.log(level, "%s%s", message, f" (and {held_back} more like it)" if held_back else "")

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
