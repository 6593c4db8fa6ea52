"""What a project needs besides its code: settings, inputs, alerts that make sense."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import yaml

from metricsmith.errors import QueryError
from metricsmith.integration.alerts import rule_file
from metricsmith.integration.inputs import FOLDER, MODE
from metricsmith.integration.project import Project
from metricsmith.rules.files import read_rule_text
from metricsmith.rules.schema import DEFAULT_INTERVAL_MS
from metricsmith.runtime.rule_engine import RuleEngine

_RULE = re.compile(r"groups\[0\]\.rules\[(\d+)\]")


def set_environment(project: Project, mode: str) -> None:
    """Set the variables of this process that the project's code reads.

    In replay settings have their defaults, else their examples, whatever is
    set: for the same result everywhere. The mode holds for good, so that a
    collector which hangs and goes on later does not read the real thing.
    """
    for setting in project.declaration.settings:
        if mode == "replay" or setting.name not in os.environ:
            os.environ[setting.name] = setting.default if setting.default is not None else setting.example
    os.environ[FOLDER] = str(project.recordings)
    if mode:
        os.environ[MODE] = mode


def wrong_settings(project: Project, mode: str) -> Iterator[str]:
    """Yield a finding for each setting whose value nobody can know."""
    for index, setting in enumerate(project.declaration.settings):
        unknown = setting.default is None and not setting.example
        if unknown and (mode == "replay" or setting.name not in os.environ):
            where = project.line("settings", index)
            yield f"{setting.name} has no default; an `example` is what tests use ({where})"


def wrong_alerts(project: Project) -> Iterator[str]:
    """Yield a finding for each alert hint that makes no rule."""
    metrics = project.declaration.metrics
    places = [(i, j) for i, metric in enumerate(metrics) for j in range(len(metric.alerts))]
    text = yaml.safe_dump(rule_file(project.declaration))
    for problem in read_rule_text(text, "", RuleEngine(), DEFAULT_INTERVAL_MS).problems:
        metric, hint = places[int(found[1])] if (found := _RULE.match(problem.path)) else places[0]
        where = project.line("metrics", metric, "alerts", hint)
        advice = f" ({problem.hint})" if problem.hint else ""
        yield f"alert {metrics[metric].alerts[hint].alert}: {problem.message}{advice} ({where})"


def foreign_metrics(project: Project) -> Iterator[str]:
    """Yield a remark for each metric that alerts read and the integration does not give."""
    engine = RuleEngine()
    for metric in project.declaration.metrics:
        for hint, expr in metric.expressions():
            for name in _read_by(engine, expr):
                if project.declaration.metric_of(name) is None:
                    yield f"alert {hint.alert} reads {name}, which is not declared"


def _read_by(engine: RuleEngine, expr: str) -> list[str]:
    try:
        return sorted(engine.reads(expr))
    except QueryError:
        return []  # `wrong_alerts` has told it
