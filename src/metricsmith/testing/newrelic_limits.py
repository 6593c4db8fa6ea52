"""What New Relic takes of a request, as its documentation says; what it drops later is told at once here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

HOUR_MS = 3_600_000
OLDEST_MS, NEWEST_MS = 48 * HOUR_MS, 24 * HOUR_MS
MAX_NAME, MAX_KEY, MAX_VALUE, MAX_ATTRIBUTES, MAX_EVENT_ATTRIBUTES = 255, 255, 4096, 100, 254
_KEY = re.compile(r"[A-Za-z0-9:._]+")
_EVENT_TYPE = re.compile(r"[A-Za-z0-9:_]{1,255}")
_RESERVED = {"interval.ms", "timestamp", "value", "common", "min", "max", "count", "sum", "metrics"}


class BadRequest(Exception):
    """Answered with 400: the structure of the payload is wrong."""


class Dropped(Exception):
    """Answered with 202, and dropped afterwards."""


@dataclass(frozen=True, slots=True)
class Point:
    """A data point as it was taken, with what its request had in common."""

    name: str
    type: str
    value: float | dict[str, float | None]
    timestamp: int
    interval_ms: int | None
    attributes: dict[str, Any]


def read_metrics(payload: Any, now_ms: int) -> Iterator[Point | Dropped]:
    """Yield the points of a payload of the Metric API.

    Raises:
        BadRequest: it is none.
    """
    if not isinstance(payload, list) or not payload:
        raise BadRequest("wanted a list of objects")
    for part in payload:
        if not isinstance(part, dict) or not isinstance(part.get("metrics"), list):
            raise BadRequest("wanted objects with a list of metrics")
        common = part.get("common", {})
        if not isinstance(common, dict) or not isinstance(common.get("attributes", {}), dict):
            raise BadRequest("wanted an object as common")
        for metric in part["metrics"]:
            if not isinstance(metric, dict):
                raise BadRequest("wanted objects as metrics")
            try:
                yield _point(metric, common, now_ms)
            except Dropped as error:
                yield error


def read_events(payload: Any, now_ms: int) -> Iterator[dict[str, Any] | Dropped]:
    """Yield the events of a payload of the Event API.

    Raises:
        BadRequest: it is none.
    """
    events = [payload] if isinstance(payload, dict) else payload
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise BadRequest("wanted events")
    for event in events:
        try:
            _check_event(event, now_ms)
            yield event
        except Dropped as error:
            yield error


def _point(metric: Mapping[str, Any], common: Mapping[str, Any], now_ms: int) -> Point:
    name, kind = metric.get("name"), metric.get("type", "gauge")
    if not isinstance(name, str) or not 0 < len(name) < MAX_NAME:
        raise Dropped(f"name {str(name)[:50]!r}")
    timestamp = metric.get("timestamp", common.get("timestamp"))
    _check_time(timestamp, now_ms)
    interval = metric.get("interval.ms", common.get("interval.ms"))
    value: Any = metric.get("value")
    if kind in ("count", "summary"):
        if not isinstance(interval, int) or interval <= 0:
            raise Dropped(f"{name}: interval.ms {interval!r}")
    elif kind != "gauge":
        raise Dropped(f"{name}: type {kind!r}")
    if kind == "summary":
        if not isinstance(value, dict) or value.keys() != {"count", "sum", "min", "max"}:
            raise Dropped(f"{name}: summary {value!r}")
        numbers = [value["count"], value["sum"], *(value[k] for k in ("min", "max") if value[k] is not None)]
    else:
        numbers = [value]
    if not all(_is_number(number) for number in numbers):
        raise Dropped(f"{name}: value {value!r}")
    if kind == "count" and value < 0:
        raise Dropped(f"{name}: count {value!r}")
    attributes = {**common.get("attributes", {}), **metric.get("attributes", {})}
    _check_attributes(attributes, {*_RESERVED, name}, MAX_ATTRIBUTES)
    return Point(name, kind, value, timestamp, interval if kind != "gauge" else None, attributes)


def _check_event(event: Mapping[str, Any], now_ms: int) -> None:
    if not isinstance(event.get("eventType"), str) or not _EVENT_TYPE.fullmatch(event["eventType"]):
        raise Dropped(f"eventType {event.get('eventType')!r}")
    if "timestamp" in event:
        _check_time(event["timestamp"], now_ms)
    _check_attributes(event, {"accountId", "appId"}, MAX_EVENT_ATTRIBUTES)
    if any(isinstance(value, bool) for value in event.values()):
        raise Dropped("a boolean in an event")


def _check_time(timestamp: Any, now_ms: int) -> None:
    if not isinstance(timestamp, int) or not now_ms - OLDEST_MS <= timestamp <= now_ms + NEWEST_MS:
        raise Dropped(f"timestamp {timestamp!r}")


def _check_attributes(attributes: Mapping[str, Any], reserved: set[str], most: int) -> None:
    if len(attributes) > most:
        raise Dropped(f"{len(attributes)} attributes")
    for key, value in attributes.items():
        if len(key) > MAX_KEY or not _KEY.fullmatch(key) or key in reserved:
            raise Dropped(f"attribute {key[:50]!r}")
        if isinstance(value, str):
            if len(value.encode()) > MAX_VALUE:
                raise Dropped(f"a value of {len(value)} characters")
        elif not isinstance(value, bool) and not _is_number(value):
            raise Dropped(f"{key}: {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
