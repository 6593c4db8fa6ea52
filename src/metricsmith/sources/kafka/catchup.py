"""When a lag will be gone: a robust slope over real times, its interval, and what follows from both.

Arrays hold one row per lag series and one column per reading, so that thousands of groups and
partitions cost a few array operations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool

CONFIDENCE_Z = 1.959964
"""Normal quantile of a two-sided 95 % interval."""
PAIRS_AT_ONCE = 1_000_000
"""Slopes held in memory at a time: 8 MB."""
SLOPES_A_ROUND = 10_000_000
"""About so many slopes are sorted for all series together: 0.15 CPU seconds."""
LEAST_READINGS, MOST_READINGS = 12, 61


@dataclass(frozen=True, slots=True)
class Trend:
    """Slopes of several series with 95 % intervals; NaN where a series has no two readings apart in time.

    An interval is infinite where there are too few readings to bound it.

    Shapes:
        all: (S,)
    Units:
        Lag units (records) per second.
    """

    slope: F64
    low: F64
    high: F64


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Seconds until the lag is gone: 0 caught up, +Inf never, NaN when history does not suffice.

    Shapes:
        all: (S,) `low` and `high` follow from the slope's interval.
    """

    seconds: F64
    low: F64
    high: F64


def trend(time_ms: I64, values: F64) -> Trend:
    """Return Theil–Sen slopes (the median over all pairs) with Kendall's distribution-free interval.

    One reading in four may be an outlier without moving the median far. Readings
    are treated as independent: for a lag that wanders, the true interval is wider.

    Shapes:
        time_ms: (N,) ascending; equal times are allowed and give no slope.
        values: (S, N) NaN where there is no reading.
        returns: (S,)
    Source:
        Sen 1968, ranks by the normal approximation of Kendall's S without ties.
    """
    first, second = np.triu_indices(len(time_ms), k=1)
    seconds = (time_ms[second] - time_ms[first]) / 1000.0
    apart = seconds > 0
    first, second, seconds = first[apart], second[apart], seconds[apart]
    count = len(values)
    out = Trend(*(np.full(count, np.nan) for _ in range(3)))
    if not len(seconds):
        return out
    step = max(1, PAIRS_AT_ONCE // len(seconds))
    for start in range(0, count, step):
        rows = slice(start, start + step)
        slopes = (values[rows, second] - values[rows, first]) / seconds
        slopes.sort(axis=1)  # NaN last
        readings = np.count_nonzero(~np.isnan(values[rows]), axis=1)
        _fill(out, rows, slopes, np.count_nonzero(~np.isnan(slopes), axis=1), readings)
    return out


def few_readings(time_ms: I64, series: int) -> I64:
    """Return which readings to take: evenly in time, and so that very many series cost no more than a bound.

    First and last are always among them. Half the readings make an interval
    about 1.4 times as wide: it says so itself.

    >>> minutes = np.arange(60)
    >>> few_readings(minutes, 5000).size, few_readings(minutes, 20_000).size
    (60, 32)
    >>> few_readings(np.array([0, 10, 20, 28, 29, 30]), 1)
    array([0, 1, 2, 5])
    """
    if not len(time_ms):
        return np.empty(0, dtype=np.int64)
    most = max(LEAST_READINGS, int((1 + (1 + 8 * SLOPES_A_ROUND / max(1, series)) ** 0.5) / 2))
    wanted = np.linspace(time_ms[0], time_ms[-1], min(len(time_ms), most, MOST_READINGS))
    return np.unique(np.searchsorted((time_ms[1:] + time_ms[:-1]) / 2, wanted))


def _fill(out: Trend, rows: slice, slopes: F64, pairs: I64, readings: I64) -> None:
    def ranked(rank: I64) -> F64:
        return np.take_along_axis(slopes, np.clip(rank, 0, slopes.shape[1] - 1)[:, None], axis=1)[:, 0]

    out.slope[rows] = (ranked((pairs - 1) // 2) + ranked(pairs // 2)) / 2
    spread = CONFIDENCE_Z * np.sqrt(readings * (readings - 1) * (2 * readings + 5) / 18)
    low = np.floor((pairs - spread) / 2).astype(np.int64)  # rank from 1; below 1 there is no bound
    some = pairs > 0
    out.slope[rows][~some] = np.nan
    bounded = some & (low >= 1)
    out.low[rows] = np.where(bounded, ranked(low - 1), np.where(some, -np.inf, np.nan))
    out.high[rows] = np.where(bounded, ranked(pairs - low), np.where(some, np.inf, np.nan))


def catch_up(lag: F64, found: Trend) -> CatchUp:
    """Return when each lag is gone if it goes on as in the past.

    Shapes:
        lag: (S,) NaN where there is none to speak of.
        found: (S,)
    """
    return CatchUp(
        _time_to_zero(lag, found.slope), _time_to_zero(lag, found.low), _time_to_zero(lag, found.high)
    )


def _time_to_zero(lag: F64, slope: F64) -> F64:
    falling = slope < 0
    seconds: F64 = np.divide(lag, -slope, out=np.full(len(lag), np.inf), where=falling)
    seconds[np.isnan(slope)] = np.nan
    seconds[lag == 0] = 0.0
    seconds[np.isnan(lag)] = np.nan
    return seconds


def of_topic(seconds: F64, topic: I64, topics: int) -> F64:
    """Return the catch-up of each topic: the maximum of its partitions, +Inf if any never does.

    One partition whose history does not suffice leaves its topic without an answer,
    unless another already says never. Leave out partitions that the group does not read.

    Shapes:
        seconds: (S,) of each partition.
        topic: (S,) number of its topic, below `topics`.
        returns: (topics,) NaN without an answer.
    """
    longest = np.full(topics, -np.inf)
    np.maximum.at(longest, topic, np.where(np.isnan(seconds), -np.inf, seconds))
    unknown: Bool = np.zeros(topics, dtype=np.bool_)
    unknown[topic[np.isnan(seconds)]] = True
    return np.where((unknown & ~np.isposinf(longest)) | np.isneginf(longest), np.nan, longest)
