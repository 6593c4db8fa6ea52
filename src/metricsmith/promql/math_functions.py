"""Functions of one number at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from metricsmith.model.arrays import F64


def _larger(left: F64, right: F64) -> F64:
    # As Go has it: infinity wins over NaN, and 0 over -0.
    found = np.where((left == np.inf) | (right == np.inf), np.inf, np.maximum(left, right))
    return np.where((left == 0) & (right == 0), left + right, found)


def _smaller(left: F64, right: F64) -> F64:
    return -_larger(-left, -right)


def clamp(values: F64, low: F64, high: F64) -> F64:
    """Return values held between two bounds; a NaN bound gives NaN, but for infinite values."""
    return _larger(low, _smaller(high, values))


def clamp_min(values: F64, low: F64) -> F64:
    """Return values not below a bound."""
    return _larger(low, values)


def clamp_max(values: F64, high: F64) -> F64:
    """Return values not above a bound."""
    return _smaller(high, values)


def round_to(values: F64, to_nearest: F64) -> F64:
    """Return values rounded to a multiple, halves up.

    Source:
        Prometheus `round`: multiplies with the inverse, because 1/x is exact
        more often than x.
    """
    inverse = 1.0 / to_nearest
    return np.floor(values * inverse + 0.5) / inverse


def _degrees(values: F64) -> F64:
    # In Prometheus' order, which decides the last bit and where numbers overflow.
    return values * 180 / np.pi


def _radians(values: F64) -> F64:
    return values * np.pi / 180


def sign(values: F64) -> F64:
    """Return 1, −1 or the value itself (0, NaN)."""
    return np.where(values > 0, 1.0, np.where(values < 0, -1.0, values))


ELEMENTWISE: dict[str, Callable[..., F64]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sgn": sign,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "deg": _degrees,
    "rad": _radians,
}
"""Functions of one vector without parameters, by name."""
