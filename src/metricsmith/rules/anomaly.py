"""Anomalies: a series held against a band of what is usual for it, written as one rule.

It becomes recording rules that any Prometheus runs, so that people see the band, and an alert on them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from metricsmith.contracts import PartConfig
from metricsmith.model.duration import format_duration
from metricsmith.model.settings_types import DurationMs
from metricsmith.rules import bands
from metricsmith.rules.bands import HOUR_MS, Band, Named
from metricsmith.rules.model import AlertingRule, NoData, Origin, RecordingRule, Rule
from metricsmith.rules.schema import Expr, Labels, enclosed

DAY_MS = 24 * HOUR_MS
METHODS: dict[str, Callable[[Band], Iterator[Named]]] = {
    "mad": bands.mad,
    "zscore": bands.zscore,
    "ewma": bands.ewma,
    "seasonal": bands.seasonal,
}
SENSITIVITY = 4.0
"""Not 3: of a thousand usual values three lie outside of that, which is an alarm every few hours."""
FOR_MS = 600_000
"""Not 0: single values outside of a band are nearly all false alarms where values jump by themselves."""
LEAST_VALUES = 10
"""A spread of fewer values means nothing."""
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,199}", re.ASCII)
_COUNTER = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*_(total|count|sum|bucket)\s*(\{.*\})?", re.ASCII | re.DOTALL)


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f'got "{name[:60]}", wanted letters, digits, _ and colons: it begins names of series'
        )
    return name


class AnomalyConfig(PartConfig):
    """An anomaly: each series of an expression is held against a band of what is usual for it."""

    anomaly: Annotated[str, AfterValidator(_name)] = Field(
        description="Name of the alert; with `:anomaly_lower` and so on, of the recorded series."
    )
    expr: Expr = Field(description="PromQL, or just a metric; of counters, take a rate.")
    method: Literal["mad", "zscore", "ewma", "seasonal"] = Field("mad", description="How the band is made.")
    sensitivity: float = Field(
        SENSITIVITY,
        gt=0,
        le=1000,
        description="Half of the band in standard deviations; less finds more, and cries wolf more.",
    )
    window: DurationMs = Field(DAY_MS, gt=0, description="How much of the past makes the band.")
    min_history: DurationMs | None = Field(
        None,
        gt=0,
        description="No band before there is that much; default a quarter of `window`, for"
        " `seasonal` three days or two weeks.",
    )
    season: Literal["day", "week"] | None = Field(
        None, description="What repeats itself, for `seasonal`; default `day`."
    )
    direction: Literal["both", "up", "down"] = Field("both", description="Which side of the band is wrong.")
    min_deviation: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Closer to the centre, in the values' unit, is never wrong.",
    )
    for_: DurationMs = Field(
        FOR_MS,
        alias="for",
        ge=0,
        description="How long it must last before it fires; 0s tells single values too, and cries wolf.",
    )
    keep_firing_for: DurationMs = Field(
        0, ge=0, description="How long it goes on after the values are usual."
    )
    labels: Labels = Field(default_factory=dict, description="Added to each alert; values are templates.")
    annotations: Labels = Field(default_factory=dict, description="Texts for people; values are templates.")
    no_data: NoData | None = Field(
        None, description="What happens when the series have no samples any more. Not in Prometheus."
    )


def expand_anomaly(config: AnomalyConfig, origin: Origin, interval_ms: int) -> tuple[Rule, ...]:
    """Return the recording rules of the band and the alert of an anomaly.

    Raises:
        ValueError: the window, the history or the season do not go together.
    """
    band = _band(config, interval_ms)
    # Comparisons drop what is not a number or infinite, which would spoil averages for a whole window.
    value = ("value", f"{enclosed(band.expr)} > -Inf < Inf")
    recorded = [value, *METHODS[config.method](band)]
    rules = [RecordingRule(band.series(what), expr, {}, origin) for what, expr in recorded]
    return (*rules, _alert(config, band, origin))


def anomaly_parts(config: AnomalyConfig) -> Iterator[tuple[str, str]]:
    """Yield the expression as a function of series takes it: a number alone has no band."""
    yield "expr", f"abs({config.expr}\n)"


def anomaly_remarks(config: AnomalyConfig) -> Iterator[str]:
    """Yield what the author of an anomaly should know."""
    if _COUNTER.fullmatch(config.expr.strip()):
        yield (
            f"{config.expr.strip()} looks like a counter, which only grows: take a rate, such as"
            f" rate({config.expr.strip()}[5m])"
        )


def _band(config: AnomalyConfig, interval_ms: int) -> Band:
    window_ms = config.window
    if window_ms < LEAST_VALUES * interval_ms:
        least = format_duration(LEAST_VALUES * interval_ms)
        every = format_duration(interval_ms)
        raise ValueError(
            f"got a window of {format_duration(window_ms)}, wanted at least {least}:"
            f" {LEAST_VALUES} values, of which there is one each {every}"
        )
    if config.season is not None and config.method != "seasonal":
        raise ValueError(f'got a season, wanted none: method is "{config.method}", not "seasonal"')
    history_ms = config.min_history or window_ms // 4
    seasons: tuple[int, ...] = ()
    least_seasons = 1
    if config.method == "seasonal":
        seasons, least_seasons = _seasons(config)
        history_ms = window_ms // 4
    elif history_ms > window_ms:
        longest = format_duration(window_ms)
        raise ValueError(
            f"got a min_history of {format_duration(history_ms)}, wanted at most the window, {longest}"
        )
    history = max(LEAST_VALUES // 2, history_ms // interval_ms)
    return Band(
        config.anomaly,
        config.expr,
        interval_ms,
        window_ms,
        history,
        config.sensitivity,
        config.min_deviation,
        seasons,
        least_seasons,
    )


def _seasons(config: AnomalyConfig) -> tuple[tuple[int, ...], int]:
    """Return the offsets of past seasons, and how many of them must have data."""
    length_ms, count, least = (7 * DAY_MS, 4, 2) if config.season == "week" else (DAY_MS, 7, 3)
    if config.min_history is not None:
        least = -(-config.min_history // length_ms)
    if least > count:
        most = format_duration(count * length_ms)
        raise ValueError(f"got a min_history of {least} {config.season or 'day'}s, wanted at most {most}")
    return tuple(length_ms * number for number in range(1, count + 1)), least


def _alert(config: AnomalyConfig, band: Band, origin: Origin) -> AlertingRule:
    value = band.series("value")
    sides = {"up": f"{value} > {band.series('upper')}", "down": f"{value} < {band.series('lower')}"}
    expr = sides.get(config.direction, " or ".join(sides.values()))
    summary = f"{config.anomaly} is not as usual: {{{{ $value | humanize }}}}"
    return AlertingRule(
        name=config.anomaly,
        expr=expr,
        for_ms=config.for_,
        keep_firing_for_ms=config.keep_firing_for,
        labels=config.labels,
        annotations={"summary": summary, **config.annotations},
        no_data=config.no_data,
        origin=origin,
    )
