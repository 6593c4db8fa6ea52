"""What may stand in a rule file: the fields of a file, a group and the rules that Prometheus knows."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from metricsmith.contracts import PartConfig
from metricsmith.model.labels import NAME_LABEL
from metricsmith.model.settings_types import DurationMs
from metricsmith.rules.model import NoData

DEFAULT_INTERVAL_MS = 60_000
"""Of groups, where neither they nor the configuration say otherwise; as in Prometheus."""
MAX_GROUPS = 1000
MAX_RULES = 10_000
"""In one file, over all its groups."""
MAX_EXPR = 100_000
MAX_LABELS = 100
MAX_TEMPLATE = 20_000
_NEVER_IN_NAMES = frozenset("{}()[]\"'`,=~!<>")


def check_name(name: str) -> str:
    """Return a metric or label name.

    Raises:
        ValueError: it is one that only a mistake can have made.
    Source:
        Prometheus 3: any UTF-8 text. What has brackets, quotes or blanks is
        refused here, because an expression was meant.
    """
    if not name or any(c in _NEVER_IN_NAMES or c.isspace() or not c.isprintable() for c in name):
        raise ValueError(f'got "{name[:60]}", wanted a name such as job:requests:rate5m')
    return name


def enclosed(expr: str) -> str:
    """Return an expression in parentheses that a comment in it does not swallow.

    >>> enclosed("a + b"), enclosed("a # why")
    ('(a + b)', '(\\na # why\\n)')
    """
    plain = expr.strip()
    return f"(\n{plain}\n)" if "#" in plain or "\n" in plain else f"({plain})"


def _label_name(name: str) -> str:
    if name == NAME_LABEL:
        raise ValueError(f"got {NAME_LABEL}, wanted another name: the metric is named by `record`")
    return check_name(name)


def _nothing_is_empty(value: Any) -> Any:
    """Return a mapping where `key:` with nothing behind it is an empty text, as Prometheus reads it."""
    if isinstance(value, dict):
        return {key: "" if inner is None else inner for key, inner in value.items()}
    return value


Text = Annotated[str, Field(max_length=MAX_TEMPLATE)]
Name = Annotated[str, Field(min_length=1, max_length=1000)]
LabelName = Annotated[str, AfterValidator(_label_name)]
Labels = Annotated[dict[LabelName, Text], BeforeValidator(_nothing_is_empty), Field(max_length=MAX_LABELS)]
Expr = Annotated[str, Field(min_length=1, max_length=MAX_EXPR)]


class RecordConfig(PartConfig):
    """A recording rule: the result of an expression becomes series."""

    record: Annotated[str, AfterValidator(check_name)] = Field(description="Name of the recorded metric.")
    expr: Expr = Field(description="PromQL; a scalar is recorded as one series.")
    labels: Labels = Field(default_factory=dict, description="Added to each series; empty values remove.")


class AlertConfig(PartConfig):
    """An alerting rule: each series in the result of an expression is an alert."""

    alert: Name = Field(description="Name of the alert, its label `alertname`.")
    expr: Expr = Field(description="PromQL; what it returns is wrong.")
    for_: DurationMs = Field(0, alias="for", ge=0, description="How long it must hold before it fires.")
    keep_firing_for: DurationMs = Field(
        0, ge=0, description="How long it goes on after the expression is no longer true."
    )
    labels: Labels = Field(default_factory=dict, description="Added to each alert; values are templates.")
    annotations: Labels = Field(default_factory=dict, description="Texts for people; values are templates.")
    no_data: NoData | None = Field(
        None, description="What happens when the series have no samples any more. Not in Prometheus."
    )


class GroupConfig(PartConfig):
    """Rules that are evaluated together, in order."""

    name: Name = Field(description="Distinct within the file.")
    interval: DurationMs | None = Field(
        None, ge=0, description="How often; `0` or nothing is the default of the configuration."
    )
    query_offset: DurationMs | None = Field(
        None,
        ge=0,
        description="Evaluate as of that long ago, for samples that arrive late; default that of `rules`.",
    )
    limit: int = Field(0, ge=0, description="Most series or alerts of one rule; more fail it. 0 is none.")
    labels: Labels = Field(
        default_factory=dict, description="Added to the labels of each rule; those of the rule win."
    )
    rules: tuple[Any, ...] = Field((), description="The rules.")


class FileConfig(PartConfig):
    """A rule file."""

    groups: tuple[Any, ...] = Field((), max_length=MAX_GROUPS, description="Groups of rules.")
