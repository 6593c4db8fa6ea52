"""Arithmetic and comparison, element by element, with IEEE results as Go gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np

from metricsmith.model.arrays import F64, Bool
from metricsmith.promql.values import both

Operation: TypeAlias = Callable[[Any, Any], Any]


def _power(base: Any, exponent: Any) -> Any:
    found = np.power(base, exponent)
    # NumPy takes a square root instead, which is NaN for -Inf and -0 for -0.
    rooted = (exponent == 0.5) & ((base == -np.inf) | (base == 0))
    return np.where(rooted, np.abs(base), found) if np.any(rooted) else found


ARITHMETIC: Final[dict[str, Operation]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": _power,
    "atan2": np.arctan2,
}
COMPARISON: Final[dict[str, Operation]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}


def apply(op: str, left: F64, right: F64, present: Bool | None, return_bool: bool) -> tuple[F64, Bool | None]:
    """Return values and mask of an operator; a comparison without `bool` keeps left values where it holds.

    Shapes:
        left, right: broadcast to (S, T); present: (S, T) or None.
    """
    if op in ARITHMETIC:
        return ARITHMETIC[op](left, right), present
    holds = COMPARISON[op](left, right)
    if return_bool:
        return holds.astype(np.float64), present
    return np.broadcast_to(left, holds.shape), both(present, holds)
