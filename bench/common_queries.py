"""Data sets and queries of the query benchmarks: the same remote-write bodies for every contender."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metricsmith.model.arrays import I64
from metricsmith.model.labels import encode_labels
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request

STEP_MS = 15_000
BUCKETS = ("0.005", "0.01", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "10", "+Inf")
SHARDS = 16

MANY = {
    "sum(rate)": "sum(rate(x[5m]))",
    "sum by (job)": "sum by (job) (rate(x[5m]))",
    "quantile by (job)": "quantile by (job) (0.9, rate(x[5m]))",
    "max(max_over_time)": "max(max_over_time(x[1h]))",
    "topk": "topk(5, rate(x[5m]))",
    "join": "sum by (version) (rate(x[5m]) * on (instance) group_left (version) x_info)",
}
"""Range queries over all series of a data set."""
ONE = {"one series": 'x{instance="host-00042:9100",path="/p3"}'}
HISTOGRAMS = {
    "histogram_quantile": "histogram_quantile(0.9, rate(h_bucket[5m]))",
    "histogram_quantile of sum": "histogram_quantile(0.9, sum by (le) (rate(h_bucket[5m])))",
}
SHARES = {
    "sum(rate) of 1/16": 'sum(rate(x{shard="s0"}[5m]))',
    "sum(rate) of 4/16": 'sum(rate(x{shard=~"s[0-3]"}[5m]))',
    "sum(rate) of 16/16": "sum(rate(x[5m]))",
}
"""The same query over 1, 4 and 16 times as many samples."""


@dataclass(frozen=True)
class DataSet:
    """Series to load, and what to ask of them.

    `queries` are asked at every scrape interval, `instant` at the end; of
    `ONE` the last two hours.
    """

    name: str
    load: Callable[[int], Iterator[bytes]]
    steps: int
    queries: Mapping[str, str]
    instant: Mapping[str, str] = field(default_factory=dict)

    def start_ms(self) -> int:
        """Return the first scrape time of a data set that ends now."""
        end_ms = time.time_ns() // 1_000_000 // STEP_MS * STEP_MS
        return end_ms - (self.steps - 1) * STEP_MS


def data_sets() -> dict[str, DataSet]:
    """Return all data sets by name."""
    raw_1h, raw_5m = {"raw selector": "x[1h]"}, {"raw selector": "x[5m]"}
    whole = {"whole rate": "rate(x[5m])"}
    found = [
        DataSet("1k", lambda at: counters(100, 1440, at), 1440, MANY | ONE | whole, raw_1h),
        DataSet("1k-jitter", lambda at: counters(100, 1440, at, True), 1440, MANY | ONE | whole, raw_1h),
        DataSet("20k", lambda at: counters(2000, 480, at), 480, MANY | ONE | SHARES, raw_5m),
        DataSet("20k-jitter", lambda at: counters(2000, 480, at, True), 480, MANY | ONE | SHARES, raw_5m),
        DataSet("histogram", lambda at: histograms(500, 480, at), 480, HISTOGRAMS),
        DataSet("histogram-jitter", lambda at: histograms(500, 480, at, True), 480, HISTOGRAMS),
        DataSet("churn", lambda at: churning(1000, 1440, at), 1440, {"sum(rate)": MANY["sum(rate)"]}),
    ]
    return {data.name: data for data in found}


def counters(instances: int, steps: int, start_ms: int, jitter: bool = False) -> Iterator[bytes]:
    """Yield bodies of ten counters for each instance, and one info series."""
    x, info = [], []
    for i in range(instances):
        instance = f"host-{i:05d}:9100"
        common = {"instance": instance, "job": f"job-{i % 10}", "shard": f"s{i % SHARDS}"}
        x += [_labels("x", common | {"path": f"/p{j}"}) for j in range(10)]
        info.append(_labels("x_info", {"instance": instance, "version": f"v{i % 7}"}))
    yield from _bodies(x, steps, start_ms, jitter, info)


def histograms(count: int, steps: int, start_ms: int, jitter: bool = False) -> Iterator[bytes]:
    """Yield bodies of classic histograms of ten buckets."""
    series = [
        _labels("h_bucket", {"instance": f"host-{i:05d}:9100", "job": f"job-{i % 10}", "le": le})
        for i in range(count)
        for le in BUCKETS
    ]
    yield from _bodies(series, steps, start_ms, jitter)


def _bodies(
    counters: list[bytes], steps: int, start_ms: int, jitter: bool, ones: Sequence[bytes] = ()
) -> Iterator[bytes]:
    """Yield bodies of counters whose rates rise within each ten, so that ten make a histogram."""
    chance = np.random.default_rng(7)
    series = [*counters, *ones]
    phase = chance.integers(0, STEP_MS - 1000, (len(series), 1)) if jitter else np.zeros((1, 1), np.int64)
    rates = 1.0 + np.arange(len(series)) % 10
    for first in range(0, steps, 60):
        at = np.arange(first, min(first + 60, steps), dtype=np.int64)
        for begin in range(0, len(series), 2000):
            chosen = slice(begin, begin + 2000)
            names = series[chosen]
            times = np.broadcast_to(start_ms + STEP_MS * at, (len(names), len(at)))
            if jitter:
                times = times - STEP_MS + phase[chosen] + chance.integers(0, 1000, times.shape)
            values = rates[chosen, None] * at * 100 + chance.integers(0, 100, times.shape)
            values[max(0, len(counters) - begin) :] = 1.0
            yield encode_write_request(names, [len(at)] * len(names), times.ravel(), values.ravel())


def churning(targets: int, steps: int, start_ms: int) -> Iterator[bytes]:
    """Yield bodies of two series for each target; 1 % of the targets are replaced at each scrape.

    Each target is scraped at times of its own, with a little noise.
    """
    chance = np.random.default_rng(7)
    phase = chance.integers(0, STEP_MS - 100, (targets, 1))
    generation = np.cumsum(chance.random((targets, steps)) < 0.01, axis=1)
    for first in range(0, steps, 60):
        at = np.arange(first, min(first + 60, steps), dtype=np.int64)
        times = start_ms - STEP_MS + STEP_MS * at + phase + chance.integers(0, 100, (targets, len(at)))
        yield _churned(times, generation[:, first : first + len(at)], at)


def _churned(times: I64, generation: I64, at: I64) -> bytes:
    labels, counts, all_times, values = [], [], [], []
    for target in range(len(times)):
        cuts = np.flatnonzero(np.diff(generation[target], prepend=-1, append=-1))
        for lo, hi in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            pod = f"pod-{target:04d}-{generation[target, lo]}"
            for kind in ("read", "write"):
                labels.append(_labels("x", {"pod": pod, "kind": kind, "target": f"t{target}"}))
                counts.append(hi - lo)
                all_times.append(times[target, lo:hi])
                values.append(at[lo:hi] * 3.0)
    return encode_write_request(labels, counts, np.concatenate(all_times), np.concatenate(values))


def _labels(name: str, labels: dict[str, str]) -> bytes:
    return encode_series_labels(encode_labels({"__name__": name, **labels}))
