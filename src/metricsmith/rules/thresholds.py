"""Threshold rules: a metric, a comparison, how long; they become alerting rules like any other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from metricsmith.contracts import PartConfig
from metricsmith.errors import TemplateError
from metricsmith.model.aliases import ALIASES
from metricsmith.model.settings_types import DurationMs
from metricsmith.rules.model import AlertingRule, Group, NoData, Origin
from metricsmith.rules.notify.settings import WebhookUrl
from metricsmith.rules.schema import MAX_TEMPLATE, check_name
from metricsmith.rules.templates import parse_template

GROUP = "thresholds"
FILE = "alerts.rules"
"""What stands for the rule file that threshold rules do not have."""
UPTIME = "uptime_seconds"
_PLAIN_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)


def _metric(name: str) -> str:
    try:
        return check_name(name)
    except ValueError:
        raise ValueError(
            f'got "{name[:60]}", wanted the name of a metric such as cpu_usage;'
            " for an expression, write an alert into a rule file"
        ) from None


def _template(text: str) -> str:
    try:
        parse_template(text)
    except TemplateError as error:
        raise ValueError(f'got "{text[:60]}", wanted a template that parses: {error}') from None
    return text


class ThresholdRule(PartConfig):
    """A threshold on a metric."""

    name: str = Field(min_length=1, max_length=200, description="Name of the alert.")
    metric: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_metric)] = Field(
        description="Metric, or one of the short names."
    )
    threshold: float = Field(description="Number that the metric is compared with.")
    operator: Literal[">", ">=", "<", "<=", "==", "!="] = Field(description="Comparison that fires.")
    duration: DurationMs = Field(0, ge=0, description="How long it must hold.")
    severity: str = Field("warning", max_length=1000, description="Value of the `severity` label.")
    message: Annotated[str, Field(max_length=MAX_TEMPLATE), AfterValidator(_template)] = Field(
        "", description="Text, a template; default is the comparison."
    )
    webhook_url: WebhookUrl | None = Field(
        None, description="Where this rule notifies, instead of `alerts.webhook_url`."
    )
    no_data: NoData | None = Field(
        None,
        description="What happens when the series have no samples any more; default is `fire` for"
        " `uptime_seconds` below something, `rules.no_data` for others.",
    )

    @field_validator("threshold")
    @classmethod
    def _number(cls, value: float) -> float:
        if value != value:
            raise ValueError("got NaN, wanted a number: NaN is neither above nor below anything")
        return value

    @property
    def looks_for_life(self) -> bool:
        """Whether it takes a low uptime for a service that is down: it then sees only that one came back."""
        return self.metric == UPTIME and self.operator in ("<", "<=")

    @property
    def comparison(self) -> str:
        """The comparison as people write it, with the metric's full name.

        >>> ThresholdRule(name="a", metric="cpu_usage", threshold=80, operator=">").comparison
        'cpu_usage_percent > 80'
        """
        return f"{ALIASES.get(self.metric, self.metric)} {self.operator} {number(self.threshold)}"


def threshold_group(rules: Sequence[ThresholdRule], origins: Sequence[Origin], interval_ms: int) -> Group:
    """Return the group of alerting rules that threshold rules stand for; `origins` say where each is written.

    Its name does not depend on the path of the configuration, so that alerts outlast a move of it.
    """
    alerts = tuple(_alert(rule, origin) for rule, origin in zip(rules, origins, strict=True))
    return Group(GROUP, FILE, interval_ms, alerts)


def threshold_remarks(rules: Iterable[ThresholdRule]) -> Iterator[tuple[int, str, str]]:
    """Yield what authors should know: the index of the rule, the key that it is about, the text."""
    seen: dict[tuple[str, str], int] = {}
    for index, rule in enumerate(rules):
        if rule.looks_for_life and rule.no_data is not NoData.FIRE:
            yield index, "metric" if rule.no_data is None else "no_data", _about_uptime(rule)
        first = seen.setdefault((rule.name, rule.severity), index)
        if first != index:
            text = f'rules[{first}] is called "{rule.name}", too, with the same severity'
            yield index, "name", f"{text}: their alerts cannot be told apart"


def expression(metric: str, comparison: str) -> str:
    """Return PromQL that compares a metric or a short name; of both in the data the exact name wins.

    Nothing is looked up when rules are loaded: the series may come later, or go.

    >>> expression("queue_depth", "> 5")
    'queue_depth > 5'
    >>> expression("cpu_usage", "> 80")
    'cpu_usage > 80 or (cpu_usage_percent > 80 unless on () cpu_usage)'
    >>> expression("http.requests", "> 5")
    '{__name__="http.requests"} > 5'
    """
    long = ALIASES.get(metric)
    if long is not None:
        return f"{metric} {comparison} or ({long} {comparison} unless on () {metric})"
    # Not `{"http.requests"}`, which Prometheus reads only since version 3.
    selector = metric if _PLAIN_NAME.fullmatch(metric) else f'{{__name__="{_quoted(metric)}"}}'
    return f"{selector} {comparison}"


def number(value: float) -> str:
    """Return a number as PromQL reads it, and as people write it.

    >>> number(80.0), number(0.05), number(1e300), number(float("-inf"))
    ('80', '0.05', '1e+300', '-Inf')
    """
    if value in (float("inf"), float("-inf")):
        return "Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _alert(rule: ThresholdRule, origin: Origin) -> AlertingRule:
    no_data = NoData.FIRE if rule.no_data is None and rule.looks_for_life else rule.no_data
    return AlertingRule(
        name=rule.name,
        expr=expression(rule.metric, f"{rule.operator} {number(rule.threshold)}"),
        for_ms=rule.duration,
        labels={"severity": rule.severity},
        annotations={"message": rule.message or rule.comparison},
        no_data=no_data,
        webhook_url=None if rule.webhook_url is None else rule.webhook_url.get_secret_value(),
        threshold=rule.threshold,
        origin=origin,
    )


def _about_uptime(rule: ThresholdRule) -> str:
    what = f"{rule.name}: {rule.comparison} holds after each restart, and what is down sends no uptime"
    if rule.no_data is None:
        return f"{what}; so it gets `no_data: fire`: it fires too when a series that was seen has no data"
    return f"{what}: with `no_data: {rule.no_data}` that goes unseen, `no_data: fire` would tell it"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
