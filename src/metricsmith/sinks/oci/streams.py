"""Series as metric streams of the service: names and dimensions that it takes, found once per series."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from metricsmith.model.arrays import Bool
from metricsmith.model.batch import Layout
from metricsmith.model.labels import NAME_LABEL, PAIR
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable

MAX_DIMENSIONS = 20
MAX_KEY_CHARACTERS = 256
MAX_VALUE_CHARACTERS = 512

_CREATED = "_created"
_HAVE_CREATED = {MetricType.COUNTER, MetricType.HISTOGRAM, MetricType.SUMMARY}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._$-]")
_NOT_IN_KEYS = re.compile(r"[^!-~]|\.")  # the query language has no dots in keys

Stream = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and its dimensions in order of their keys."""


class NoStream(ValueError):
    """The service takes no stream for these labels; the message says why."""


def metric_name(name: str) -> str:
    """Return a metric name that the service takes: other characters become `_`, the first is a letter.

    >>> metric_name("job:errors:rate5m"), metric_name("_hidden"), metric_name("5xx_total")
    ('job_errors_rate5m', 'm_hidden', 'm_5xx_total')
    """
    clean = _NOT_IN_NAMES.sub("_", name)
    return clean if clean[:1].isalpha() else f"m_{clean.lstrip('_')}"


def dimension_key(label: str) -> str:
    """Return a key for a label: what is no printable ASCII, blanks and dots become `_`.

    >>> dimension_key("http.route name")
    'http_route_name'
    """
    return _NOT_IN_KEYS.sub("_", label) or "_"


def stream_of(labels: Mapping[str, str], without_labels: Mapping[str, str]) -> Stream:
    """Return the stream for a label set; `without_labels` are the dimensions of one that has none.

    Values are cut at the service's limit.

    Raises:
        NoStream: there is none.
    """
    if not (name := labels.get(NAME_LABEL, "")):
        raise NoStream("the series has no metric name")
    named = {label: value for label, value in labels.items() if label != NAME_LABEL} or without_labels
    dimensions = {dimension_key(label): value[:MAX_VALUE_CHARACTERS] for label, value in named.items()}
    if len(dimensions) < len(named):
        raise NoStream("two labels become one dimension key; rename one with a processor")
    if len(dimensions) > MAX_DIMENSIONS:
        raise NoStream(
            f"got {len(dimensions)} labels, wanted at most {MAX_DIMENSIONS}; drop some with a processor"
        )
    if longest := max((len(key) for key in dimensions if len(key) > MAX_KEY_CHARACTERS), default=0):
        raise NoStream(f"got a label name of {longest} characters, wanted at most {MAX_KEY_CHARACTERS}")
    return metric_name(name), tuple(sorted(dimensions.items()))


def is_creation_time(name: str, metadata: Mapping[str, Metadata]) -> bool:
    """Return whether a sample says when a counter, histogram or summary began; the name alone does not tell.

    >>> is_creation_time("orders_created", {"orders_total": Metadata(MetricType.COUNTER)})
    True
    """
    family = name.removesuffix(_CREATED)
    beside = (metadata.get(each) for each in (family, f"{family}_total"))
    return family != name and any(each is not None and each.type in _HAVE_CREATED for each in beside)


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What is sent of a layout's series.

    `heads` are the beginnings of their JSON objects, up to the datapoints;
    empty where there is no stream. `refused` says why there is none, by series.

    Shapes:
        has_stream, created: (P,)
    """

    heads: Sequence[str]
    has_stream: Bool
    created: Bool
    refused: Mapping[int, str]


class Streams:
    """Finds the streams of series; each is looked at once, and a layout's are kept with it."""

    def __init__(self, table: SeriesTable, without_labels: Mapping[str, str]) -> None:
        self._table, self._without_labels = table, without_labels
        self._heads: dict[int, str] = {}
        self._refused: dict[int, str] = {}
        self._owner: dict[str, int] = {}

    def plan(self, layout: Layout) -> StreamPlan:
        """Return what is sent of a layout."""
        plan: StreamPlan = layout.derive(self, self._plan)
        return plan

    def stream(self, series: int) -> Stream:
        """Return the stream of a series that has one."""
        return stream_of(self._table.labels(series), self._without_labels)

    def _plan(self, layout: Layout) -> StreamPlan:
        ids = layout.ids.tolist()
        heads = [self._head(series) for series in ids]
        names = (self._table.key(series).partition(PAIR)[0].decode() for series in ids)
        created = [is_creation_time(name, layout.metadata) for name in names]
        refused = {series: self._refused[series] for series in ids if series in self._refused}
        has_stream = [bool(head) for head in heads]
        return StreamPlan(
            heads, np.array(has_stream, dtype=np.bool_), np.array(created, dtype=np.bool_), refused
        )

    def _head(self, series: int) -> str:
        known = self._heads.get(series)
        if known is None:
            known = self._heads[series] = self._look_at(series)
        return known

    def _look_at(self, series: int) -> str:
        try:
            name, dimensions = self.stream(series)
        except NoStream as error:
            self._refused[series] = str(error)
            return ""
        known = orjson.dumps({"name": name, "dimensions": dict(dimensions)}).decode()
        if self._owner.setdefault(known, series) != series:
            # Their points would be mixed, and nobody could tell them apart.
            self._refused[series] = f"another series has the name {name} and the same dimensions already"
            return ""
        return known[:-1]
