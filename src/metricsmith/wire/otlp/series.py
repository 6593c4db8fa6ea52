"""The series of OTLP points: resource, scope, metric and attributes to interned ids, remembered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from metricsmith.errors import LimitExceeded
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.wire.otlp.attributes import read_attributes
from metricsmith.wire.otlp.names import label_name
from metricsmith.wire.otlp.plan import TARGET_INFO
from metricsmith.wire.otlp.settings import OtlpSettings, Translation

CACHE_BYTES = 128 << 20
_ENTRY_BYTES = 200
_IDENTIFYING = ("service.name", "service.namespace", "service.instance.id")

Key = bytes | tuple[bytes, bytes]


@dataclass(slots=True)
class MetricSeries:
    """Series of one metric of one scope of one resource: attribute bytes as sent → ids."""

    name: str
    base: dict[str, str]
    known: dict[Key, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resource:
    """Labels of a resource for all of its series, and the id of its `target_info`."""

    labels: dict[str, str]
    info: int | None


class KnownSeries:
    """Finds the ids of points; what has been found is remembered within a memory budget."""

    def __init__(self, table: SeriesTable, settings: OtlpSettings, cache_bytes: int = CACHE_BYTES) -> None:
        self._table, self._settings = table, settings
        self._budget = self._room = cache_bytes
        self._resources: dict[bytes, Resource] = {}
        self._metrics: dict[tuple[bytes, bytes, str], MetricSeries] = {}
        self._new_room = 0

    def begin(self, most_new_bytes: int) -> None:
        """Begin a request, whose new series may take so many bytes of labels: short points make long ones."""
        self._new_room = most_new_bytes
        if self._room < 0:  # all at once: what is in use comes back with the next requests
            self._resources.clear()
            self._metrics.clear()
            self._room = self._budget

    def resource(self, attributes: bytes) -> Resource:
        """Return what a resource's attributes are to its series."""
        found = self._resources.get(attributes)
        if found is None:
            found = self._resources[attributes] = self._new_resource(attributes)
            self._room -= len(attributes) + _ENTRY_BYTES
        return found

    def metric(self, resource: bytes, scope: bytes, name: str, scope_labels: dict[str, str]) -> MetricSeries:
        """Return the series of a metric, named as in Prometheus."""
        key = (resource, scope, name)
        found = self._metrics.get(key)
        if found is None:
            labels = self.resource(resource).labels
            found = self._metrics[key] = MetricSeries(name, {**scope_labels, **labels})
            self._room -= len(resource) + len(scope) + len(name) + _ENTRY_BYTES
        return found

    def number(self, metric: MetricSeries, attributes: bytes) -> int:
        """Return the series of a point that is one number."""
        found = metric.known.get(attributes)
        if found is None:
            labels = self.labels(read_attributes(attributes))
            found = self._remember(metric, attributes, [{**labels, **metric.base, "__name__": metric.name}])
        return found[0]

    def histogram(self, metric: MetricSeries, attributes: bytes, bounds: bytes) -> tuple[int, ...]:
        """Return the series of a histogram: a bucket per bound, that of +Inf, count, sum."""
        return self._family(metric, attributes, bounds, "_bucket", "le", "+Inf")

    def summary(self, metric: MetricSeries, attributes: bytes, quantiles: bytes) -> tuple[int, ...]:
        """Return the series of a summary: one per quantile, count, sum."""
        return self._family(metric, attributes, quantiles, "", "quantile", "")

    def _family(
        self, metric: MetricSeries, attributes: bytes, numbers: bytes, suffix: str, label: str, last: str
    ) -> tuple[int, ...]:
        key = (attributes, numbers)
        found = metric.known.get(key)
        if found is None:
            common = {**self.labels(read_attributes(attributes)), **metric.base}
            texts = [np.format_float_positional(n, trim="-") for n in np.frombuffer(numbers, "<f8")]
            texts += [last] if last else []
            part = [{**common, label: text, "__name__": metric.name + suffix} for text in texts]
            ends = [{**common, "__name__": metric.name + end} for end in ("_count", "_sum")]
            found = self._remember(metric, key, [*part, *ends])
        return found

    def _remember(self, metric: MetricSeries, key: Key, series: Iterable[dict[str, str]]) -> tuple[int, ...]:
        keys = [encode_labels(labels) for labels in series]
        size = sum(map(len, keys))
        self._new_room -= size
        if self._new_room < 0:
            raise LimitExceeded("got a request whose new series have too many bytes of labels; send fewer")
        found = tuple(self._table.intern_many(keys).tolist())
        metric.known[key] = found
        self._room -= size + _ENTRY_BYTES
        return found

    def labels(self, attributes: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return attributes as labels; values of those that get the same name are joined by semicolons."""
        plain = self._settings.translation_strategy is Translation.NONE
        out: dict[str, str] = {}
        for key, value in sorted(attributes):
            name = key if plain else label_name(key)
            if name and name != "__name__":
                out[name] = f"{out[name]};{value}" if name in out else value
        return out

    def _new_resource(self, fields: bytes) -> Resource:
        attributes = dict(read_attributes(fields))
        name, space, instance = (attributes.get(key, "") for key in _IDENTIFYING)
        own = {"job": f"{space}/{name}" if space and name else name, "instance": instance}
        promoted = [
            (key, attributes[key]) for key in self._settings.promote_resource_attributes if key in attributes
        ]
        own = {key: value for key, value in own.items() if value}
        others = {k: v for k, v in attributes.items() if k not in _IDENTIFYING}
        info = None
        if own and others:
            shown = attributes if self._settings.keep_identifying_resource_attributes else others
            info = self._table.intern(
                encode_labels({**self.labels(shown.items()), **own, "__name__": TARGET_INFO})
            )
        return Resource({**self.labels(promoted), **own}, info)
