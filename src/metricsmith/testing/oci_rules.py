"""What OCI Monitoring takes in a call, as published: of a call as a whole, and of each metric in it.

Source: the reference of PostMetricData and of MetricDataDetails, version 20180401. The size of a body is
that of OCI's services in general.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MAX_BODY_BYTES = 1 << 20
MAX_STREAMS = 50
MAX_PAST_MS, MAX_AHEAD_MS = 7_200_000, 600_000

_NAMESPACE = re.compile(r"(?!oci_|oracle_)[A-Za-z][A-Za-z0-9_]{0,255}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._$-]{0,254}")
_KEY = re.compile(r"[!-~]{1,256}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_KNOWN = {"namespace", "compartmentId", "resourceGroup", "name", "dimensions", "metadata", "datapoints"}

Dimensions = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One value as the service keeps it."""

    namespace: str
    compartment: str
    resource_group: str | None
    name: str
    dimensions: Dimensions
    time_ms: int
    value: float

    @property
    def stream(self) -> tuple[str, Dimensions]:
        """What it is a value of."""
        return self.name, self.dimensions


class Refused(ValueError):
    """A call as a whole is refused."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(message)


def read_call(body: bytes) -> list[dict[str, Any]]:
    """Return the metrics of a call.

    Raises:
        Refused: it is too large, malformed, or has too many streams.
    """
    if len(body) > MAX_BODY_BYTES:
        raise Refused(413, "RequestEntityTooLarge", f"more than {MAX_BODY_BYTES} bytes")
    try:
        metrics = json.loads(body, parse_constant=_no_constant)["metricData"]
        streams = {(m["namespace"], m["name"], tuple(sorted(m["dimensions"].items()))) for m in metrics}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(400, "CannotParseRequest", f"not a call: {error!r}") from None
    if not metrics:
        raise Refused(400, "InvalidParameter", "no metrics")
    if len(streams) > MAX_STREAMS:
        raise Refused(400, "InvalidParameter", f"{len(streams)} streams, at most {MAX_STREAMS} are taken")
    return list(metrics)


def points_of(metric: dict[str, Any], now_ms: int) -> list[Point] | str:
    """Return the points of a metric, or why it is refused."""
    if unknown := set(metric) - _KNOWN:
        return f"unknown field {min(unknown)}"
    namespace, name, group = metric["namespace"], metric["name"], metric.get("resourceGroup")
    if not _NAMESPACE.fullmatch(namespace):
        return f"invalid namespace {namespace}"
    if not _NAME.fullmatch(name):
        return f"invalid metric name {name}"
    if group is not None and not _NAME.fullmatch(group):
        return f"invalid resource group {group}"
    if wrong := _wrong_dimensions(metric["dimensions"]):
        return wrong
    dimensions = tuple(sorted(metric["dimensions"].items()))
    found = []
    for datapoint in metric.get("datapoints", ()):
        time_ms, value = _time_ms(datapoint.get("timestamp")), datapoint.get("value")
        if time_ms is None or not now_ms - MAX_PAST_MS < time_ms < now_ms + MAX_AHEAD_MS:
            return f"timestamp {datapoint.get('timestamp')} is not near the current time"
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return f"invalid value {value!r}"
        found.append(Point(namespace, metric["compartmentId"], group, name, dimensions, time_ms, value))
    return found or "no datapoints"


def _wrong_dimensions(dimensions: dict[str, Any]) -> str:
    if not 1 <= len(dimensions) <= 20:
        return f"{len(dimensions)} dimensions, 1 to 20 are taken"
    for key, value in dimensions.items():
        if not _KEY.fullmatch(key):
            return f"invalid dimension key {key!r}"
        if not isinstance(value, str) or not 1 <= len(value) <= 512:
            return f"invalid value of dimension {key}"
    return ""


def _time_ms(text: Any) -> int | None:
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        return None
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
