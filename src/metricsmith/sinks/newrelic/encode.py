"""Bodies of the Metric API: what does not change of a point is made once per layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from metricsmith.model.arrays import F64, I64
from metricsmith.model.batch import Layout
from metricsmith.model.labels import split_key
from metricsmith.model.series import SeriesTable
from metricsmith.sinks.newrelic.attributes import (
    MAX_ATTRIBUTES,
    MAX_NAME,
    RESERVED_IN_METRICS,
    attributes,
    metric_name,
)
from metricsmith.sinks.newrelic.points import Kind, Points

_TYPES = {Kind.GAUGE: b"gauge", Kind.COUNT: b"count", Kind.SUMMARY: b"summary"}
# What a histogram tells does not say which was the smallest and which the largest: null, as New Relic's SDKs
# send what they do not know.
_BEFORE_VALUE = {Kind.SUMMARY: b'{"min":null,"max":null,"count":'}


@dataclass(frozen=True, slots=True)
class Heads:
    """The points of one type in a layout: where they are, and what stands before each value.

    That is the end of the point before it, too: a request is put together of few and large pieces.
    """

    kind: Kind
    places: I64
    texts: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Encoded:
    """What is known of a layout: points by type, and the series that New Relic would not take, with why."""

    heads: Sequence[Heads]
    refused: Mapping[int, str]


class MetricEncoder:
    """Encodes points; `common` are the attributes of all."""

    def __init__(self, table: SeriesTable, common: dict[str, str | float | bool]) -> None:
        self._table, self._common, self._common_text = table, common, orjson.dumps(common)

    def body(self, batches: Sequence[Points]) -> tuple[bytes, dict[int, str]]:
        """Return a request's JSON, empty when nothing is left, and the refused series with reasons."""
        parts: list[bytes] = []
        refused: dict[int, str] = {}
        for points in batches:
            encoded = self._encoded(points)
            refused |= encoded.refused
            for heads in encoded.heads:
                parts.append(b"," if parts else b"[")
                parts += self._block(points, heads)
        return b"".join([*parts, b"]"] if parts else []), refused

    def _encoded(self, points: Points) -> Encoded:
        return points.layout.derive(self, lambda layout: self._heads(layout, points.kind))

    def _heads(self, layout: Layout, kinds: I64) -> Encoded:
        found, refused = [], {}
        for kind in Kind:
            places: list[int] = []
            texts: list[bytes] = []
            for place in np.flatnonzero(kinds == kind).tolist():
                series = int(layout.ids[place])
                text = self._text(series, kind)
                if isinstance(text, bytes):
                    places.append(place)
                    texts.append(b"}," + text if texts else text)
                else:
                    refused[series] = text
            if places:
                found.append(Heads(kind, np.array(places, dtype=np.int64), texts))
        return Encoded(found, refused)

    def _text(self, series: int, kind: Kind) -> bytes | str:
        """Return what stands before a point's value; a text says why it would be refused."""
        key = self._table.key(series)
        name, pairs = split_key(key)
        metric = metric_name(name.decode())
        if not 0 < len(metric) <= MAX_NAME:
            return f"got a name of {len(metric)} characters, wanted 1 to {MAX_NAME}"
        reserved = RESERVED_IN_METRICS | {metric}
        own = attributes(((n.decode(), v.decode()) for n, v in pairs), reserved)
        if (number := len(own | self._common)) > MAX_ATTRIBUTES:
            return f"got {number} attributes, wanted at most {MAX_ATTRIBUTES}"
        return b'{"name":%b,"type":"%b","attributes":%b,"value":%b' % (
            orjson.dumps(metric),
            _TYPES[kind],
            orjson.dumps(own),
            _BEFORE_VALUE.get(kind, b""),
        )

    def _block(self, points: Points, heads: Heads) -> list[bytes]:
        """Return points of one type, in pieces; a time and interval that all share is said once."""
        places, kind = heads.places, heads.kind
        interval = points.interval_ms[places]
        starts = points.times()[places] - interval
        common = b'"attributes":%b' % self._common_text
        values = _numbers(points.value[places])
        if kind is Kind.SUMMARY:
            pairs = zip(_numbers(points.count[places]), values, strict=True)
            values = [b'%b,"sum":%b}' % pair for pair in pairs]
        if (starts == starts[0]).all() and (interval == interval[0]).all():
            common += _span(kind, int(starts[0]), int(interval[0]))
        else:
            spans = zip(values, starts.tolist(), interval.tolist(), strict=True)
            values = [value + _span(kind, start, length) for value, start, length in spans]
        parts: list[bytes] = [b""] * (2 * len(places))
        parts[0::2], parts[1::2] = heads.texts, values
        return [b'{"common":{%b},"metrics":[' % common, *parts, b"}]}"]


def _span(kind: Kind, start_ms: int, length_ms: int) -> bytes:
    length = b"" if kind is Kind.GAUGE else b',"interval.ms":%d' % length_ms
    return b',"timestamp":%d%b' % (start_ms, length)


def _numbers(values: F64) -> list[bytes]:
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
