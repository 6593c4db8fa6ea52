"""Documents to one line of JSON, as a New Relic agent reads them from an integration.

Imports nothing but Python: packages print documents with it.
"""

from __future__ import annotations

import json
import math
from typing import Any

from metricsmith.wire.ohi.document import (
    NUMERIC_KINDS,
    Attributes,
    Dataset,
    DistributionValue,
    Document,
    Entity,
    Event,
    Metric,
    MetricKind,
    Scalar,
    SummaryValue,
)

WHOLE_BELOW = 2.0**53


def encode(document: Document) -> bytes:
    """Return a document as one line with its newline, in the protocol version that it names.

    Numbers that JSON does not have (NaN, infinities) are left out, as an absent
    value is: a metric or attribute that has none does not appear.

    Raises:
        ValueError: version 1 with more than one entity.

    >>> encode(Document(3, "com.acme.disk", "1.0.0", ()))
    b'{"name":"com.acme.disk","protocol_version":"3","integration_version":"1.0.0","data":[]}\\n'
    """
    protocol = str(document.protocol)
    if document.protocol == 4:
        root: dict[str, Any] = {
            "protocol_version": protocol,
            "integration": {"name": document.name, "version": document.version},
            "data": [_dataset_v4(d) for d in document.datasets],
        }
    else:
        root = {
            "name": document.name,
            "protocol_version": protocol,
            "integration_version": document.version,
        }
        if document.protocol > 1:
            root["data"] = [_dataset(d) for d in document.datasets]
        elif len(document.datasets) > 1:
            raise ValueError(f"got {len(document.datasets)} entities, wanted one in version 1")
        else:
            root |= _dataset(document.datasets[0] if document.datasets else Dataset())
    text = json.dumps(root, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode() + b"\n"


def _dataset(dataset: Dataset) -> dict[str, Any]:
    return {
        **_entity(dataset.entity),
        "metrics": [{"event_type": s.event_type, **_attributes(s.fields)} for s in dataset.samples],
        **_rest(dataset),
    }


def _dataset_v4(dataset: Dataset) -> dict[str, Any]:
    metrics = (_metric(m) for m in dataset.metrics)
    # `false` sends data the way that the agent gave up, on which some are dropped.
    return {
        "common": {},
        **_entity(dataset.entity),
        "metrics": [m for m in metrics if m is not None],
        **_rest(dataset),
        "ignore_entity": True,
    }


def _rest(dataset: Dataset) -> dict[str, Any]:
    return {
        "inventory": {item: _attributes(fields) for item, fields in dataset.inventory.items()},
        "events": [_event(e) for e in dataset.events],
    }


def _entity(entity: Entity) -> dict[str, Any]:
    if not entity.name:
        return {}
    found: dict[str, Any] = {"name": entity.name, "type": entity.type}
    if entity.display_name:
        found["displayName"] = entity.display_name
    if entity.id_attributes:
        found["id_attributes"] = [{"Key": k, "Value": v} for k, v in entity.id_attributes]
    if entity.metadata:
        found["metadata"] = _attributes(entity.metadata)
    return {"entity": found}


def _event(event: Event) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": event.summary, "category": event.category}
    if event.time_ms is not None:
        found["timestamp"] = event.time_ms
    if event.attributes:
        found["attributes"] = _attributes(event.attributes)
    return found


def _metric(metric: Metric) -> dict[str, Any] | None:
    value = _value(metric)
    if value is None:
        return None
    found: dict[str, Any] = {"name": metric.name, "type": metric.kind.value}
    if metric.time_ms is not None:
        found["timestamp"] = metric.time_ms
    if metric.interval_ms is not None:
        found["interval.ms"] = _plain(metric.interval_ms)
    return {**found, "attributes": _attributes(metric.attributes), "value": value}


def _value(metric: Metric) -> Any:
    value = metric.value
    if isinstance(value, SummaryValue):
        parts = {"count": value.count, "sum": value.sum, "min": value.min, "max": value.max}
        return {name: _plain(part) for name, part in parts.items() if part is not None}
    if isinstance(value, DistributionValue):
        histogram = metric.kind is MetricKind.PROMETHEUS_HISTOGRAM
        key, at, of = (
            ("buckets", "upper_bound", "cumulative_count")
            if histogram
            else ("quantiles", "quantile", "value")
        )
        points = [
            {at: _plain(x), of: _plain(y)} for x, y in value.points if math.isfinite(x) and math.isfinite(y)
        ]
        found = {"sample_count": _plain(value.count), "sample_sum": _plain(value.sum), key: points}
        return {name: part for name, part in found.items() if part is not None}
    assert metric.kind in NUMERIC_KINDS, metric.kind
    return _plain(value)


def _attributes(attributes: Attributes) -> dict[str, Scalar]:
    plain = {name: _plain(value) for name, value in attributes.items()}
    return {name: value for name, value in plain.items() if value is not None}


def _plain(value: Scalar) -> Scalar | None:
    # Whole numbers without a fraction, as the SDK writes them; None for what JSON does not have.
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < WHOLE_BELOW else value
