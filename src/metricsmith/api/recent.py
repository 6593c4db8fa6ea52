"""The newest messages in a store: samples of series that share service, tags and time, put together.

The store is read backwards in growing spans of time, so that asking for the newest hundred does not
read the history.
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metricsmith.errors import QueryLimitExceeded
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.labels import decode_labels, metric_name
from metricsmith.model.matchers import Matcher
from metricsmith.model.selection import Selection
from metricsmith.promql.series_labels import drop_name
from metricsmith.store_contracts import Queryable
from metricsmith.wire.messages import SERVICE, format_timestamp, json_value

FIRST_SPAN_MS = 60_000
LONGEST_SPAN_MS = 2 * 86_400_000
SPAN_GROWTH = 4
MAX_SAMPLES = 10_000_000
"""Most samples to look through at once; a span that holds more is made shorter."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended: messages go on behind this time and, at the time itself, behind this group."""

    time_ms: int
    group: bytes

    def text(self) -> str:
        """Return the cursor as clients carry it."""
        return base64.urlsafe_b64encode(b"%d:%s" % (self.time_ms, self.group)).decode()

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Return the cursor of a text, or None when it is not one of ours."""
        try:
            time, mark, group = base64.b64decode(text.encode(), b"-_", validate=True).partition(b":")
            return cls(int(time), group) if mark and len(time) <= 17 else None
        except (ValueError, binascii.Error):
            return None


@dataclass(frozen=True, slots=True)
class _Samples:
    """Flat samples; `group` and `series` are indices into sorted groups and into keys.

    Shapes:
        time_ms, group, series, value: (P,)
    """

    time_ms: I64
    group: I64
    series: I64
    value: F64

    def where(self, kept: Bool) -> _Samples:
        """Return the samples that a mask keeps."""
        return _Samples(self.time_ms[kept], self.group[kept], self.series[kept], self.value[kept])


def recent_messages(
    store: Queryable,
    matchers: Sequence[Matcher],
    start_ms: int,
    end_ms: int,
    limit: int,
    after: Cursor | None,
) -> tuple[list[dict[str, Any]], Cursor | None]:
    """Return up to `limit` messages, newest first, and a cursor where more follow.

    Messages of one time come in the order of their labels.

    Raises:
        QueryLimitExceeded: one time holds more than MAX_SAMPLES.
    """
    found: list[dict[str, Any]] = []
    last: Cursor | None = None
    until_ms = end_ms if after is None else min(end_ms, after.time_ms)
    span_ms = FIRST_SPAN_MS
    while until_ms >= start_ms:
        from_ms = max(start_ms, until_ms - span_ms + 1)
        try:
            selection = store.select(matchers, from_ms, until_ms, MAX_SAMPLES)
        except QueryLimitExceeded as error:
            span_ms = _shorter(until_ms - from_ms + 1, error)
            continue
        for message, place in _messages(selection, limit + 1 - len(found), after):
            if len(found) == limit:
                return found, last
            found.append(message)
            last = place
        until_ms, span_ms = from_ms - 1, min(span_ms * SPAN_GROWTH, LONGEST_SPAN_MS)
    return found, None


def _shorter(span_ms: int, too_many: QueryLimitExceeded) -> int:
    if span_ms <= 1:
        raise QueryLimitExceeded(
            f"got over {MAX_SAMPLES} samples of one time to look through, wanted at most that many: "
            "give a metric or a service",
            "samples",
        ) from too_many
    return max(1, span_ms // SPAN_GROWTH)


def _messages(selection: Selection, wanted: int, after: Cursor | None) -> list[tuple[dict[str, Any], Cursor]]:
    groups = [drop_name(key) for key in selection.keys]
    names = sorted(set(groups))
    number = {name: i for i, name in enumerate(names)}
    group_of = np.array([number[g] for g in groups], dtype=np.int64)
    samples = _flatten(selection, group_of)
    if after is not None:
        behind = bisect_right(names, after.group)
        samples = samples.where((samples.time_ms < after.time_ms) | (samples.group >= behind))
    samples = _newest(samples, wanted * int(np.bincount(group_of).max(initial=1)))
    order = np.lexsort((samples.series, samples.group, -samples.time_ms))
    times, series = samples.time_ms[order].tolist(), samples.series[order].tolist()
    group, values = samples.group[order].tolist(), samples.value[order].tolist()
    found: list[tuple[dict[str, Any], Cursor]] = []
    metrics: dict[str, float | str] = {}
    before = None
    for time_ms, row, member, value in zip(times, series, group, values, strict=True):
        if (time_ms, member) != before:
            if len(found) == wanted:
                break
            before, metrics = (time_ms, member), {}
            found.append((_message(names[member], time_ms, metrics), Cursor(time_ms, names[member])))
        metrics[metric_name(selection.keys[row])] = json_value(value)
    return found


def _message(group: bytes, time_ms: int, metrics: dict[str, float | str]) -> dict[str, Any]:
    tags = decode_labels(group)
    service = tags.pop(SERVICE, "")
    return {"service": service, "timestamp": format_timestamp(time_ms), "metrics": metrics, "tags": tags}


def _newest(samples: _Samples, count: int) -> _Samples:
    """Return at least the `count` newest samples, with all that share the oldest time among them."""
    surplus = len(samples.time_ms) - count
    if surplus <= 0:
        return samples
    return samples.where(samples.time_ms >= np.partition(samples.time_ms, surplus)[surplus])


def _flatten(selection: Selection, group_of: I64) -> _Samples:
    times, rows, values = [], [], []
    for matrix in selection.matrices:
        live = slice(None) if matrix.stale is None else ~matrix.stale
        kept = matrix.times[live]
        times.append(np.tile(kept, len(matrix.rows)))
        rows.append(np.repeat(matrix.rows, len(kept)))
        values.append(matrix.values[:, live].ravel())
    if selection.ragged is not None:
        ragged = selection.ragged
        row = np.repeat(ragged.rows, np.diff(ragged.offsets))
        live = slice(None) if ragged.stale is None else ~ragged.stale
        times.append(ragged.times[live])
        rows.append(row[live])
        values.append(ragged.values[live])
    if not times:
        empty = np.empty(0, dtype=np.int64)
        return _Samples(empty, empty, empty, np.empty(0))
    series = np.concatenate(rows)
    return _Samples(np.concatenate(times), group_of[series], series, np.concatenate(values))
