"""Rows of samples copied from one flat array into another, each row as a whole.

An index for each sample would be several times as much memory as the samples. Rows of one length are a
view of an array instead, from which whole rows are taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from metricsmith.model.arrays import I64
from metricsmith.store.ragged import flat_positions

Samples: TypeAlias = np.ndarray[tuple[int], np.dtype[Any]]

FEW_LENGTHS, FEW_SAMPLES = 4, 4_096
"""With more lengths than these and fewer samples of each, rows are copied sample by sample."""


def copy_rows(copies: Sequence[tuple[Samples, Samples]], begin: I64, to: I64, lengths: I64) -> None:
    """Copy `source[begin[i]:begin[i] + lengths[i]]` to `target[to[i]:]` for all i, of each (source, target).

    Shapes:
        begin, to, lengths: (R,)
    """
    for rows, width in _of_one_length(lengths):
        if width is None:
            here, there = flat_positions(begin[rows], lengths[rows]), flat_positions(to[rows], lengths[rows])
            for source, target in copies:
                target[there] = source[here]
            continue
        for source, target in copies:
            _rows(target, width)[to[rows]] = _rows(source, width)[_places(begin[rows], width)]


def _of_one_length(lengths: I64) -> Iterator[tuple[slice | I64, int | None]]:
    """Yield rows that are of one length, and that length; None where there are too few of each."""
    if not len(lengths):
        return
    if (lengths == lengths[0]).all():
        if lengths[0]:
            yield slice(None), int(lengths[0])
        return
    order = np.argsort(lengths, kind="stable")
    cuts = np.flatnonzero(np.diff(lengths[order], prepend=-1, append=-1))
    if len(cuts) - 1 > max(FEW_LENGTHS, int(lengths.sum()) // FEW_SAMPLES):
        yield slice(None), None
        return
    for lo, hi in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        if width := int(lengths[order[lo]]):
            yield order[lo:hi], width


def _rows(samples: Samples, width: int) -> np.ndarray[tuple[int, int], np.dtype[Any]]:
    """Return a view of all rows of a width, wherever they begin; NumPy's own takes ten times as long.

    Shapes:
        samples: (P,) contiguous.
        returns: (P - width + 1, width)
    """
    shape, step = (len(samples) - width + 1, width), samples.itemsize
    return np.ndarray(shape, samples.dtype, samples, strides=(step, step))


def _places(begin: I64, width: int) -> I64 | slice:
    """Return where rows begin, as a slice where each begins at the end of the one before."""
    if bool((begin[1:] - begin[:-1] == width).all()):
        return slice(int(begin[0]), int(begin[-1]) + 1, width)
    return begin
