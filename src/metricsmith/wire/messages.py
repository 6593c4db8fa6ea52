"""Metric messages in JSON: one service, one time, several metrics, and tags.

    {"service": "a.b", "timestamp": "2024-01-01T12:00:00Z", "metrics": {"x": 1.5}, "tags": {"k": "v"}}

A message becomes one series per metric: name = metric, labels = service and tags. NaN and infinities
travel as the texts "NaN", "+Inf" and "-Inf". A time without a zone is UTC; a missing one is now.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from metricsmith.errors import FieldProblem, MessageError, WireError
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import NAME_LABEL, encode_pairs
from metricsmith.model.series import SeriesTable
from metricsmith.model.well_known import known_metadata

SERVICE = "service"
MAX_MESSAGES = 10_000
MAX_METRICS = 1_000
MAX_TAGS = 64
MAX_NAME_BYTES = 200
MAX_VALUE_BYTES = 2_000
MAX_PROBLEMS = 100

_FIELDS = frozenset({SERVICE, "timestamp", "metrics", "tags"})
_SPECIAL = {"NaN": math.nan, "+Inf": math.inf, "Inf": math.inf, "-Inf": -math.inf}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d{1,30}))?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The times that are accepted, and the time of a message that says none."""

    oldest_ms: int
    newest_ms: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class Message:
    """A checked message; `labels` are service and tags, without empty values."""

    time_ms: int
    labels: tuple[tuple[bytes, bytes], ...]
    metrics: Mapping[str, float]


def parse_message(body: bytes, times: TimeRange) -> Message:
    """Return the message of a JSON body.

    Raises:
        WireError: not JSON.
        MessageError: with every mistake found.
    """
    reader = _Reader(times)
    message = reader.message(_load(body), "")
    if message is None or reader.problems:
        raise MessageError(reader.problems)
    return message


def parse_batch(body: bytes, times: TimeRange) -> list[Message]:
    """Return the messages of a JSON body `{"metrics": [message, …]}`: all, or none.

    Raises:
        WireError: not JSON.
        MessageError: with every mistake found, MAX_PROBLEMS at most.
    """
    reader = _Reader(times)
    found = reader.batch(_load(body))
    if reader.problems:
        raise MessageError(reader.problems[:MAX_PROBLEMS])
    return found


def batch_of(messages: Sequence[Message], series: SeriesTable) -> Batch:
    """Return the samples of messages, in order.

    Shapes:
        returns: P, the number of metrics in all messages.
    """
    ids: list[int] = []
    times: list[int] = []
    values: list[float] = []
    known: dict[tuple[tuple[bytes, bytes], ...], dict[str, int]] = {}  # messages repeat their series
    for message in messages:
        found = known.setdefault(message.labels, {})
        for name in message.metrics:
            if name not in found:
                found[name] = series.intern(encode_pairs(name.encode(), message.labels))
            ids.append(found[name])
        values += message.metrics.values()
        times += [message.time_ms] * len(message.metrics)
    names = {name for found in known.values() for name in found}
    layout = Layout(np.array(ids, dtype=np.uint32), None, known_metadata(names))
    return Batch(layout, np.array(times, dtype=np.int64), np.array(values, dtype=np.float64))


def json_value(value: float) -> float | str:
    """Return a value as it stands in a message.

    >>> json_value(1.5), json_value(-math.inf)
    (1.5, '-Inf')
    """
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def parse_timestamp(text: str) -> int | None:
    """Return the milliseconds of an RFC 3339 time, whose zone may be missing (UTC), or None.

    >>> parse_timestamp("1970-01-01T00:00:01.5Z"), parse_timestamp("1970-01-01T01:00:00+01:00")
    (1500, 0)
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    date, time, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{time}{zone if zone and zone not in 'Zz' else '+00:00'}")
        return math.floor(moment.timestamp()) * 1000 + int(f"{fraction or ''}000"[:3])
    except (ValueError, OverflowError):
        return None


def format_timestamp(time_ms: int) -> str:
    """Return milliseconds as RFC 3339 in UTC, with a fraction unless it is zero.

    >>> format_timestamp(1500), format_timestamp(2000)
    ('1970-01-01T00:00:01.500Z', '1970-01-01T00:00:02Z')
    """
    text = datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{time_ms % 1000:03d}Z" if time_ms % 1000 else f"{text}Z"


def _load(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise WireError(f"got a body that is not JSON: {error}") from None


class _Reader:
    """Reads messages and notes every mistake, MAX_PROBLEMS and a few at most."""

    def __init__(self, times: TimeRange) -> None:
        self._times = times
        self.problems: list[FieldProblem] = []
        self._names: set[str] = set()  # metric names that have been found right

    def batch(self, document: Any) -> list[Message]:
        if not isinstance(document, dict) or not isinstance(document.get("metrics"), list):
            self._problem("metrics", document, 'an object {"metrics": [message, …]}')
            return []
        items = document["metrics"]
        self._refuse_unknown(document, frozenset({"metrics"}), "")
        if not 0 < len(items) <= MAX_MESSAGES:
            hint = "split the batch" if items else ""
            self._note("metrics", f"{len(items)} messages", f"1 to {MAX_MESSAGES}", hint)
            return []
        found = []
        for index, item in enumerate(items):
            if len(self.problems) >= MAX_PROBLEMS:
                break
            message = self.message(item, f"metrics[{index}]")
            if message is not None:
                found.append(message)
        return found

    def message(self, item: Any, where: str) -> Message | None:
        if not isinstance(item, dict):
            self._problem(where or "body", item, 'an object {"service", "timestamp", "metrics", "tags"}')
            return None
        prefix = f"{where}." if where else ""
        self._refuse_unknown(item, _FIELDS, prefix)
        service = self._service(item.get(SERVICE), f"{prefix}{SERVICE}")
        time_ms = self._time(item.get("timestamp"), f"{prefix}timestamp")
        metrics = self._metrics(item.get("metrics"), f"{prefix}metrics")
        tags = self._tags(item.get("tags"), f"{prefix}tags")
        return Message(time_ms, ((SERVICE.encode(), service.encode()), *tags), metrics)

    def _service(self, value: Any, where: str) -> str:
        if isinstance(value, str) and value and self._fits(value, MAX_NAME_BYTES):
            return value
        self._problem(where, value, f"a name of 1 to {MAX_NAME_BYTES} bytes without control characters")
        return ""

    def _time(self, value: Any, where: str) -> int:
        if value is None:
            return self._times.now_ms
        found = parse_timestamp(value) if isinstance(value, str) else None
        if found is None:
            self._problem(where, value, "RFC 3339, such as 2024-01-01T12:00:00Z")
            return 0
        if not self._times.oldest_ms <= found <= self._times.newest_ms:
            limits = [format_timestamp(t) for t in (self._times.oldest_ms, self._times.newest_ms)]
            late = found < self._times.oldest_ms
            hint = "older samples are past the retention" if late else "check the sender's clock"
            self._problem(where, value, f"a time from {limits[0]} to {limits[1]}", hint)
        return found

    def _metrics(self, value: Any, where: str) -> dict[str, float]:
        if not isinstance(value, dict) or not 0 < len(value) <= MAX_METRICS:
            self._problem(where, value, f"an object of 1 to {MAX_METRICS} names and numbers")
            return {}
        found = {}
        for name, number in value.items():
            if name not in self._names and not self._good_name(name, where):
                continue
            if type(number) in (float, int):
                found[name] = float(number)
            elif isinstance(number, str) and number in _SPECIAL:
                found[name] = _SPECIAL[number]
            else:
                self._problem(_field(where, name), number, 'a number, "NaN", "+Inf" or "-Inf"')
        return found

    def _good_name(self, name: str, where: str) -> bool:
        if name and self._fits(name, MAX_NAME_BYTES):
            self._names.add(name)
            return True
        wanted = f"a metric name of 1 to {MAX_NAME_BYTES} bytes without control characters"
        self._problem(_field(where, name), name, wanted)
        return False

    def _tags(self, value: Any, where: str) -> list[tuple[bytes, bytes]]:
        if value is None:
            return []
        if not isinstance(value, dict) or len(value) > MAX_TAGS:
            self._problem(where, value, f"an object of at most {MAX_TAGS} names and texts")
            return []
        found = []
        for name, text in value.items():
            field = _field(where, name)
            if name in (SERVICE, NAME_LABEL):
                taken = "the service" if name == SERVICE else "the metric's name"
                self._note(field, f'a tag called "{name}"', "another name", f"{name} is the label of {taken}")
            elif not name or not self._fits(name, MAX_NAME_BYTES):
                self._problem(field, name, f"a tag name of 1 to {MAX_NAME_BYTES} bytes")
            elif not isinstance(text, str) or not self._fits(text, MAX_VALUE_BYTES, control=True):
                self._problem(field, text, f"a text of at most {MAX_VALUE_BYTES} bytes")
            elif text:
                found.append((name.encode(), text.encode()))
        return found

    def _refuse_unknown(self, item: Mapping[str, Any], known: frozenset[str], prefix: str) -> None:
        for name in sorted(item.keys() - known):
            field = prefix + name[:MAX_NAME_BYTES]
            self._note(field, "an unknown field", "one of " + ", ".join(sorted(known)))

    @staticmethod
    def _fits(text: str, most: int, control: bool = False) -> bool:
        return len(text.encode()) <= most and (control or not _CONTROL.search(text))

    def _problem(self, field: str, got: Any, wanted: str, hint: str = "") -> None:
        self._note(field, _shown(got), wanted, hint)

    def _note(self, field: str, got: str, wanted: str, hint: str = "") -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(FieldProblem(field, got, wanted, hint))


def _field(where: str, name: str) -> str:
    return f"{where}.{name[:MAX_NAME_BYTES]}"


def _shown(value: Any) -> str:
    """Return a value as JSON, shortened; large ones only by kind and size."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = orjson.dumps(value).decode() if value is not None else "nothing"
    return text if len(text) <= 100 else f"{text[:100]}…"
