"""Values of a series as tests write them: `1 2+3x4 _ stale`."""

from __future__ import annotations

import re

import numpy as np

from metricsmith.wire.remote_write_message import STALE_BITS

STALE = float(np.uint64(STALE_BITS).view(np.float64))
"""The value that marks the end of a series: a NaN with the bits that Prometheus gives it."""
MAX_RUN = 100_000

_NUMBER = r"[+-]?(?:[0-9.]+(?:[eE][+-]?[0-9]+)?|inf|nan)"
_STEP = r"[+-](?:[0-9.]+(?:[eE][+-]?[0-9]+)?)"
_RUN = re.compile(rf"({_NUMBER}|_|stale)(?:({_STEP})?x([0-9]+))?", re.IGNORECASE)
_WANTED = "wanted a value such as `1`, `NaN`, `1+2x5`, `_`, `_x3` or `stale`"


def parse_values(text: str, limit: int = 1_000_000) -> list[float | None]:
    """Return the values of a series, one for each interval: None for no sample, `STALE` for the end.

    Raises:
        ValueError: it is malformed, or gives more than `limit` values.
    Source:
        Prometheus, "Unit testing for rules"; native histograms are refused.

    >>> parse_values("1 2+3x2 _x2 7x1")
    [1.0, 2.0, 5.0, 8.0, None, None, 7.0, 7.0]
    """
    if "{{" in text:
        raise ValueError("got a native histogram, wanted numbers: native histograms are not supported")
    values: list[float | None] = []
    for word in text.split():
        values += expand(word)
        if len(values) > limit:
            raise ValueError(f"got more than {limit} values, wanted at most {limit}")
    return values


def expand(word: str) -> list[float | None]:
    """Return the values that one word stands for.

    Raises:
        ValueError: it is malformed.
    """
    match = _RUN.fullmatch(word)
    if match is None:
        raise ValueError(f"got `{word[:60]}`, {_WANTED}")
    first, growth, times = match.groups()
    count = _count(times or "0")
    if first == "_":
        if growth:
            raise ValueError(f"got `{word[:60]}`, {_WANTED}: what is absent does not grow")
        return [None] * (count if times else 1)
    value = STALE if first.lower() == "stale" else _number(first)
    step = _number(growth) if growth else 0.0
    if not step:
        return [value] * (count + 1)
    # One addition after the other, as Prometheus does it: 0.1+0.1x2 ends with 0.30000000000000004.
    steps = np.full(count + 1, step)
    steps[0] = value
    with np.errstate(all="ignore"):
        return list(np.add.accumulate(steps).tolist())


def _count(text: str) -> int:
    if len(text) > 6 or int(text) > MAX_RUN:
        raise ValueError(f"got `{text[:20]}`, wanted at most {MAX_RUN} repetitions")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"got `{text[:60]}`, wanted a number") from None
