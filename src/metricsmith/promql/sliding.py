"""Associative operations over many overlapping windows in time linear in samples plus windows."""

from __future__ import annotations

from typing import Final

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool

CANCELLATION: Final = 2e-3
"""A sum smaller than this share of its terms' magnitudes is summed again with compensation."""


def fold(operation: np.ufunc, values: F64, first: I64, last: I64) -> F64:
    """Return an associative operation over each window.

    Nothing outside a window touches its result, so an infinity or a huge value
    does not leak into its neighbours, as it would with prefix sums.

    Shapes:
        values: (…, P), P ≥ 1.
        first, last: (W,) inclusive sample bounds.
        returns: (…, W), unspecified for empty windows.
    Source:
        van Herk 1992, Gil and Werman 1993: blocks of the longest window's
        length, a window is the suffix of one block joined with the prefix of
        the next. Windows inside one block are reduced one by one: they are few
        or short.
    """
    longest = int((last - first).max(initial=0)) + 1
    if longest == 1:
        return np.take(values, last, axis=-1)
    blocks = -(-values.shape[-1] // longest)
    shaped = _padded(values, blocks * longest).reshape(*values.shape[:-1], blocks, longest)
    flat = (*values.shape[:-1], blocks * longest)
    prefix = operation.accumulate(shaped, axis=-1).reshape(flat)
    suffix = operation.accumulate(shaped[..., ::-1], axis=-1)[..., ::-1].reshape(flat)
    result: F64 = operation(np.take(suffix, first, axis=-1), np.take(prefix, last, axis=-1))
    inside = np.flatnonzero((first // longest == last // longest) & (last >= first))
    if len(inside):
        result[..., inside] = _reduced(operation, values, first[inside], last[inside])
    return result


def fold_repeatable(operation: np.ufunc, values: F64, first: I64, last: I64) -> F64:
    """Return an associative operation over each window, one that takes a value twice as once: `fmin`, `fmax`.

    Shapes:
        as of `fold`.
    Source:
        Sparse table, Bender and Farach-Colton 2000: a window is covered by two
        runs of the largest power of two that it holds. Each length of runs is
        made from the one before by one fast operation of an array on itself,
        moved; nearly all windows are of the same length.
    """
    counts = last - first + 1
    power = max(int(counts.max(initial=1)), 1).bit_length() - 1
    shorter = np.flatnonzero(counts < 1 << power)
    powers = np.frexp(counts[shorter])[1] - 1
    of_shorter = np.empty((*values.shape[:-1], len(shorter)))
    runs = values
    for level in range(power):
        own = np.flatnonzero(powers == level)
        if len(own):
            of_shorter[..., own] = _two_runs(operation, runs, first[shorter[own]], last[shorter[own]], level)
        runs = operation(runs[..., : -1 << level], runs[..., 1 << level :])
    result = _two_runs(operation, runs, first, last, power)
    result[..., shorter] = of_shorter
    return result


def _two_runs(operation: np.ufunc, runs: F64, first: I64, last: I64, power: int) -> F64:
    # Where the window is shorter than its runs there is nothing to take: any place will do.
    ends = np.take(runs, last - ((1 << power) - 1), axis=-1, mode="clip")
    if power == 0:
        return ends
    found: F64 = operation(np.take(runs, first, axis=-1, mode="clip"), ends, out=ends)
    return found


def _padded(values: F64, length: int) -> F64:
    missing = length - values.shape[-1]
    if not missing:
        return values
    return np.concatenate([values, np.repeat(values[..., -1:], missing, axis=-1)], axis=-1)


def _reduced(operation: np.ufunc, values: F64, first: I64, last: I64) -> F64:
    # `reduceat` wants a start after each end, also after the last sample: hence one value more.
    cuts = np.stack([first, last + 1], axis=1).ravel()
    reduced: F64 = operation.reduceat(_padded(values, values.shape[-1] + 1), cuts, axis=-1)[..., ::2]
    return reduced


def window_sums(values: F64, first: I64, last: I64) -> F64:
    """Return the sum of each window, to about 1e-12 relative also where terms cancel.

    Shapes:
        values: (…, P), P ≥ 1.
        first, last: (W,) inclusive sample bounds.
        returns: (…, W), unspecified for empty windows.
    Source:
        Prometheus sums with Kahan-Neumaier compensation; so do we where plain
        addition would lose more than three digits.
    """
    sums = fold(np.add, values, first, last)
    if not all(signs(values)):
        return sums
    bad = cancelled(sums, fold(np.add, np.abs(values), first, last)) & (last > first)
    if bad.any():
        *rows, window = np.nonzero(bad)
        starts = first[window] + (rows[0] * values.shape[-1] if rows else 0)
        sums[bad] = compensated_sums(values.ravel(), starts, (last - first + 1)[window])
    return sums


def signs(values: F64) -> tuple[bool, bool]:
    """Return whether there are negative values, and whether there are positive ones."""
    low, high = values.min(initial=0.0), values.max(initial=0.0)
    if np.isnan(low):  # the fast reductions give NaN as soon as there is one
        low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    return bool(low < 0), bool(high > 0)


def cancelled(sums: F64, magnitudes: F64) -> Bool:
    """Return where a finite sum is small beside the sum of its terms' magnitudes."""
    found: Bool = np.abs(sums) < CANCELLATION * magnitudes
    return found


def compensated_sums(flat: F64, starts: I64, counts: I64, stride: int = 1) -> F64:
    """Return Σ flat[start + i·stride] for i < count, with a running compensation.

    Shapes:
        flat: (P,)
        starts, counts: (W,)
        returns: (W,)
    Source:
        Neumaier 1974.
    """
    total = np.zeros(len(starts))
    lost = np.zeros(len(starts))
    for i in range(int(counts.max(initial=0))):
        term = np.where(i < counts, np.take(flat, starts + i * stride, mode="clip"), 0.0)
        added = total + term
        larger = np.abs(total) >= np.abs(term)
        lost += np.where(larger, (total - added) + term, (term - added) + total)
        total = added
    return total + lost
