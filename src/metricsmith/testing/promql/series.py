"""Random series with every difficulty, reproducible from a seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.labels import encode_labels
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request

START_MS = 1_700_000_000_000
"""When all series begin; not at a whole minute, so that subqueries have to align their steps."""
SPAN_MS = 40 * 60_000
INTERVAL_MS = 15_000
JOBS = ("api", "db", "web")
INSTANCES = ("a:1", "b:1", "c:2")
LIMITS = ("0.1", "0.5", "1", "2.5", "10", "+Inf")
TEXTS = ("plain", "", "Wörld 世界 🙂", 'quote" back\\slash', "line\nbreak\ttab", "a.*b|c$1", "x" * 2000)

Samples = tuple[dict[str, str], I64, F64, Bool]
"""Labels, times in ms, values, and which of them are staleness markers."""


@dataclass
class Dataset:
    """Series in the making."""

    random: np.random.Generator
    series: list[Samples] = field(default_factory=list)

    def add(
        self, name: str, labels: Mapping[str, str], times: I64, values: F64, stale: Bool | None = None
    ) -> None:
        """Add a series; times are milliseconds after the start."""
        marks = np.zeros(len(times), np.bool_) if stale is None else stale
        self.series.append(({"__name__": name, **labels}, START_MS + times, values, marks))

    def write_requests(self, parts: int = 16) -> Iterator[bytes]:
        """Yield all samples as remote-write requests, one for each part of the time."""
        edges = START_MS + np.linspace(0, SPAN_MS + INTERVAL_MS, parts + 1)
        for low, high in pairwise(edges.tolist()):
            cut = [slice(*np.searchsorted(times, [low, high]).tolist()) for _, times, *_ in self.series]
            yield encode_write_request(
                [encode_series_labels(encode_labels(labels)) for labels, *_ in self.series],
                [part.stop - part.start for part in cut],
                np.concatenate([series[1][part] for series, part in zip(self.series, cut, strict=True)]),
                np.concatenate([series[2][part] for series, part in zip(self.series, cut, strict=True)]),
                np.concatenate([series[3][part] for series, part in zip(self.series, cut, strict=True)]),
            )


def make_dataset(seed: int) -> Dataset:
    """Return about 300 series over 40 minutes; the same for the same seed."""
    data = Dataset(np.random.default_rng(seed))
    shared = np.arange(0, SPAN_MS, INTERVAL_MS, dtype=np.int64)
    for job in JOBS:
        _add_job(data, job, shared)
        for instance in INSTANCES:
            _add_instance(data, {"job": job, "instance": instance}, shared)
    _add_malformed_histograms(data, shared)
    _add_mixed(data, shared)
    _add_shapes(data, shared)
    return data


def _add_job(data: Dataset, job: str, shared: I64) -> None:
    random = data.random
    data.add("owner", {"job": job, "team": f"team-{job}"}, shared, np.full(len(shared), float(len(job))))
    once = np.sort(random.choice(SPAN_MS, 1)).astype(np.int64)
    data.add("single", {"job": job}, once, random.normal(0, 10, 1))


def _add_instance(data: Dataset, where: dict[str, str], shared: I64) -> None:
    random, count = data.random, len(shared)
    jittered = shared + random.integers(0, 8000, count)
    gaps = jittered[random.random(count) > 0.15]
    some = np.sort(random.choice(jittered, count // 3, replace=False))
    data.add("requests_total", where, shared, _counter(random, count))
    data.add("jittered_total", where, gaps, _counter(random, len(gaps)) * 0.1)
    data.add("level", where, shared, random.normal(0, 100, count))
    data.add("steps", where, shared, random.integers(-2, 4, count).repeat(3)[:count].astype(np.float64))
    data.add("odd", where, shared, *_odd(random, random.normal(5, 3, count)))
    signs = random.choice([-1.0, 1.0], count)
    data.add("wild", where, shared, signs * np.power(10.0, random.uniform(-300, 300, count)))
    data.add("sparse", where | {"zone": where["job"][:1]}, some, random.random(len(some)) * 10)
    data.add("moment", where, shared, random.integers(-(10**9), 4 * 10**9, count).astype(np.float64))
    turn = random.random(count) < 0.5
    turn = turn.repeat(12)[:count]
    for name, mine in (("early", turn), ("later", ~turn)):
        data.add(name, where, shared[mine], random.random(int(mine.sum())) * 5)
    data.add("flapping", where, shared, random.random(count) + 1, _breaks(random, count))
    alive = slice(0, count // 3) if where["instance"] == "a:1" else slice(count // 2, None)
    data.add("passing", where, shared[alive], random.random(len(shared[alive])))
    below = np.zeros(count)
    restarts = int(random.integers(count // 4, count))
    for limit in LIMITS:
        below = below + random.integers(0, 5, count)
        total = np.cumsum(below)
        total[restarts:] -= total[restarts - 1]
        data.add("seconds_bucket", where | {"le": limit}, shared, total)


def _counter(random: np.random.Generator, count: int) -> F64:
    """Return a counter of whole numbers, with resets."""
    steps = random.integers(0, 50, count).astype(np.float64)
    values = np.cumsum(steps)
    for reset in np.flatnonzero(random.random(count) < 0.02).tolist():
        values[reset:] -= values[reset] - steps[reset]
    return values


def _odd(random: np.random.Generator, values: F64) -> tuple[F64, Bool]:
    """Return values with NaN, infinities and zeros of both signs among them, and staleness markers."""
    for odd in (math.nan, math.inf, -math.inf, 0.0, -0.0):
        values[random.random(len(values)) < 0.02] = odd
    return values, random.random(len(values)) < 0.02


def _breaks(random: np.random.Generator, count: int) -> Bool:
    """Return markers that end a series now and then, some for a while."""
    stale = random.random(count) < 0.03
    first = int(random.integers(0, count - 8))
    stale[first : first + 8] = True
    return stale


def _add_mixed(data: Dataset, shared: I64) -> None:
    """Add series of one metric that do not have the same labels, nor live at the same time."""
    shapes: list[dict[str, str]] = [
        {},
        *({"job": job} for job in JOBS),
        *({"instance": instance} for instance in INSTANCES),
        *({"job": job, "instance": "a:1", "zone": "z"} for job in JOBS),
        {"job": "api", "instance": "b:1"},
        {"_": "x", "A": "before the name"},
    ]
    for labels in shapes:
        first, last = sorted(data.random.integers(0, len(shared), 2).tolist())
        times = shared[first : last + 1]
        data.add("mixed", labels, times, data.random.integers(-3, 9, len(times)).astype(np.float64))


def _add_malformed_histograms(data: Dataset, shared: I64) -> None:
    """Add histograms that break one rule each; `job` tells which."""
    shapes: dict[str, tuple[str | None, ...]] = {
        "no-inf": ("0.1", "1", "10"),
        "only-inf": ("+Inf",),
        "spellings": ("1", "1.0", "1e0", "2", "Inf", "+Inf"),
        "not-numbers": ("0.5", "many", "", "+Inf"),
        "no-le": ("1", "+Inf", None),
        "negative": ("-5", "-1", "0", "+Inf"),
        "falling": ("1", "2", "3", "4", "+Inf"),
        "from-minus-inf": ("-Inf", "1", "+Inf"),
    }
    for job, limits in shapes.items():
        below = np.zeros(len(shared))
        for limit in limits:
            grown = data.random.integers(0, 9, len(shared)).astype(np.float64)
            below = grown if job == "falling" else below + grown
            labels = {"job": job} if limit is None else {"job": job, "le": limit}
            data.add("broken_bucket", labels, shared, below)


def _add_shapes(data: Dataset, shared: I64) -> None:
    """Add many series with equal times, strange label values, and numbers at the ends of the range."""
    random, count = data.random, len(shared)
    for number in range(60):
        labels = {"n": str(number), "parity": "odd" if number % 2 else "even"}
        data.add("many", labels, shared, random.normal(number, 1, count))
    for number, text in enumerate(TEXTS):
        data.add(
            "text",
            {"kind": f"k{number}", "text": text},
            shared,
            random.integers(0, 9, count).astype(np.float64),
        )
    ends = [
        1.7976931348623157e308,
        1e21,
        1e20,
        1e-6,
        9.999999e-7,
        0.1,
        123456789.123,
        2.0**53,
    ]
    for number, value in enumerate(ends):
        data.add("ends", {"n": str(number)}, shared, np.full(count, value))
    for number, value in enumerate([5e-324, -5e-324, 1e-310]):
        data.add("faint", {"n": str(number)}, shared, np.full(count, value))
    for number in range(4):  # equal but for the last bits
        data.add("equal", {"n": str(number)}, shared, np.full(count, 0.1 + 0.2))
