"""Query answers to JSON: 1,000 series × 1,440 steps beside formatting each value, and beside Arrow's cast."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metricsmith.api.jsonout import query_answer
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.query_result import Result
from metricsmith.promql.result import format_value

SERIES, STEPS = 1_000, 1_440
ROUNDS = 3


def naive(result: Result) -> int:
    """Format value by value, then join."""
    times = [str(t // 1000) for t in result.steps.tolist()]
    rows = []
    for key, values in zip(result.keys, result.values, strict=True):
        points = ",".join([f'[{t},"{format_value(v)}"]' for t, v in zip(times, values.tolist(), strict=True)])
        rows.append(f'{{"metric":{decode_labels(key)},"values":[{points}]}}')
    return len(",".join(rows).encode())


def arrow(result: Result) -> int:
    """Cast and join the whole answer as Arrow columns (integers lose nothing; exponents not mended)."""
    between = pa.array([f'"],[{t // 1000},"' for t in result.steps.tolist()] * SERIES)
    texts = pc.cast(pa.array(result.values.ravel()), pa.string())
    pieces = pc.binary_join_element_wise(between, texts, "")
    return len(pieces.buffers()[2].to_pybytes())


def ours(result: Result) -> int:
    return sum(map(len, query_answer(result)))


def best(work: Callable[[Result], int], result: Result) -> tuple[float, int]:
    """Return the shortest time of ROUNDS and the bytes made."""
    took, size = [], 0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        size = work(result)
        took.append(time.perf_counter() - began)
    return min(took), size


def main() -> None:
    chance = np.random.default_rng(1)
    steps = 1_700_000_000_000 + np.arange(STEPS, dtype=np.int64) * 15_000
    keys = [
        encode_labels({"__name__": "x", "instance": f"host{i:04d}:9100", "job": "b"}) for i in range(SERIES)
    ]
    shape = (SERIES, STEPS)
    gaps = chance.random(shape) > 0.1
    cases = {
        "random floats": (chance.random(shape) * 1000, None),
        "counters": (np.floor(chance.random(shape) * 1e9), None),
        "rates of counters": (np.floor(chance.random(shape) * 15_000) / 300, None),
        "rates, a tenth absent": (np.floor(chance.random(shape) * 15_000) / 300, gaps),
    }
    print(f"{SERIES:,} series x {STEPS:,} steps; best of {ROUNDS}; Python {sys.version.split()[0]}")
    heads = ("MB", "ours ms", "Arrow ms", "each ms", "ours/Arrow", "ours/each")
    print(f"{'values':24}" + "".join(f"{head:>12}" for head in heads))
    for name, (values, present) in cases.items():
        result = Result("matrix", steps, keys, np.ascontiguousarray(values), present)
        (fast, size), (columns, _), (slow, _) = best(ours, result), best(arrow, result), best(naive, result)
        print(
            f"{name:24}{size / 1e6:12.1f}{fast * 1e3:12.0f}{columns * 1e3:12.0f}{slow * 1e3:12.0f}"
            f"{fast / columns:12.2f}{fast / slow:12.2f}"
        )


if __name__ == "__main__":
    main()
