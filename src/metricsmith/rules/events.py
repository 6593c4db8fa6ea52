"""Alerts that begin and end, as events: for sinks that take events."""

from __future__ import annotations

import math
from collections.abc import Iterable

from metricsmith.model.events import Event
from metricsmith.rules.model import Notification

CATEGORY = "alert"


def alert_events(notifications: Iterable[Notification]) -> list[Event]:
    """Return an event for each alert that began to fire or ended; what is only told again is none."""
    return [_event(one) for one in notifications if one.news]


def _event(one: Notification) -> Event:
    name, state = one.labels.get("alertname", one.rule.name), "resolved" if one.resolved else "firing"
    attributes: dict[str, str | float | bool] = {
        "alertname": name,
        "state": state,
        "started_ms": one.starts_at_ms,
        "no_data": one.no_data,
    }
    if math.isfinite(one.value):
        attributes["alert_value"] = one.value
    if one.resolved:
        attributes["ended_ms"] = one.ends_at_ms
    attributes |= {f"label.{key}": text for key, text in one.labels.items() if key != "alertname"}
    attributes |= {f"annotation.{key}": text for key, text in one.annotations.items()}
    summary = one.annotations.get("summary") or f"{name} is {state}"
    return Event(one.ends_at_ms if one.resolved else one.starts_at_ms, summary, CATEGORY, attributes)
