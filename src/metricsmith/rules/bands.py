"""The bands of anomalies as recording rules: a centre, a spread, and from them lower, upper and score.

Everything reads the recorded value, one sample a round, so that windows count in rounds; and only what
was there before this round, so that a value does not widen the band that it is held against.

Source:
    B. Iglewicz, D. C. Hoaglin, "How to Detect and Handle Outliers" (1993): 1.4826 MAD, and 1.2533 mean
    deviations where the MAD is 0, estimate a standard deviation. EWMA control charts after S. W. Roberts
    (1959), with the variance of T. Finch (2009) and values clipped at the band.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metricsmith.model.duration import format_duration

HOUR_MS = 3_600_000
SAME_TIME_MS = HOUR_MS
"""A season ago means: the mean of that hour, half before and half after."""
NARROWEST = 0.01
"""Half of a band is no less than this share of its centre: constant series have no spread of their own."""
EPSILON = 1e-9
"""A spread is at least this: nothing is divided by zero."""
SEASON_LABEL = "anomaly_season"
RECURSIVE = (":anomaly_ewma", ":anomaly_ewma_variance")
"""Ends of names whose rules read themselves on purpose: exponential averages are recursions that forget."""

Named = tuple[str, str]
"""A name without the anomaly's own, and an expression."""


@dataclass(frozen=True, slots=True)
class Band:
    """What the rules of a band depend on.

    `history` is how many values there must be before there is a band;
    `seasons` are the offsets to look at, of which `least_seasons` must have data.
    """

    name: str
    expr: str
    interval_ms: int
    window_ms: int
    history: int
    sensitivity: float
    min_deviation: float = 0.0
    seasons: tuple[int, ...] = ()
    least_seasons: int = 1

    def series(self, what: str) -> str:
        """Return the full name of one of the recorded series."""
        return f"{self.name}:anomaly_{what}"

    def past(self, function: str, what: str) -> str:
        """Return a function over the window of a recorded series that ends before this round.

        >>> Band("a", "x", 60_000, 3_600_000, 30, 3).past("avg_over_time", "value")
        'avg_over_time(a:anomaly_value[1h] offset 1m)'
        """
        window, before = format_duration(self.window_ms), format_duration(self.interval_ms)
        inner, _, start = function.partition("(")
        return f"{inner}({start}{self.series(what)}[{window}] offset {before})"


def mad(band: Band) -> Iterator[Named]:
    """Yield the rules of a band around the median, as wide as the median deviation from it."""
    yield "center", band.past("quantile_over_time(0.5, ", "value")
    yield from _robust(band)


def seasonal(band: Band) -> Iterator[Named]:
    """Yield the rules of a band around the median of the same hour of past days or weeks."""
    ago = [_season_ago(band, number, offset) for number, offset in enumerate(band.seasons, 1)]
    yield "season", "\nor\n".join(ago)
    season = band.series("season")
    enough = f"count without ({SEASON_LABEL}) ({season}) >= {band.least_seasons}"
    yield "center", f"quantile without ({SEASON_LABEL}) (0.5, {season})\nand\n{enough}"
    yield from _robust(band)


def zscore(band: Band) -> Iterator[Named]:
    """Yield the rules of a band around the mean, as wide as the standard deviation."""
    yield "center", band.past("avg_over_time", "value")
    yield "spread", _spread(band, band.past("stddev_over_time", "value"), "value")
    yield from _limits(band)


def ewma(band: Band) -> Iterator[Named]:
    """Yield the rules of a band around an exponential average, which reads its own last value."""
    weight = f"{2 / (band.window_ms / band.interval_ms + 1):.6g}"
    value, center = band.series("value"), band.series("center")
    yield "center", band.past("last_over_time", "ewma")
    spread = f"sqrt({band.past('last_over_time', 'ewma_variance')})"
    yield "spread", _spread(band, spread, "value")
    yield from _limits(band)
    lower, upper = band.series("lower"), band.series("upper")
    yield "clipped", f"(({value} < {upper} or {upper}) > {lower} or {lower} or {value})\nand\n{value}"
    clipped = band.series("clipped")
    variance = band.past("last_over_time", "ewma_variance")
    yield (
        "ewma_variance",
        f"(1 - {weight}) * ({variance} + {weight} * ({clipped} - {center}) ^ 2)\nor\n{value} * 0",
    )
    yield "ewma", f"{center} + {weight} * ({clipped} - {center})\nor\n{value}"


def _robust(band: Band) -> Iterator[Named]:
    yield "deviation", f"abs({band.series('value')} - {band.series('center')})"
    median = f"1.4826 * {band.past('quantile_over_time(0.5, ', 'deviation')}"
    mean = f"1.2533 * {band.past('avg_over_time', 'deviation')}"
    yield "spread", _spread(band, f"({median} > 0 or {mean})", "deviation")
    yield from _limits(band)


def _spread(band: Band, spread: str, counted: str) -> str:
    floor = f"abs({band.series('center')}) * {NARROWEST / band.sensitivity:.6g}"
    least = max(band.min_deviation / band.sensitivity, EPSILON)
    enough = f"{band.past('count_over_time', counted)} >= {band.history}"
    return f"clamp_min(\n  {spread} > {floor}\n  or {floor},\n  {least:.6g}\n)\nand\n{enough}"


def _limits(band: Band) -> Iterator[Named]:
    value, center, spread = (band.series(what) for what in ("value", "center", "spread"))
    yield "lower", f"{center} - {band.sensitivity:g} * {spread}"
    yield "upper", f"{center} + {band.sensitivity:g} * {spread}"
    yield "score", f"({value} - {center}) / {spread}"


def _season_ago(band: Band, number: int, offset_ms: int) -> str:
    window = format_duration(SAME_TIME_MS)
    offset = format_duration(offset_ms - SAME_TIME_MS // 2)
    mean = f"avg_over_time({band.series('value')}[{window}] offset {offset})"
    return f'label_replace({mean}, "{SEASON_LABEL}", "{number}", "", "")'
