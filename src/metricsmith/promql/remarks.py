"""What a query has to say besides its answer: Prometheus' annotations, in its words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from metricsmith.errors import line_and_column
from metricsmith.model.arrays import F64
from metricsmith.model.labels import PAIR
from metricsmith.model.series_keys import derive

MOST_SHOWN = 10
COUNTER_SUFFIXES = (b"_total", b"_sum", b"_count", b"_bucket")

SORT_IN_RANGE_QUERY = "sort is ineffective for range queries since results are always ordered by labels"
_FORCED_MONOTONICITY = (
    "input to histogram_quantile needed to be fixed for monotonicity "
    "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
)


@dataclass(slots=True)
class Forced:
    """How far the counts of a histogram's buckets were from rising: what had to be levelled.

    Source:
        Prometheus since 3.10 adds up what one call levelled, instead of an info each.
    """

    least_bound: float
    greatest_bound: float
    greatest_fall: float
    samples: int
    first_ms: int
    last_ms: int

    def add(self, other: Forced) -> None:
        """Take in what else was levelled."""
        self.least_bound = min(self.least_bound, other.least_bound)
        self.greatest_bound = max(self.greatest_bound, other.greatest_bound)
        self.greatest_fall = max(self.greatest_fall, other.greatest_fall)
        self.samples += other.samples
        self.first_ms, self.last_ms = min(self.first_ms, other.first_ms), max(self.last_ms, other.last_ms)

    def __str__(self) -> str:
        bounds = f"from buckets {general(self.least_bound)} to {general(self.greatest_bound)}"
        fall = f"with a max diff of {general(self.greatest_fall)}"
        times = f"from {_rfc3339(self.first_ms)} to {_rfc3339(self.last_ms)}"
        return f"{_FORCED_MONOTONICITY}, {bounds}, {fall}, over {self.samples} samples {times}"


@dataclass(slots=True)
class Annotations:
    """Remarks on a query, each once, in order of appearance, with the place in the text that is meant."""

    text: str = ""
    _warnings: dict[str, int] = field(default_factory=dict)
    _infos: dict[str, int] = field(default_factory=dict)
    _forced: dict[int, Forced] = field(default_factory=dict)

    def warn(self, message: str, position: int) -> None:
        """Add a warning, unless the same was said before of another place."""
        self._warnings.setdefault(message, position)

    def inform(self, message: str, position: int) -> None:
        """Add an info, unless the same was said before of another place."""
        self._infos.setdefault(message, position)

    def inform_forced(self, forced: Forced, position: int) -> None:
        """Add to the info on what had to be levelled in the histograms of one argument."""
        known = self._forced.get(position)
        if known is None:
            self._forced[position] = forced
        else:
            known.add(forced)

    def warnings(self) -> list[str]:
        """Return the warnings as an answer shows them: ten, and how many more there are."""
        return self._shown("warning", self._warnings.items())

    def infos(self) -> list[str]:
        """Return the infos in the same way."""
        forced = [(str(forced), position) for position, forced in self._forced.items()]
        return self._shown("info", [*self._infos.items(), *forced])

    def _shown(self, kind: str, found: Iterable[tuple[str, int]]) -> list[str]:
        texts = []
        for message, position in found:
            line, column = line_and_column(self.text, position)
            texts.append(f"PromQL {kind}: {message} ({line}:{column})")
        omitted = len(texts) - MOST_SHOWN
        return [*texts[:MOST_SHOWN], f"{omitted} more {kind} annotations omitted"] if omitted > 0 else texts


@dataclass(frozen=True, slots=True)
class CallRemarks:
    """Remarks of one call or aggregation, which know where it and each of its arguments stand."""

    annotations: Annotations
    positions: tuple[int, ...]

    def warn(self, messages: Iterable[str], argument: int = -1) -> None:
        """Add warnings on an argument, or on the call as a whole."""
        for message in messages:
            self.annotations.warn(message, self._position(argument))

    def inform(self, messages: Iterable[str], argument: int = -1) -> None:
        """Add infos on an argument, or on the call as a whole."""
        for message in messages:
            self.annotations.inform(message, self._position(argument))

    def inform_forced(self, forced: Forced, argument: int) -> None:
        """Add to the info on what had to be levelled in the histograms of an argument."""
        self.annotations.inform_forced(forced, self._position(argument))

    def _position(self, argument: int) -> int:
        return self.positions[argument + 1]


def bad_quantiles(values: F64) -> list[str]:
    """Return a warning for each different value that is no quantile."""
    wrong = values[~((values >= 0) & (values <= 1))]
    return [f"quantile value should be between 0 and 1, got {general(q)}" for q in np.unique(wrong).tolist()]


def bad_ratios(values: F64) -> list[str]:
    """Return a warning for each different value that is no ratio; NaN is an error elsewhere."""
    return [
        f"ratio value should be between -1 and 1, got {general(r)}, capping to {'1' if r > 0 else '-1'}"
        for r in np.unique(values[(values > 1) | (values < -1)]).tolist()
    ]


def bad_bucket(bound: str) -> str:
    """Return the warning on a bucket whose upper bound is no number."""
    return f'bucket label "le" is missing or has a malformed value of {_quoted(bound)}'


def native_histograms_wanted(function: str) -> str:
    """Return the info on a function that only native histograms could answer: here are none."""
    return f"{function} ignores floats and native histograms are not supported, so it has no result"


def non_counters(keys: Sequence[bytes]) -> list[str]:
    """Return an info for each metric name among series that no counter should have."""
    names = derive(keys, "names", lambda: {key.partition(PAIR)[0] for key in keys})
    message = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:"
    wrong = sorted(name for name in names if name and not name.endswith(COUNTER_SUFFIXES))
    return [f"{message} {_quoted(name.decode())}" for name in wrong]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _rfc3339(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{time_ms / 1000:g}"


def general(value: float) -> str:
    """Return a number as Go's `%g` writes it: the shortest digits, an exponent below 1e-4 and from 1e6 on.

    >>> general(0.5), general(2.0), general(1234567.0), general(1e-7), general(float("-inf"))
    ('0.5', '2', '1.234567e+06', '1e-07', '-Inf')
    """
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    exact = Decimal(repr(value))
    exponent = exact.adjusted() if exact else 0
    if not -4 <= exponent < 6:
        digits = "".join(map(str, exact.normalize().as_tuple().digits))
        mantissa = f"{digits[0]}.{digits[1:]}".rstrip(".")
        return f"{'-' if value < 0 else ''}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    text = f"{exact:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
