"""What is known of rules and their alerts, as plain data for people and the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert that is pending or firing. 0 is a time that has not come."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: str
    value: float
    active_at_ms: int
    keep_firing_since_ms: int = 0
    no_data: bool = False


@dataclass(frozen=True, slots=True)
class RuleView:
    """A rule and how its last evaluation went; `alerting` is None for a recording rule."""

    name: str
    query: str
    labels: Mapping[str, str]
    health: str
    last_error: str
    duration_s: float
    last_evaluation_ms: int
    samples: int = 0
    series: int = 0
    alerting: AlertingView | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertingView:
    """What an alerting rule has besides."""

    for_ms: int
    keep_firing_for_ms: int
    annotations: Mapping[str, str]
    no_data: str
    alerts: tuple[AlertView, ...]

    @property
    def state(self) -> str:
        """The gravest state of its alerts."""
        states = {alert.state for alert in self.alerts}
        return next((state for state in ("firing", "pending") if state in states), "inactive")


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group of rules, which is evaluated as one."""

    name: str
    file: str
    interval_ms: int
    limit: int
    rules: tuple[RuleView, ...]
    duration_s: float
    last_evaluation_ms: int
