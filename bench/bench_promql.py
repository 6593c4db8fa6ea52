"""Claim: from samples in memory, the engine answers sooner than Prometheus and VictoriaMetrics do in all.

1,000 series × 1,440 samples at 1,440 steps. Ours in process, on one thread, with timestamps that all
series share, that ten share, and with jitter of each series' own; theirs through HTTP, JSON included.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence

import numpy as np

from common import best_of, contenders, table, workspace
from common_write import bodies, get, labels, send
from metricsmith.model.labels import encode_labels
from metricsmith.model.matchers import Matcher
from metricsmith.model.selection import MatrixGroup, RaggedGroup, Selection
from metricsmith.promql import Engine

SERIES, STEPS, STEP_MS = 1000, 1440, 15_000
QUERIES = [
    "sum(rate(x[5m]))",
    "sum by (zone) (rate(x[5m]))",
    "rate(x[5m])",
    "max_over_time(x[5m])",
    "avg_over_time(x[5m])",
    "max(max_over_time(x[1h]))",
    "stddev_over_time(x[5m])",
    "quantile_over_time(0.9, x[5m])",
    "quantile by (zone) (0.9, x)",
    "topk(5, x)",
    "rate(x[5m]) / on (instance) group_left () x",
]


class Ready:
    """A store that has the answer of its one selector at hand."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        return self._selection


def selections(start_ms: int) -> dict[str, Selection]:
    """Return the same values with three kinds of timestamps."""
    keys = sorted(
        encode_labels({"__name__": "x", "instance": f"host-{i:05d}:9100", "zone": f"z{i % 7}"})
        for i in range(SERIES)
    )
    times = start_ms + STEP_MS * np.arange(STEPS, dtype=np.int64)
    values = (1.0 + np.arange(SERIES)[:, None] % 50) * np.arange(STEPS)
    rows = np.arange(SERIES, dtype=np.int64)
    tens = [MatrixGroup(rows[i : i + 10], times + i, values[i : i + 10]) for i in range(0, SERIES, 10)]
    jitter = np.random.default_rng(1).integers(0, 4000, (SERIES, STEPS))
    offsets = np.arange(SERIES + 1, dtype=np.int64) * STEPS
    return {
        "shared by all": Selection(keys, [MatrixGroup(rows, times, values)]),
        "shared by ten": Selection(keys, tens),
        "jittered": Selection(keys, [], RaggedGroup(rows, offsets, (times + jitter).ravel(), values.ravel())),
    }


def ours(start_ms: int, query: str) -> dict[str, float]:
    """Return milliseconds of the engine for each kind of timestamps."""
    end_ms = start_ms + STEP_MS * (STEPS - 1)
    found = {}
    for name, selection in selections(start_ms).items():
        engine = Engine(Ready(selection))  # type: ignore[arg-type]
        found[name] = best_of(5, functools.partial(engine.range, query, start_ms, end_ms, STEP_MS))[0] * 1000
    return found


def theirs(start_ms: int) -> dict[str, dict[str, float]]:
    """Return milliseconds of each peer for each query."""
    found: dict[str, dict[str, float]] = {}
    series = labels(SERIES, "x")
    with workspace() as folder:
        for name in ("prometheus", "victoria-metrics"):
            with contenders(folder)[name]() as server:
                url: str = server.url  # type: ignore[attr-defined]
                send(url, bodies(series, start_ms, STEP_MS, STEPS, 60, 1000))
                if name == "victoria-metrics":
                    get(url, "/internal/force_flush")
                found[name] = {query: _ask(url, query, start_ms) for query in QUERIES}
    return found


def _ask(url: str, query: str, start_ms: int) -> float:
    times = {
        "start": f"{start_ms / 1000}",
        "end": f"{start_ms / 1000 + STEP_MS / 1000 * (STEPS - 1)}",
        "step": f"{STEP_MS // 1000}",
    }
    ask = functools.partial(get, url, "/api/v1/query_range", query=query, nocache="1", **times)
    return best_of(3, ask)[0] * 1000


def main() -> None:
    # Six hours, so that a server with an empty head accepts them all.
    start_ms = (time.time_ns() // 1_000_000 - STEPS * STEP_MS) // STEP_MS * STEP_MS
    peers = theirs(start_ms)
    rows = []
    for query in QUERIES:
        mine = ours(start_ms, query)
        best = min(peer[query] for peer in peers.values())
        ratio = f"{mine['shared by all'] / peers['prometheus'][query]:.2f}"
        rows.append(
            [
                query,
                *mine.values(),
                *(peer[query] for peer in peers.values()),
                ratio,
                f"{mine['shared by all'] / best:.2f}",
            ]
        )
    table(
        f"{SERIES:,} series × {STEPS:,} samples at {STEPS:,} steps, milliseconds (ours in process)",
        [
            "query",
            "shared by all",
            "shared by ten",
            "jittered",
            *peers,
            "ratio to prometheus",
            "ratio to best",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
