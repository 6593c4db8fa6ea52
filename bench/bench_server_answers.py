"""A Prometheus' range answer to arrays: 1,000 series × 1,000 steps, beside JSON taken point by point."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import orjson

from metricsmith.api.jsonout import query_answer
from metricsmith.model.labels import encode_labels
from metricsmith.model.query_result import Result
from metricsmith.net.store_client import Reply
from metricsmith.store.prometheus.answers import Limits, range_result
from metricsmith.store.prometheus.server import decoded

SERIES, STEPS, ROUNDS = 1_000, 1_000, 3
TIMES = 1_700_000_000_000 + np.arange(STEPS, dtype=np.int64) * 15_000


def ours(body: bytes) -> float:
    limits = Limits(SERIES, SERIES * STEPS)
    return float(range_result(decoded(Reply(200, body)), TIMES, limits).values.sum())


def by_point(body: bytes) -> float:
    """Read all as JSON, then take point by point."""
    column = {time_ms: i for i, time_ms in enumerate(TIMES.tolist())}
    found = orjson.loads(body)["data"]["result"]
    values = np.full((len(found), STEPS), np.nan)
    for row, series in enumerate(found):
        for time_s, text in series["values"]:
            values[row, column[round(time_s * 1000)]] = float(text)
    return float(values.sum())


def best(work: Callable[[bytes], float], body: bytes) -> tuple[float, float]:
    """Return the shortest time of ROUNDS and the sum found."""
    took, total = [], 0.0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        total = work(body)
        took.append(time.perf_counter() - began)
    return min(took), total


def main() -> None:
    """Print both times and their ratio."""
    keys = [encode_labels({"__name__": "x", "instance": f"host{i:04d}:9100"}) for i in range(SERIES)]
    values = np.random.default_rng(1).normal(100, 30, (SERIES, STEPS))
    body = b"".join(query_answer(Result("matrix", TIMES, keys, values)))
    (fast, total), (slow, same) = best(ours, body), best(by_point, body)
    assert total == same, "both must read the same"
    points = SERIES * STEPS
    print(f"{len(body) / 1e6:.0f} MB, {points:,} points")
    print(f"ours {fast * 1000:.0f} ms, {points / fast / 1e6:.1f} million points/s")
    print(f"JSON and a step per point {slow * 1000:.0f} ms; {slow / fast:.1f} times ours")


if __name__ == "__main__":
    main()
