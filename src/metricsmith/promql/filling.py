"""The modifiers `fill`, `fill_left` and `fill_right`: partners for series that have none."""

from __future__ import annotations

import numpy as np

from metricsmith.model.arrays import Bool
from metricsmith.promql.ast import Matching
from metricsmith.promql.series_labels import signatures
from metricsmith.promql.values import Vector


def fill_missing(
    many: Vector, one: Vector, matching: Matching, values: tuple[float | None, float | None]
) -> tuple[Vector, Vector]:
    """Return both sides of a binary operator, each with the series that the other one asks for.

    Where no series of a match group has a value, one with the group's labels
    gets it; where both sides have none, there is nothing to match.
    `values` are those for the many and the one side; None leaves a side as it is.
    """
    for_many, for_one = values
    here, there = _presence(many, matching), _presence(one, matching)
    return _with(many, here, there, for_many), _with(one, there, here, for_one)


def _presence(vector: Vector, matching: Matching) -> dict[bytes, Bool]:
    """Return where any series of each match group has a value; masks of shape (T,)."""
    mask = vector.mask()
    found: dict[bytes, Bool] = {}
    for row, signature in enumerate(signatures(vector.keys, matching.labels, matching.on)):
        before = found.get(signature)
        found[signature] = mask[row] if before is None else before | mask[row]
    return found


def _with(vector: Vector, here: dict[bytes, Bool], there: dict[bytes, Bool], value: float | None) -> Vector:
    if value is None:
        return vector
    missing = {group: mask & ~here[group] if group in here else mask for group, mask in there.items()}
    missing = {group: mask for group, mask in missing.items() if mask.any()}
    if not missing:
        return vector
    filled = np.full((len(missing), vector.values.shape[1]), value)
    present = np.concatenate([vector.mask(), np.stack(list(missing.values()))])
    return Vector([*vector.keys, *missing], np.concatenate([vector.values, filled]), present)
