"""What a worker says, checked: whoever may open the socket must not be able to spoil the totals of others."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isfinite, log
from typing import Any, NamedTuple

from metricsmith.sdk.gauge import MODES
from metricsmith.sdk.processes.cells import ADD, Bins, Pairs, Shape
from metricsmith.sdk.processes.frames import VERSION, BadFrame
from metricsmith.sdk.registry import SUFFIXES
from metricsmith.sdk.sketch import LARGEST

MAX_LINES, MAX_LABELS, MAX_TEXT = 2_000, 64, 64 << 10
_TYPES = frozenset((*SUFFIXES, "gauge", "stateset", "unknown"))


class Hello(NamedTuple):
    """Who speaks."""

    session: str
    pid: int
    service: str
    instance: str


def read_hello(message: dict[str, Any]) -> Hello:
    """Return what the first message says.

    Raises:
        BadFrame: it is another, or of another version.
    """
    if message.get("hello") != VERSION:
        raise BadFrame("version", f"got {str(message)[:100]}, wanted a hello of version {VERSION}")
    session, pid = message.get("session"), message.get("pid")
    if not (isinstance(session, str) and 0 < len(session) <= 64 and session.isalnum() and type(pid) is int):
        raise BadFrame("malformed", "got a hello without a session and a process id")
    return Hello(session, pid, _text(message.get("service"), 200), _text(message.get("instance"), 200))


def read_shape(raw: Any) -> Shape:
    """Return the shape of cells.

    Raises:
        BadFrame: it is none.
    """
    name, type, documentation, unit, mode, whole, lines, sketch = _items(raw, 8)
    if type not in _TYPES or (mode != ADD and mode not in MODES) or not isinstance(whole, bool):
        raise BadFrame("malformed", f"got the type {str(type)[:50]!r} and the mode {str(mode)[:50]!r}")
    if not isinstance(lines, list) or not 0 < len(lines) <= MAX_LINES:
        raise BadFrame("malformed", f"got no lines, or more than {MAX_LINES}")
    read = tuple([(_text(line), read_labels(extra)) for line, extra in (_items(each, 2) for each in lines)])
    texts = (_text(name, 1000), type, _text(documentation), _text(unit, 200))
    if not texts[0]:
        raise BadFrame("malformed", "got no metric name")
    return Shape(*texts, mode, whole, read, None if sketch is None else _read_sketch(sketch))


def _read_sketch(raw: Any) -> tuple[tuple[float, ...], float, float]:
    quantiles, error, window_s = _items(raw, 3)
    wanted = read_values(quantiles, len(quantiles) if isinstance(quantiles, list) else 0)
    error, window_s = read_values([error, window_s], 2)
    if len(wanted) > 100 or not all(0 <= q <= 1 for q in wanted) or not 0.0001 <= error < 1 or window_s <= 0:
        raise BadFrame("malformed", "got quantiles or an error that no summary has")
    return tuple(wanted), error, window_s


def read_labels(raw: Any) -> Pairs:
    """Return labels.

    Raises:
        BadFrame: they are none, or too many.
    """
    if not isinstance(raw, list) or len(raw) > MAX_LABELS:
        raise BadFrame("malformed", f"got no labels, or more than {MAX_LABELS}")
    return tuple([(_text(name, 1000), _text(value)) for name, value in (_items(pair, 2) for pair in raw)])


def read_values(raw: Any, count: int, *, finite: bool = True) -> list[float]:
    """Return numbers.

    Raises:
        BadFrame: not that many, or something else.
    """
    if not isinstance(raw, list) or len(raw) != count:
        raise BadFrame("malformed", f"got {str(raw)[:50]}, wanted {count} numbers")
    for value in raw:
        kind = type(value)
        if not (kind is float or (kind is int and -(2**63) < value < 2**63)) or (
            finite and not isfinite(value)
        ):
            raise BadFrame("malformed", f"got {str(value)[:50]}, wanted a number")
    return raw


def read_bins(raw: Any, error: float) -> Bins:
    """Return what was added to a sketch of this error.

    Raises:
        BadFrame: it is none, or has bins that no such sketch has.
    """
    positive, negative, zero = _items(raw, 3)
    (count,) = read_values([zero], 1)
    largest = ceil(log(LARGEST) / log((1 + error) / (1 - error))) + 1
    return _read_counts(positive, largest), _read_counts(negative, largest), int(count)


def _read_counts(raw: Any, largest: int) -> dict[int, int]:
    if not isinstance(raw, list) or len(raw) > 2 * largest + 1:
        raise BadFrame("malformed", "got no bins, or too many")
    found = {}
    for key, count in (_items(each, 2) for each in raw):
        if type(key) is not int or type(count) is not int or abs(key) > largest or not 0 <= count < 2**63:
            raise BadFrame("malformed", "got a bin that no sketch has")
        found[key] = count
    return found


def _items(raw: Any, count: int) -> Sequence[Any]:
    if not isinstance(raw, list) or len(raw) != count:
        raise BadFrame("malformed", f"got {str(raw)[:50]}, wanted a list of {count}")
    return raw


def _text(raw: Any, longest: int = MAX_TEXT) -> str:
    if not isinstance(raw, str) or len(raw) > longest:
        raise BadFrame("malformed", f"got {str(raw)[:50]!r}, wanted text of at most {longest} characters")
    return raw
