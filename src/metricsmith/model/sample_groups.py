"""Groups of samples brought into the form that suits the work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.selection import MatrixGroup, RaggedGroup, Selection

SMALL_MATRIX_VALUES = 8_192
MANY_MATRICES = 4


def gather_small(
    matrices: list[MatrixGroup], ragged: RaggedGroup | None, steps: int
) -> tuple[list[MatrixGroup], RaggedGroup | None]:
    """Return groups with many small matrices turned into series one after another.

    A kernel call costs about the same for two series as for twenty, so a
    thousand targets with two matching series each are one ragged group.
    """
    small = [len(m.rows) * (len(m.times) + steps) < SMALL_MATRIX_VALUES for m in matrices]
    if sum(small) <= MANY_MATRICES:
        return matrices, ragged
    large = [m for m, is_small in zip(matrices, small, strict=True) if not is_small]
    parts = [as_ragged(m) for m, is_small in zip(matrices, small, strict=True) if is_small]
    if ragged is not None:
        parts.append(ragged)
    return large, concatenate(parts)


def as_ragged(group: MatrixGroup) -> RaggedGroup:
    """Return the same series one after another."""
    series, samples = group.values.shape
    return RaggedGroup(
        group.rows,
        np.arange(series + 1, dtype=np.int64) * samples,
        np.tile(group.times, series),
        group.values.ravel(),
        None if group.stale is None else np.tile(group.stale, series),
    )


def concatenate(groups: list[RaggedGroup]) -> RaggedGroup:
    """Return several ragged groups as one."""
    lengths = np.concatenate([np.diff(g.offsets) for g in groups])
    stale: Bool | None = None
    if any(g.stale is not None for g in groups):
        stale = np.concatenate(
            [np.zeros(len(g.times), np.bool_) if g.stale is None else g.stale for g in groups]
        )
    return RaggedGroup(
        np.concatenate([g.rows for g in groups]),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        np.concatenate([g.times for g in groups]),
        np.concatenate([g.values for g in groups]),
        stale,
    )


def without_markers(
    matrices: list[MatrixGroup], ragged: RaggedGroup | None
) -> tuple[list[MatrixGroup], RaggedGroup | None]:
    """Return the groups without staleness markers, which range functions do not see."""
    return [_matrix_without_markers(m) for m in matrices], (
        None if ragged is None else _ragged_without_markers(ragged)
    )


def _matrix_without_markers(group: MatrixGroup) -> MatrixGroup:
    if group.stale is None:
        return group
    kept = ~group.stale
    return MatrixGroup(group.rows, group.times[kept], np.ascontiguousarray(group.values[:, kept]))


def _ragged_without_markers(group: RaggedGroup) -> RaggedGroup:
    if group.stale is None:
        return group
    kept = ~group.stale
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    return RaggedGroup(group.rows, before[group.offsets], group.times[kept], group.values[kept])


def within(selection: Selection, start_ms: int, end_ms: int) -> Selection:
    """Return what a selection has in the closed range [start_ms, end_ms]; series without any are left out."""
    matrices = [cut for m in selection.matrices if (cut := _matrix_within(m, start_ms, end_ms)) is not None]
    ragged = None if selection.ragged is None else _ragged_within(selection.ragged, start_ms, end_ms)
    kept = np.zeros(len(selection.keys), np.bool_)
    for group in (*matrices, *((ragged,) if ragged is not None else ())):
        kept[group.rows] = True
    if kept.all():
        return Selection(selection.keys, matrices, ragged)
    moved = np.cumsum(kept) - 1
    return Selection(
        [selection.keys[row] for row in np.flatnonzero(kept).tolist()],
        [replace(m, rows=moved[m.rows]) for m in matrices],
        None if ragged is None else replace(ragged, rows=moved[ragged.rows]),
    )


def _matrix_within(group: MatrixGroup, start_ms: int, end_ms: int) -> MatrixGroup | None:
    first, last = np.searchsorted(group.times, [start_ms, end_ms + 1]).tolist()
    if first == last:
        return None
    if last - first == len(group.times):
        return group
    stale = None if group.stale is None else group.stale[first:last]
    values = np.ascontiguousarray(group.values[:, first:last])
    return MatrixGroup(group.rows, group.times[first:last], values, stale)


def _ragged_within(group: RaggedGroup, start_ms: int, end_ms: int) -> RaggedGroup | None:
    kept = (group.times >= start_ms) & (group.times <= end_ms)
    if kept.all():
        return group
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    offsets = before[group.offsets]
    filled = np.diff(offsets) > 0
    if not filled.any():
        return None
    return RaggedGroup(
        group.rows[filled],
        np.concatenate([offsets[:-1][filled], offsets[-1:]]),
        group.times[kept],
        group.values[kept],
        None if group.stale is None else group.stale[kept],
    )


def selection_of(found: list[tuple[bytes, I64, F64, Bool]]) -> Selection:
    """Return series as a selection: those with the same times and markers as matrices, the others ragged.

    Shapes:
        found: key, times, values, staleness markers of each series, in key order.
    """
    alike: dict[tuple[bytes, bytes], list[int]] = {}
    for row, (_, times, _, stale) in enumerate(found):
        alike.setdefault((times.tobytes(), stale.tobytes()), []).append(row)
    matrices, loose = [], []
    for rows in alike.values():
        if len(rows) == 1:
            loose += rows
            continue
        _, times, _, stale = found[rows[0]]
        values = np.stack([found[row][2] for row in rows])
        matrices.append(MatrixGroup(np.array(rows), times, values, stale if stale.any() else None))
    return Selection([key for key, *_ in found], matrices, _ragged(found, loose))


def _ragged(found: list[tuple[bytes, I64, F64, Bool]], rows: list[int]) -> RaggedGroup | None:
    if not rows:
        return None
    lengths = [len(found[row][1]) for row in rows]
    stale = np.concatenate([found[row][3] for row in rows])
    return RaggedGroup(
        np.array(rows, dtype=np.int64),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        np.concatenate([found[row][1] for row in rows]),
        np.concatenate([found[row][2] for row in rows]),
        stale if stale.any() else None,
    )
