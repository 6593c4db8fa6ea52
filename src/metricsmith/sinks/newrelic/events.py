"""Bodies of the Event API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from metricsmith.model.events import Event
from metricsmith.sinks.newrelic.attributes import MAX_EVENT_ATTRIBUTES, RESERVED_IN_EVENTS, attributes, cut

MAX_EVENTS = 2000
"""Events in a request."""


def event_body(events: Iterable[Event], event_type: str, common: Mapping[str, Any]) -> tuple[bytes, int]:
    """Return a request's JSON, and how many attributes had no room."""
    records, left_out = [], 0
    for event in events:
        record = _record(event, event_type, common)
        left_out += max(0, len(record) - MAX_EVENT_ATTRIBUTES)
        records.append(dict(list(record.items())[:MAX_EVENT_ATTRIBUTES]))
    return orjson.dumps(records), left_out


def _record(event: Event, event_type: str, common: Mapping[str, Any]) -> dict[str, Any]:
    about = {"summary": cut(event.summary), "category": cut(event.category)}
    given = attributes(
        ((n, _value(v)) for n, v in event.attributes.items()), RESERVED_IN_EVENTS | about.keys()
    )
    return {"eventType": event_type, "timestamp": event.time_ms, **about, **common, **given}


def _value(value: str | float | bool) -> str | float:
    """Return what the Event API takes: texts and numbers."""
    return ("true" if value else "false") if isinstance(value, bool) else value
