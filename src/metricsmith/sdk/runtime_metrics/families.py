"""Readings that the modules of runtime metrics make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from metricsmith.sdk.reading import Reading, Sample

NO_LABELS: Mapping[str, str] = {}


def gauge(name: str, help: str, value: float) -> Reading:
    """Return a gauge without labels."""
    return Reading(name, "gauge", help, _unit(name), [Sample(name, NO_LABELS, value)])


def gauges(name: str, help: str, label: str, values: Iterable[tuple[str, float]]) -> Reading:
    """Return a gauge by one label."""
    samples = [Sample(name, {label: of}, value) for of, value in values]
    return Reading(name, "gauge", help, _unit(name), samples)


def counter(name: str, help: str, value: float) -> Reading:
    """Return a counter without labels; `name` has no `_total`."""
    return Reading(name, "counter", help, _unit(name), [Sample(f"{name}_total", NO_LABELS, value)])


def counters(name: str, help: str, label: str, values: Iterable[tuple[str, float]]) -> Reading:
    """Return a counter by one label."""
    samples = [Sample(f"{name}_total", {label: of}, value) for of, value in values]
    return Reading(name, "counter", help, _unit(name), samples)


def _unit(name: str) -> str:
    return next((unit for unit in ("bytes", "seconds") if name.endswith(f"_{unit}")), "")
