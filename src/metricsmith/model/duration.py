"""Durations as Prometheus writes them: 15s, 1h30m, 30d."""

from __future__ import annotations

import re

_DAY_MS = 86_400_000
_UNITS_MS = {
    "y": 365 * _DAY_MS,
    "w": 7 * _DAY_MS,
    "d": _DAY_MS,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_PATTERN = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
_MAX_DIGITS = 15


def parse_duration(text: str) -> int:
    """Return a duration in milliseconds.

    Raises:
        ValueError: not a duration; the message says what was got and wanted.
    Source:
        Prometheus `model.ParseDuration`: units y w d h m s ms, in that order,
        each at most once; `0` needs no unit.

    >>> parse_duration("1h30m"), parse_duration("0")
    (5400000, 0)
    """
    text = text.strip()
    if text == "0":
        return 0
    match = _PATTERN.fullmatch(text) if 0 < len(text) <= 7 * _MAX_DIGITS else None
    if match is None:
        raise ValueError(f'got "{text[:40]}", wanted a duration such as 15s, 5m or 1h30m')
    total = sum(int(n) * unit for n, unit in zip(match.groups(), _UNITS_MS.values(), strict=True) if n)
    if total >= 2**63 // 1_000_000:
        raise ValueError(f'got "{text[:40]}", wanted a duration below 292 years')
    return total


def format_duration(duration_ms: int) -> str:
    """Return milliseconds as the shortest duration text that is exact.

    Source:
        Prometheus `model.Duration.String`: years and weeks only when exact.

    >>> format_duration(5_400_000), format_duration(1500), format_duration(0)
    ('1h30m', '1s500ms', '0s')
    """
    if duration_ms == 0:
        return "0s"
    sign, rest = ("-", -duration_ms) if duration_ms < 0 else ("", duration_ms)
    parts = []
    for unit, size in _UNITS_MS.items():
        if unit in ("y", "w") and rest % size:
            continue
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return sign + "".join(parts)
