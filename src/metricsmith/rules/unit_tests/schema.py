"""What may stand in a file of rule tests.

Source:
    Prometheus, "Unit testing for rules"; `exp_no_data` is ours, native histograms are refused.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from metricsmith.contracts import PartConfig
from metricsmith.model.settings_types import DurationMs
from metricsmith.rules.schema import Expr, Labels, Name
from metricsmith.wire.series_notation import parse_values

DEFAULT_INTERVAL_MS = 60_000
MAX_ITEMS = 10_000
"""Tests in a file; series and expectations in a test."""
MAX_VALUES_TEXT = 1_000_000


def _number(value: Any) -> float:
    text = str(value)
    try:
        return float(text.replace(".inf", "inf").replace(".nan", "nan").replace(".NaN", "nan"))
    except ValueError:
        raise ValueError("a number") from None


def _timestamp(value: Any) -> int:
    """Return milliseconds of Unix seconds or an RFC 3339 text."""
    text = str(value)
    try:
        return round(float(text) * 1000)
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("Unix seconds, or a time such as 2026-11-21T10:00:00Z") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _notation(text: str) -> str:
    parse_values(text)  # told with all other mistakes, before any test is run
    return text


def _default_when_zero(value: int) -> int:
    return value or DEFAULT_INTERVAL_MS


def _no_histogram(value: Any) -> Any:
    raise ValueError("`value`: native histograms are not supported")


class _Config(PartConfig):
    @model_validator(mode="before")
    @classmethod
    def _nothing_is_absent(cls, data: Any) -> Any:
        """Take `key:` with nothing behind it as if the key were not there, as Prometheus does."""
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data


class SampleConfig(_Config):
    """A sample that an expression must give."""

    labels: Annotated[str, Field(max_length=100_000)] = Field("", description='Such as `up{job="a"}`.')
    value: Annotated[float, BeforeValidator(_number)] = Field(0.0, description="Its value.")
    histogram: Annotated[str, BeforeValidator(_no_histogram)] = Field("", description="Not supported.")


class ExpressionTestConfig(_Config):
    """What an expression must give at a time."""

    expr: Expr = Field(description="PromQL; recorded series and `ALERTS` can be asked for.")
    eval_time: DurationMs = Field(0, ge=0, description="Time since the beginning of the test.")
    exp_samples: tuple[SampleConfig, ...] = Field((), max_length=MAX_ITEMS, description="All of the answer.")


class ExpectedAlertConfig(_Config):
    """An alert that must fire."""

    exp_labels: Labels = Field(default_factory=dict, description="All labels but `alertname`.")
    exp_annotations: Labels = Field(default_factory=dict, description="All annotations, expanded.")
    exp_no_data: bool | None = Field(
        None,
        description="Whether its series must be without data; any when absent. Not in Prometheus.",
    )


class AlertTestConfig(_Config):
    """Which alerts of a name must fire at a time."""

    eval_time: DurationMs = Field(0, ge=0, description="Time since the beginning of the test.")
    alertname: Name = Field(description="Name of the alerts; those of all rules with the name count.")
    exp_alerts: tuple[ExpectedAlertConfig, ...] = Field(
        (), max_length=MAX_ITEMS, description="All that fire; none when empty."
    )


class SeriesConfig(_Config):
    """A series that the rules read."""

    series: Annotated[str, Field(min_length=1, max_length=100_000)] = Field(
        description='Such as `up{job="a"}`.'
    )
    values: Annotated[str, Field(max_length=MAX_VALUES_TEXT), AfterValidator(_notation)] = Field(
        "", description="Such as `1 2+3x4 _ stale`, one value for each interval."
    )


class TestConfig(_Config):
    """Samples, and what the rules must make of them."""

    __test__ = False  # not for pytest

    name: str = Field("", description="For messages and `--run`.")
    interval: DurationMs = Field(
        0, description="Between values of series; `evaluation_interval` when absent."
    )
    input_series: tuple[SeriesConfig, ...] = Field((), max_length=MAX_ITEMS, description="The samples.")
    alert_rule_test: tuple[AlertTestConfig, ...] = Field(
        (), max_length=MAX_ITEMS, description="Alerts that must fire."
    )
    promql_expr_test: tuple[ExpressionTestConfig, ...] = Field(
        (), max_length=MAX_ITEMS, description="What expressions must give."
    )
    external_labels: Labels = Field(default_factory=dict, description="`$externalLabels` in templates.")
    external_url: str = Field("", description="`$externalURL` in templates.")
    start_timestamp: Annotated[int, BeforeValidator(_timestamp)] = Field(
        0, description="When the test begins: Unix seconds or RFC 3339."
    )


class TestFileConfig(_Config):
    """A file of rule tests."""

    __test__ = False

    rule_files: tuple[str, ...] = Field((), max_length=1000, description="Files and globs, beside this file.")
    evaluation_interval: Annotated[DurationMs, AfterValidator(_default_when_zero)] = Field(
        DEFAULT_INTERVAL_MS, description="All groups are evaluated that often, whatever their own interval."
    )
    group_eval_order: tuple[str, ...] = Field(
        (), description="Groups in the order in which they are evaluated at one time."
    )
    fuzzy_compare: bool = Field(False, description="Values may differ in their last bit.")
    tests: tuple[TestConfig, ...] = Field((), max_length=MAX_ITEMS, description="The tests.")
