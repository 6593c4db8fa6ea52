"""The metrics of version 4: eight types, with defaults from `common`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metricsmith.errors import LimitExceeded, WireError
from metricsmith.wire.ohi.document import (
    NUMERIC_KINDS,
    Attributes,
    DistributionValue,
    Metric,
    MetricKind,
    SummaryValue,
    Value,
)
from metricsmith.wire.ohi.reading import Reading, number, shown

MAX_POINTS = 1000
"""Buckets of a histogram, quantiles of a summary."""
_KINDS = {kind.value: kind for kind in MetricKind}


def read(raw: Mapping[str, Any], reading: Reading, where: str) -> Iterator[Metric]:
    """Yield the metrics of a data set; those that cannot be used are told as oddities.

    A metric's own timestamp, interval and attributes win over those of `common`.

    Raises:
        WireError: `common` cannot be read, so that no metric can be understood.
        LimitExceeded: too many metrics or attributes.
    """
    common = reading.mapping(raw, "common", where)
    time_ms = reading.time_ms(common.get("timestamp"), f"{where}.common")
    interval = _interval(common, f"{where}.common")
    shared = _attributes(common, reading, f"{where}.common")
    for index, item in enumerate(reading.objects(raw, "metrics", where)):
        here = f"{where}.metrics[{index}]"
        kind = _KINDS.get(str(item.get("type")))
        if kind is None:
            reading.odd("type", f"{here}: got type {shown(item.get('type'))}, wanted {', '.join(_KINDS)}")
            continue
        name = item.get("name")
        try:
            if not isinstance(name, str) or not name:
                raise WireError(f"{here}.name: got {shown(name)}, wanted text")
            own_time = reading.time_ms(item.get("timestamp"), here)
            own_interval = _interval(item, here)
            value = _value(kind, item.get("value"), here)
            own = _attributes(item, reading, here)
        except LimitExceeded:
            raise
        except WireError as error:
            reading.odd("metric", str(error))
            continue
        yield Metric(
            name,
            kind,
            value,
            time_ms if own_time is None else own_time,
            interval if own_interval is None else own_interval,
            {**shared, **own} if own else shared,
        )


def _attributes(holder: Mapping[str, Any], reading: Reading, where: str) -> Attributes:
    return reading.attributes(reading.mapping(holder, "attributes", where), f"{where}.attributes")


def _interval(holder: Mapping[str, Any], where: str) -> float | None:
    raw = holder.get("interval.ms")
    if raw is None:
        return None
    interval = number(raw, f"{where}.interval.ms")
    if interval < 0:
        raise WireError(f"{where}.interval.ms: got {raw}, wanted milliseconds")
    return interval or None


def _value(kind: MetricKind, raw: Any, where: str) -> Value:
    here = f"{where}.value"
    if kind in NUMERIC_KINDS:
        return number(raw, here)
    if not isinstance(raw, dict):
        raise WireError(f"{here}: got {shown(raw)}, wanted an object for type {kind}")
    if kind is MetricKind.SUMMARY:
        return SummaryValue(
            number(raw.get("count"), f"{here}.count"),
            number(raw.get("sum"), f"{here}.sum"),
            _optional(raw.get("min"), f"{here}.min"),
            _optional(raw.get("max"), f"{here}.max"),
        )
    if kind is MetricKind.PROMETHEUS_SUMMARY:
        points = _points(raw, "quantiles", "quantile", "value", here)
    else:
        points = _points(raw, "buckets", "upper_bound", "cumulative_count", here)
    count = _optional(raw.get("sample_count"), f"{here}.sample_count") or 0.0
    return DistributionValue(count, _optional(raw.get("sample_sum"), f"{here}.sample_sum") or 0.0, points)


def _optional(raw: Any, where: str) -> float | None:
    return None if raw is None else number(raw, where)


def _points(
    raw: Mapping[str, Any], key: str, at: str, value: str, where: str
) -> tuple[tuple[float, float], ...]:
    # Go leaves out zeros: a missing field is 0. A null stands for what JSON does not have, as NaN.
    items = raw.get(key)
    if items is None:
        return ()
    if not isinstance(items, list) or len(items) > MAX_POINTS:
        raise WireError(f"{where}.{key}: got {shown(items)}, wanted a list of at most {MAX_POINTS}")
    found = {}
    for item in items:
        if not isinstance(item, dict):
            raise WireError(f"{where}.{key}: got {shown(item)}, wanted objects with {at} and {value}")
        bound = number(item.get(at, 0), f"{where}.{key}.{at}")
        if item.get(value, 0) is not None:
            found[bound] = number(item.get(value, 0), f"{where}.{key}.{value}")
    return tuple(sorted(found.items()))
