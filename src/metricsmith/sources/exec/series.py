"""Documents to series: names, labels, limits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from metricsmith.model.events import Event
from metricsmith.model.labels import encode_labels
from metricsmith.model.matchers import compile_anchored
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.sources.exec import names
from metricsmith.sources.exec.memory import Memory
from metricsmith.sources.exec.settings import ExecConfig, Integration
from metricsmith.sources.exec.values import points
from metricsmith.wire.ohi.document import Attributes, Dataset, Document, Entity, Metric, Sample, Scalar

INVENTORY = "integration_inventory_info"
MAX_NAME = 255
"""Characters of a name, as New Relic has it."""


@dataclass(slots=True)
class Rows:
    """Samples of one document. `problems` counts what was left out, by reason; `told` has an example of each.

    Shapes:
        keys, values, times: one per sample; a series is named at most once per time.
    """

    stream: str
    keys: list[bytes] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    metadata: dict[str, Metadata] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)
    told: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def problem(self, reason: str, message: str) -> None:
        """Count something that was left out."""
        self.problems[reason] += 1
        self.told.setdefault(reason, message)


class Converter:
    """Turns the documents of one integration into rows, and remembers what counters and rates need."""

    def __init__(self, name: str, integration: Integration, config: ExecConfig) -> None:
        self._name, self._integration, self._config = name, integration, config
        self._not_labels = compile_anchored(config.not_labels)
        self._series, self._values = Memory(config.max_series), Memory(config.max_series)
        labels = {f"label_{names.snake(k)}": v for k, v in integration.labels.items()}
        tags = {f"tags_{names.snake(k)}": v for k, v in integration.tags.items()}
        self._always = {**labels, **tags, "integration": name}

    def rows(self, document: Document, now_ms: int) -> Rows:
        """Return the samples of a document."""
        self._series.turn(now_ms)
        self._values.turn(now_ms)
        entities = sorted({d.entity.key for d in document.datasets})
        rows = Rows("\n".join([self._name, *entities]))
        for oddity in document.oddities:
            rows.problem(oddity.reason, oddity.message)
        for dataset in document.datasets:
            rows.events += self._events(dataset, now_ms)
            self._dataset(dataset, rows, now_ms)
        self._without_repetitions(rows)
        return rows

    def _dataset(self, dataset: Dataset, rows: Rows, now_ms: int) -> None:
        about = self._fitting(_about(dataset.entity), rows)
        for sample in dataset.samples:
            self._sample(sample, about, rows, now_ms)
        for metric in dataset.metrics:
            self._metric(metric, {**dataset.entity.metadata, **metric.attributes}, about, rows, now_ms)
        for item, fields in dataset.inventory.items():
            named = [("item", item), ("inventory_source", self._integration.inventory_source)]
            labels = self._labels(fields, {**about, **self._fitting(named, rows)}, rows)
            rows.metadata[INVENTORY] = Metadata(MetricType.INFO, "", "Inventory of integrations; always 1.")
            self._add(rows, INVENTORY, labels, 1.0, now_ms)

    def _events(self, dataset: Dataset, now_ms: int) -> Iterator[Event]:
        """Yield events with the attributes that New Relic gives them, under its names for these."""
        entity, of = dataset.entity, self._integration
        about: dict[str, Scalar] = {f"label.{key}": value for key, value in of.labels.items()}
        about |= {f"tags.{key}": value for key, value in of.tags.items()} | {"integrationName": self._name}
        if entity.name:
            about |= {"entityName": entity.name, "entityType": entity.type, "entityKey": entity.key}
        for event in dataset.events:
            time_ms = now_ms if event.time_ms is None else event.time_ms
            yield Event(time_ms, event.summary, event.category, {**event.attributes, **about})

    def _sample(self, sample: Sample, about: Mapping[str, str], rows: Rows, now_ms: int) -> None:
        """Numbers become gauges, texts their labels; a time in a text is a number all the same."""
        texts, numbers = {}, {}
        for name, value in sample.fields.items():
            if not isinstance(value, str):
                numbers[name] = float(value)
            elif self._not_labels.fullmatch(name) is None:
                texts[name] = value
            elif (number := _number(value)) is not None:
                numbers[name] = number
            else:
                rows.problems["not_label"] += 1
        labels = self._labels(texts, about, rows)
        for name, number in numbers.items():
            if len(sample.event_type) + len(name) > MAX_NAME:
                self._name_too_long(rows, name)
                continue
            family = names.sample_metric(sample.event_type, name)
            rows.metadata.setdefault(family, Metadata(MetricType.GAUGE, "", f"{sample.event_type} {name}"))
            self._add(rows, family, labels, number, now_ms)

    def _metric(
        self, metric: Metric, attributes: Attributes, about: Mapping[str, str], rows: Rows, now_ms: int
    ) -> None:
        if len(metric.name) > MAX_NAME:
            self._name_too_long(rows, metric.name)
            return
        kept = {n: v for n, v in attributes.items() if self._not_labels.fullmatch(n) is None}
        if len(kept) < len(attributes):
            rows.problems["not_label"] += len(attributes) - len(kept)
        labels = self._labels(kept, about, rows)
        time_ms = now_ms if metric.time_ms is None else metric.time_ms
        key = encode_labels({**labels, "__name__": metric.name, "__type__": metric.kind})
        remembered = self._values.get(key)
        if remembered is None:
            self._too_many(rows, metric.name)
            return
        found, refusal = points(metric, remembered, time_ms)
        if refusal:
            rows.problem(refusal, f"{metric.name} of type {metric.kind}: {refusal.replace('_', ' ')}")
        for point in found:
            rows.metadata.setdefault(point.family, Metadata(point.type, "", metric.name))
            self._add(rows, point.name, {**labels, **point.labels}, point.value, time_ms)

    def _labels(self, attributes: Attributes, about: Mapping[str, str], rows: Rows) -> dict[str, str]:
        """Return the labels of a sample: attributes win over the entity, what the file says over both."""
        found: dict[str, str] = {}
        for name, value in attributes.items():
            text = _shown(value)
            if not self._fits(name, text):
                self._label_too_long(rows, name)
            elif (label := names.label(name)) in found:
                rows.problem("label_collision", f"attribute {name!r}: {label} is there twice")
            elif len(found) >= self._config.max_labels:
                limit = self._config.max_labels
                rows.problem("too_many_labels", f"got {len(attributes)} attributes, wanted at most {limit}")
            else:
                found[label] = text
        return {**about, **found, **self._always}

    def _fitting(self, pairs: Iterable[tuple[str, str]], rows: Rows) -> dict[str, str]:
        """Return the labels among some that are not too long."""
        found = {}
        for name, text in pairs:
            if self._fits(name, text):
                found[names.snake(name)] = text
            else:
                self._label_too_long(rows, name)
        return found

    def _fits(self, name: str, text: str) -> bool:
        return len(name) <= MAX_NAME and len(text.encode()) <= self._config.max_label_length

    def _label_too_long(self, rows: Rows, name: str) -> None:
        limit = self._config.max_label_length
        wanted = f"wanted a name of at most {MAX_NAME} characters and a value of at most {limit} bytes"
        rows.problem("label_too_long", f"attribute {name[:100]!r}: {wanted}")

    def _name_too_long(self, rows: Rows, name: str) -> None:
        rows.problem("name_too_long", f"metric {name[:100]!r}: wanted at most {MAX_NAME} characters")

    def _add(self, rows: Rows, name: str, labels: Mapping[str, str], value: float, time_ms: int) -> None:
        key = encode_labels({**labels, "__name__": name})
        if self._series.get(key) is None:
            self._too_many(rows, name)
            return
        rows.keys.append(key)
        rows.values.append(value)
        rows.times.append(time_ms)

    def _too_many(self, rows: Rows, name: str) -> None:
        limit = self._config.max_series
        rows.problem("too_many_series", f"{name[:100]}: got more than {limit} series within an hour")

    def _without_repetitions(self, rows: Rows) -> None:
        seen: set[tuple[bytes, int]] = set()
        kept: list[int] = []
        for index, sample in enumerate(zip(rows.keys, rows.times, strict=True)):
            if sample in seen:
                name = sample[0].partition(b"\xff")[0].decode()
                rows.problem(
                    "duplicate", f"{name} comes twice with the same labels; an attribute must differ"
                )
            else:
                seen.add(sample)
                kept.append(index)
        if len(kept) < len(rows.keys):
            rows.keys = [rows.keys[i] for i in kept]
            rows.values = [rows.values[i] for i in kept]
            rows.times = [rows.times[i] for i in kept]


def _about(entity: Entity) -> Iterator[tuple[str, str]]:
    """Yield what an entity's labels are made of; its own name and type win over id attributes."""
    if entity.name:
        yield from ((f"entity_{key}", value) for key, value in entity.id_attributes)
        if entity.display_name:
            yield "entity_display_name", entity.display_name
        yield "entity_name", entity.name
        yield "entity_type", entity.type


def _shown(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return value


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
