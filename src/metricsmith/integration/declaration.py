"""What an integration says of itself: the typed content of `integration.yaml`.

The one definition that the test kit, packages and generated files are made
from. The format is described in docs/formats/integration.md.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from metricsmith.contracts import PartConfig
from metricsmith.integration.kinds import Kind
from metricsmith.integration.names import check_name
from metricsmith.model.metadata import MetricType
from metricsmith.model.settings_types import DurationMs

MAX_TEXT = 2000
_METRIC = re.compile(r"(?!(?i:inf|nan)$)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
"""Not `inf` and `nan`: these are numbers in PromQL."""
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
_VERSION = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}([-+.]?[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?", re.ASCII)
_COMPARISON = re.compile(r"(>=|<=|==|!=|>|<)\s*(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)", re.ASCII)
COMPOUND_SUFFIXES = {
    MetricType.HISTOGRAM: ("_bucket", "_sum", "_count", "_created"),
    MetricType.SUMMARY: ("_sum", "_count", "_created"),
}
"""What the names of samples have besides that of their metric."""
OWN_LABELS = {MetricType.HISTOGRAM: "le", MetricType.SUMMARY: "quantile"}
"""Labels that belong to the type and are not declared."""


def _matching(pattern: re.Pattern[str], wanted: str) -> Any:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f'got "{text[:60]}", wanted {wanted}')
        return text

    return AfterValidator(check)


def _inside(path: str) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\0" in path:
        raise ValueError(f'got "{path[:60]}", wanted a path inside the project, such as lib/*.py')
    return path


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _as_label(value: Any) -> Any:
    return {"help": value or ""} if value is None or isinstance(value, str) else value


def _at_least_one(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    if not metrics:
        raise ValueError("got no metric, wanted at least one")
    return metrics


Text = Annotated[str, Field(max_length=MAX_TEXT)]
Inside = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_inside)]
MetricName = Annotated[
    str,
    Field(min_length=1, max_length=200),
    _matching(_METRIC, "a metric's name: letters, digits and _, no digit first"),
]
LabelName = Annotated[
    str,
    Field(min_length=1, max_length=200),
    _matching(_LABEL, "a label's name: letters, digits and _, no digit first"),
]
Variable = Annotated[
    str,
    Field(min_length=1, max_length=100),
    _matching(_VARIABLE, "the name of an environment variable: capital letters, digits and _"),
]


class Label(PartConfig):
    """A label of a metric; in the file also just its help."""

    help: Text = Field("", description="What it tells apart.")
    max_values: int = Field(100, ge=1, le=1_000_000, description="Most different values of one collection.")
    optional: bool = Field(False, description="Whether a sample may lack it.")


class AlertHint(PartConfig):
    """When a metric is worth waking somebody."""

    alert: str = Field(min_length=1, max_length=200, description="Name of the alert.")
    when: str = Field(
        "", max_length=100, description="Comparison with the metric, `> 100`; instead of `expr`."
    )
    expr: str = Field("", max_length=10_000, description="PromQL; what it returns is wrong.")
    for_: DurationMs = Field(0, alias="for", ge=0, description="How long it must hold.")
    severity: str = Field(
        "warning", min_length=1, max_length=100, description="Value of the label `severity`."
    )
    summary: Text = Field("", description="One line for people; a template.")
    runbook: Text = Field("", description="Where it stands what to do.")

    @model_validator(mode="after")
    def _one_of_both(self) -> AlertHint:
        if bool(self.when) == bool(self.expr):
            raise ValueError("either `when`, a comparison such as > 100, or `expr`, PromQL")
        if self.when and not _COMPARISON.fullmatch(self.when.strip()):
            raise ValueError(
                f'got when: "{self.when[:40]}", wanted a comparison with a number, such as > 100'
            )
        return self


class Metric(PartConfig):
    """A metric that the integration gives, under the name that queries know it by."""

    name: MetricName = Field(description="Name, as in queries.")
    type: Literal["counter", "gauge", "histogram", "summary", "info", "unknown"] = Field(
        description="Type; `info` is a gauge that is always 1, `unknown` is what nobody knows."
    )
    help: str = Field(min_length=1, max_length=MAX_TEXT, description="What it is.")
    unit: str = Field(
        "", max_length=50, description="Base unit, as the name has it: seconds, bytes, messages."
    )
    labels: dict[LabelName, Annotated[Label, BeforeValidator(_as_label)]] = Field(
        default_factory=dict, max_length=30, description="Its labels, each with its help."
    )
    alerts: tuple[AlertHint, ...] = Field((), max_length=50, description="When it is worth waking somebody.")
    optional: bool = Field(False, description="Whether a collection may lack it.")
    volatile: bool = Field(
        False, description="Whether its value differs each time; golden files then have *."
    )

    @property
    def metric_type(self) -> MetricType:
        """The type; what is `info` here has samples like a gauge."""
        return MetricType(self.type)

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names that its samples may have."""
        if self.type == "counter":
            return self.name, f"{self.name.removesuffix('_total')}_created"
        return self.name, *(self.name + suffix for suffix in COMPOUND_SUFFIXES.get(self.metric_type, ()))

    def expressions(self) -> list[tuple[AlertHint, str]]:
        """Return each alert hint with its PromQL."""
        return [(hint, hint.expr or f"{self.name} {hint.when.strip()}") for hint in self.alerts]

    @model_validator(mode="after")
    def _only_some_are_compared(self) -> Metric:
        for hint in self.alerts:
            if hint.when and self.type == "counter":
                raise ValueError(
                    f"got when: {hint.when} on a counter, wanted an expr: a counter only grows"
                    f" (expr: rate({self.name}[5m]) {hint.when})"
                )
            if hint.when and self.type == "histogram":
                quantile = f"histogram_quantile(0.95, rate({self.name}_bucket[5m]))"
                raise ValueError(
                    f"got when: {hint.when} on a histogram, wanted an expr: no series has its name"
                    f" (expr: {quantile} {hint.when})"
                )
        return self


class Setting(PartConfig):
    """An environment variable that the integration reads."""

    name: Variable = Field(description="Name of the variable.")
    help: str = Field(min_length=1, max_length=MAX_TEXT, description="What it does.")
    default: Annotated[str | None, BeforeValidator(_as_text), Field(max_length=MAX_TEXT)] = Field(
        None, description="Value where nothing is set; without it, it must be set."
    )
    example: Annotated[str, BeforeValidator(_as_text), Field(max_length=MAX_TEXT)] = Field(
        "", description="Value in sample configurations, and in tests where there is no default."
    )
    secret: bool = Field(False, description="Whether nobody may see it; it is then never written into files.")

    @model_validator(mode="after")
    def _a_secret_has_no_default(self) -> Setting:
        if self.secret and self.default:
            raise ValueError("no default of a secret: it would stand in files that everybody can read")
        return self


class Limits(PartConfig):
    """What the integration promises not to exceed."""

    max_samples: int = Field(10_000, ge=1, le=1_000_000, description="Most samples of one collection.")
    max_series: int = Field(1000, ge=1, le=1_000_000, description="Most different series within an hour.")


class Identity(PartConfig):
    """What the integration is called, and what runs."""

    name: Annotated[str, AfterValidator(check_name)] = Field(description="Name, such as queue-depth.")
    version: Annotated[str, _matching(_VERSION, "a version such as 1.2.3")] = Field(
        "0.1.0", description="Its version."
    )
    kind: Kind = Field(description="`python`: collectors; `exec`, `ohi`: an executable.")
    description: Text = Field("", description="One line for people.")
    collector: Inside | None = Field(None, description="Python file with collectors; kind `python`.")
    command: tuple[Annotated[str, Field(max_length=1000)], ...] = Field(
        (), max_length=100, description="Command line, run in the project's folder; kinds `exec` and `ohi`."
    )
    interval: DurationMs = Field(30_000, ge=1000, le=86_400_000, description="Time between collections.")
    timeout: DurationMs = Field(5000, ge=100, le=3_600_000, description="Longest collection.")
    files: tuple[Inside, ...] = Field(
        (), max_length=1000, description="What else belongs into packages; globs are allowed."
    )

    @model_validator(mode="after")
    def _something_runs(self) -> Identity:
        if self.kind is Kind.PYTHON:
            if self.collector is None or not self.collector.endswith(".py"):
                raise ValueError("kind python needs `collector`, a file such as queue_depth.py")
            if self.command:
                raise ValueError("kind python has a `collector` and no `command`")
        elif not self.command or not self.command[0] or self.collector is not None:
            raise ValueError(f"kind {self.kind} needs `command`, such as [./{self.name}], and no `collector`")
        return self


class Declaration(PartConfig):
    """All of `integration.yaml`."""

    integration: Identity = Field(description="What it is called, and what runs.")
    settings: tuple[Setting, ...] = Field((), max_length=200, description="Environment variables it reads.")
    limits: Limits = Field(default_factory=Limits, description="What it promises not to exceed.")
    metrics: Annotated[tuple[Metric, ...], AfterValidator(_at_least_one)] = Field(
        max_length=5000, description="The metrics it gives."
    )

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, metric in enumerate(self.metrics) for name in metric.sample_names}

    def place_of(self, sample: str) -> int | None:
        """Return where in `metrics` the metric stands that a sample of that name is of."""
        return self._places.get(sample)

    def metric_of(self, sample: str) -> Metric | None:
        """Return the declared metric that a sample of that name is of."""
        place = self.place_of(sample)
        return None if place is None else self.metrics[place]

    @model_validator(mode="after")
    def _names_differ(self) -> Declaration:
        for what, names in (
            ("metrics", [metric.name for metric in self.metrics]),
            ("settings", [setting.name for setting in self.settings]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1}) if _repeats(names) else []
            if twice:
                raise ValueError(f"got {', '.join(twice)} twice in {what}, wanted each once")
        return self


def _repeats(names: list[str]) -> bool:
    return len(set(names)) < len(names)
