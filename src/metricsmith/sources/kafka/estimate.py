"""A ratio from windows at random offsets, and how sure it is.

Windows are clusters: neighbouring records are alike, so it is windows that count, not records. Offsets are
split into strata of about the same size; each stratum has two windows or more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from metricsmith.model.arrays import F64, I64

MOST_WORTH = 8
"""Independent records that one window counts for at most: with it, 8 windows of a log in which a tenth of
the batches hold most tombstones still cover the truth (simulated)."""
_Z = NormalDist().inv_cdf(0.975)
_T_975 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A ratio between 0 and 1 with its 95 % interval, and how many records there are."""

    ratio: float
    low: float
    high: float
    records: float


@dataclass(frozen=True, slots=True)
class Windows:
    """What was found, each batch divided by the number of offsets at which a window would have met it.

    Shapes:
        chosen, records: (W,) such sums per window, of what is looked for and of all.
        stratum: (W,) of each window; sizes: (H,) offsets per stratum.
    """

    chosen: F64
    records: F64
    stratum: I64
    sizes: F64


def estimate(windows: Windows) -> Estimate | None:
    """Return the share of what is looked for, None when no window held a record.

    A batch is met with a probability that grows with its length; dividing by it
    (Horvitz and Thompson) keeps long batches from counting twice. The interval is
    Wilson's for as many independent records as would vary as the windows do.

    Source:
        E. Korn, B. Graubard, Survey Methodology 24 (1998): effective sample size, degrees of freedom;
        with Wilson's interval in place of Clopper and Pearson's.
    """
    strata = len(windows.sizes)
    count = np.bincount(windows.stratum, minlength=strata)
    factor = np.divide(windows.sizes, count, out=np.zeros(strata), where=count > 0)
    weight = factor[windows.stratum]
    total = float(weight @ windows.records)
    if total <= 0:
        return None
    ratio = min(1.0, float(weight @ windows.chosen) / total)
    variance, freedom = _variance(windows, ratio, count, factor, total)
    met = int((windows.records > 0).sum())
    low, high = _interval(ratio, variance, freedom, met)
    return Estimate(ratio, low, high, total)


def _variance(windows: Windows, ratio: float, count: I64, factor: F64, total: float) -> tuple[float, float]:
    """Return the variance of the ratio between windows within strata, and its degrees of freedom."""
    strata = len(windows.sizes)
    rest = windows.chosen - ratio * windows.records
    mean = np.bincount(windows.stratum, rest, strata) / np.maximum(count, 1)
    squares = np.bincount(windows.stratum, (rest - mean[windows.stratum]) ** 2, strata)
    spread = count > 1
    parts = factor[spread] ** 2 * count[spread] * squares[spread] / (count[spread] - 1) / total**2
    variance = float(parts.sum())
    if variance <= 0:
        return 0.0, float(max(1, (count[spread] - 1).sum()))
    return variance, variance**2 / float((parts**2 / (count[spread] - 1)).sum())


def _interval(ratio: float, variance: float, freedom: float, met: int) -> tuple[float, float]:
    spread = ratio * (1 - ratio)
    # Windows that agree may all have missed a cluster, so each is worth only so much.
    most = met * (MOST_WORTH if spread > 0 else 1)
    size = most if variance * most <= spread else spread / variance
    size *= (_Z / t_quantile(freedom)) ** 2
    middle = (ratio + _Z**2 / (2 * size)) / (1 + _Z**2 / size)
    half = _Z / (1 + _Z**2 / size) * math.sqrt(spread / size + _Z**2 / (4 * size**2))
    return max(0.0, min(ratio, middle - half)), min(1.0, max(ratio, middle + half))


def t_quantile(freedom: float) -> float:
    """Return the 97.5 % quantile of Student's t, to 0.1 %; fractional degrees are interpolated.

    >>> [round(t_quantile(n), 2) for n in (1, 2, 10, 30)]
    [12.71, 4.3, 2.23, 2.04]
    """
    if freedom >= len(_T_975):
        z = _Z
        return (
            z
            + (z**3 + z) / (4 * freedom)
            + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
            + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
        )
    below = max(1, int(freedom))
    part = (1 / below - 1 / max(freedom, 1.0)) / (1 / below - 1 / (below + 1))
    return _T_975[below - 1] + part * (_T_975[min(below, len(_T_975) - 1)] - _T_975[below - 1])
