"""The alert hints of a declaration as a rule file, which Prometheus reads as well."""

from __future__ import annotations

from typing import Any

from metricsmith.integration.declaration import AlertHint, Declaration
from metricsmith.model.duration import format_duration


def rule_file(declaration: Declaration) -> dict[str, Any]:
    """Return the content of a rule file with an alert for each hint; no groups when there is none."""
    rules = [_rule(hint, expr) for metric in declaration.metrics for hint, expr in metric.expressions()]
    return {"groups": [{"name": declaration.integration.name, "rules": rules}] if rules else []}


def _rule(hint: AlertHint, expr: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"alert": hint.alert, "expr": expr}
    if hint.for_:
        rule["for"] = format_duration(hint.for_)
    rule["labels"] = {"severity": hint.severity}
    annotations = {"summary": hint.summary, "runbook_url": hint.runbook}
    if any(annotations.values()):
        rule["annotations"] = {name: text for name, text in annotations.items() if text}
    return rule
