"""Functions of the samples in windows, made into vectors: instant selectors and range functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from metricsmith.model.arrays import F64, Bool
from metricsmith.promql.budget import Budget
from metricsmith.promql.kernels import Kernel, KernelResult
from metricsmith.promql.values import RangeVector, Vector, narrow
from metricsmith.promql.windows import Piece, Windows, pieces

MAX_WORK = 50_000_000
"""Samples under overlapping windows that one call of a kernel may look at."""


def over_windows(samples: RangeVector, kernel: Kernel, parameters: Sequence[F64], budget: Budget) -> Vector:
    """Return a kernel's value of each window, names kept; series without any value are left out.

    Shapes:
        parameters: (T,) each.
    """
    shape = len(samples.keys), samples.ends.count
    if not shape[1]:
        return Vector([], np.empty((0, 0)))
    budget.check_samples(shape[0] * shape[1])
    values = np.empty(shape)
    present = np.zeros(shape, dtype=np.bool_)
    for piece, found, there in kernel_results(samples, kernel, parameters, budget):
        if piece.every_step:
            values[piece.rows] = found.reshape(-1, shape[1])
            present[piece.rows] = there.reshape(-1, shape[1])
        else:
            values[piece.rows, piece.windows.steps] = found
            present[piece.rows, piece.windows.steps] = there
    return narrow(samples.keys, values, present)


def kernel_results(
    samples: RangeVector, kernel: Kernel, parameters: Sequence[F64], budget: Budget
) -> Iterator[tuple[Piece, F64, Bool]]:
    """Yield a kernel's value of the windows of each piece, and where there is one.

    Shapes:
        parameters: (T,) each.
        yields: a piece, (…, W), (…, W) or (W,)
    """
    for piece in pieces(samples):
        budget.check_time()
        windows = piece.windows
        found, exists = _in_parts(windows, kernel, [windows.per_window(p) for p in parameters], budget)
        some = windows.last >= windows.first
        yield piece, found, some if exists is None else some & exists


def _in_parts(windows: Windows, kernel: Kernel, parameters: Sequence[F64], budget: Budget) -> KernelResult:
    """Return a kernel's result, the time being checked on the way when the windows are long.

    Shapes:
        parameters: (W,) each.
    """
    longest = int((windows.last - windows.first).max(initial=-1)) + 1
    series = windows.values.size // max(windows.values.shape[-1], 1)
    size = max(1, MAX_WORK // max(longest * series, 1))
    if size >= len(windows.first):
        return kernel(windows, *parameters)
    results = []
    for start in range(0, len(windows.first), size):
        budget.check_time()
        part = slice(start, start + size)
        results.append(kernel(windows.some(part), *(p[part] for p in parameters)))
    values, masks = zip(*results, strict=True)
    exists = None if masks[0] is None else np.concatenate(masks, axis=-1)
    return np.concatenate(values, axis=-1), exists


def last_value(windows: Windows) -> KernelResult:
    """Return the last value, unless a staleness marker came last."""
    return windows.at(windows.last), _not_stale(windows)


def last_time(windows: Windows) -> KernelResult:
    """Return the time of the last value in seconds, unless a staleness marker came last."""
    seconds = np.take(windows.times, windows.last) / 1000
    return np.broadcast_to(seconds, (*windows.values.shape[:-1], len(seconds))), _not_stale(windows)


def _not_stale(windows: Windows) -> np.ndarray | None:
    return None if windows.stale is None else ~np.take(windows.stale, windows.last)
