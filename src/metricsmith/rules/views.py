"""Running groups as plain data, for the API: taken while rounds go on, so each list is copied first."""

from __future__ import annotations

from collections.abc import Iterator

from metricsmith.model.rules import AlertingView, AlertView, GroupView, RuleView
from metricsmith.rules.alerting import Alerting
from metricsmith.rules.model import AlertState
from metricsmith.rules.round import NOTHING_MATCHED_ROUNDS, RunningGroup, RunningRule


def group_view(running: RunningGroup) -> GroupView:
    """Return a group as it is now. Called from any thread."""
    group = running.group
    return GroupView(
        group.name,
        group.file,
        group.interval_ms,
        group.limit,
        tuple(_rule(running, rule) for rule in running.rules),
        running.duration_s,
        running.last_evaluation_ms,
    )


def warnings(running: RunningGroup) -> Iterator[str]:
    """Yield what somebody should look into although the rules of a group work."""
    for rule in running.rules:
        if rule.status.nothing_matched >= NOTHING_MATCHED_ROUNDS:
            yield nothing_matched(running, rule)


def nothing_matched(running: RunningGroup, rule: RunningRule) -> str:
    """Return the warning that a rule's metric is not there."""
    expr = rule.work.rule.expr
    rounds = rule.status.nothing_matched
    return f"{place(running, rule)}: no series matched for {rounds} rounds: {expr}"


def place(running: RunningGroup, rule: RunningRule) -> str:
    """Return where a rule stands, and its name, for messages."""
    origin = rule.work.rule.origin
    return f"{origin.file or running.group.file}:{origin.line}: rule {rule.work.rule.name}"


def _rule(running: RunningGroup, rule: RunningRule) -> RuleView:
    status, written = rule.status, rule.work.rule
    return RuleView(
        written.name,
        written.expr,
        {**running.group.labels, **written.labels},
        status.health,
        status.last_error,
        status.duration_s,
        status.last_evaluation_ms,
        status.samples,
        status.series,
        _alerting(rule.work) if isinstance(rule.work, Alerting) else None,
        status.warnings,
    )


def _alerting(work: Alerting) -> AlertingView:
    alerts = [alert for alert in list(work.alerts.values()) if alert.state is not AlertState.INACTIVE]
    return AlertingView(
        work.rule.for_ms,
        work.rule.keep_firing_for_ms,
        work.rule.annotations,
        work.no_data.value,
        tuple(
            AlertView(
                alert.labels,
                alert.annotations,
                alert.state.value,
                alert.value,
                alert.active_at_ms,
                alert.keep_firing_since_ms,
                alert.no_data,
            )
            for alert in alerts
        ),
    )
