"""Processors: a scrape of 10,000 series through each, in samples/s, beside a Python loop per sample.

The loop is what one would write first: labels and earlier values in dictionaries, one sample after the other.
It has neither quantiles nor ticks, accumulates nothing, and knows no ends of series.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from metricsmith import registry
from metricsmith.contracts import Context, Ticking
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry

SERIES = 10_000
SECONDS = 0.6
BOUNDS = ("0.1", "0.5", "1", "+Inf")
PER_ROUTE = 2 * (len(BOUNDS) + 2) + 8
TYPES = {
    **{f"lat_{i}": MetricType.HISTOGRAM for i in range(2)},
    **{f"hits_{i}_total": MetricType.COUNTER for i in range(4)},
    **{f"size_{i}": MetricType.GAUGE for i in range(4)},
}


def scraped() -> list[dict[str, str]]:
    """Return the label sets of a scrape: histograms, counters and gauges over many routes."""
    found: list[dict[str, str]] = []
    for route in range(SERIES // PER_ROUTE):
        labels = {"instance": "shop:80", "job": "shop", "route": f"/api/{route}", "zone": f"z{route % 3}"}
        for i in range(2):
            found += [{"__name__": f"lat_{i}_bucket", "le": le, **labels} for le in BOUNDS]
            found += [{"__name__": f"lat_{i}_{part}", **labels} for part in ("sum", "count")]
        for i in range(4):
            found += [{"__name__": f"hits_{i}_total", **labels}, {"__name__": f"size_{i}", **labels}]
    return found


Rows = list[tuple[dict[str, str], float]]
Loop = Callable[[Rows, float], list[tuple[Any, float]]]


def key(labels: dict[str, str], *without: str) -> frozenset[tuple[str, str]]:
    """Return labels as a key of dictionaries."""
    return frozenset((name, value) for name, value in labels.items() if name not in without)


def loop_map(change: Callable[[dict[str, str]], dict[str, str] | None]) -> Loop:
    """Labels changed or dropped sample by sample."""
    return lambda rows, now: [(new, value) for labels, value in rows if (new := change(labels)) is not None]


def loop_rate() -> Loop:
    """Rates of counters, the values before in a dictionary."""
    before: dict[Any, tuple[float, float]] = {}

    def run(rows: Rows, now: float) -> list[tuple[Any, float]]:
        out: list[tuple[Any, float]] = []
        for labels, value in rows:
            if not labels["__name__"].endswith("_total"):
                out.append((labels, value))
                continue
            mark = key(labels)
            if mark in before:
                then, last = before[mark]
                out.append((labels, (value if value < last else value - last) / (now - then)))
            before[mark] = now, value
        return out

    return run


def loop_average() -> Loop:
    """Averages of histograms, sums and counts before in a dictionary."""
    before: dict[Any, tuple[float, float]] = {}

    def run(rows: Rows, now: float) -> list[tuple[Any, float]]:
        sums: dict[Any, float] = {}
        counts: dict[Any, float] = {}
        out: list[tuple[Any, float]] = []
        for labels, value in rows:
            name = labels["__name__"]
            if not name.startswith("lat_"):
                out.append((labels, value))
            elif name.endswith("_sum"):
                sums[name[:-4], key(labels, "__name__")] = value
            elif name.endswith("_count"):
                counts[name[:-6], key(labels, "__name__")] = value
                out.append((labels, value))
        for mark, total in sums.items():
            count = counts[mark]
            if mark in before and count > before[mark][1]:
                out.append((mark, (total - before[mark][0]) / (count - before[mark][1])))
            before[mark] = total, count
        return out

    return run


def loop_sum(rows: Rows, now: float) -> list[tuple[Any, float]]:
    """Sums without one label."""
    sums: dict[Any, float] = {}
    out: list[tuple[Any, float]] = []
    for labels, value in rows:
        if labels["__name__"].startswith("size_"):
            mark = key(labels, "route")
            sums[mark] = sums.get(mark, 0.0) + value
        else:
            out.append((labels, value))
    return [*out, *sums.items()]


def loop_sample() -> Loop:
    """Every second sample of each series."""
    seen: dict[Any, int] = {}

    def run(rows: Rows, now: float) -> list[tuple[Any, float]]:
        out = []
        for labels, value in rows:
            mark = key(labels)
            seen[mark] = seen.get(mark, 0) + 1
            if seen[mark] % 2:
                out.append((labels, value))
        return out

    return run


def loop_guard() -> Loop:
    """Values of a label counted, those beyond the limit folded and added up."""
    values: dict[tuple[str, str], set[str]] = {}

    def run(rows: Rows, now: float) -> list[tuple[Any, float]]:
        out: dict[Any, float] = {}
        for labels, value in rows:
            name, folded = labels["__name__"], dict(labels)
            for label, text in labels.items():
                known = values.setdefault((name, label), set())
                if text not in known and len(known) >= 200:
                    folded[label] = "__overflow__"
                else:
                    known.add(text)
            mark = key(folded)
            out[mark] = out.get(mark, 0.0) + value
        return list(out.items())

    return run


def not_zone_1(labels: dict[str, str]) -> dict[str, str] | None:
    return None if labels["zone"] == "z1" else labels


def renamed(labels: dict[str, str]) -> dict[str, str]:
    changed = {"path" if name == "route" else name: value for name, value in labels.items()}
    if changed["__name__"].startswith("hits_"):
        changed["__name__"] = "http_" + changed["__name__"]
    return changed


def cases() -> Iterator[tuple[str, str, dict[str, Any], Loop]]:
    """Yield what is measured: title, type, settings, the loop that does the same."""
    yield "filter", "filter", {"drop": ['{zone="z1"}']}, loop_map(not_zone_1)
    yield (
        "rename",
        "rename",
        {"metrics": {"(hits_.*)": "http_$1"}, "labels": {"route": "path"}},
        loop_map(renamed),
    )
    yield "average", "average", {}, loop_average()
    yield "average, 2 quantiles", "average", {"quantiles": [0.5, 0.95]}, loop_average()
    yield "rate", "rate", {}, loop_rate()
    yield "delta", "delta", {}, loop_rate()
    gauges = ['{__name__=~"size_.*"}']
    yield "aggregate, in a batch", "aggregate", {"match": gauges, "without": ["route"]}, loop_sum
    ticks = {"match": gauges, "without": ["route"], "interval": "15s"}
    yield "aggregate, in ticks", "aggregate", ticks, loop_sum
    yield "sample, every 2nd", "sample", {"every": 2}, loop_sample()
    yield "cardinality_guard, folding", "cardinality_guard", {"values_per_label": 200}, loop_guard()
    yield "cardinality_guard, enough room", "cardinality_guard", {}, loop_guard()


def rate_of(run: Callable[[int], object], series: int) -> float:
    """Return samples per second of calls with the number of the turn, the first three not measured."""
    for turn in range(1, 4):
        run(turn)
    turn, began = 3, time.perf_counter()
    while (passed := time.perf_counter() - began) < SECONDS:
        turn += 1
        run(turn)
    return (turn - 3) * series / passed


def main() -> None:
    logging.disable(logging.WARNING)  # what the guard folds is told
    table = SeriesTable()
    context = Context("bench", table, Telemetry(), SystemClock())
    labels = scraped()
    ids = table.intern_many([encode_labels(one) for one in labels])
    layout = Layout(ids, "shop", {name: Metadata(kind) for name, kind in TYPES.items()})
    base = np.arange(len(ids), dtype=np.float64) + 1.0
    variants = [base * turn for turn in range(1, 2000)]
    print(f"{len(ids)} series a scrape, steady state\n")
    print(f"| {'processor':32} | million samples/s | loop | ratio |\n| --- | ---: | ---: | ---: |")
    for title, type_name, settings, loop in cases():
        part = registry.load("processors", type_name)
        processor = part(part.Config.model_validate(settings), context)

        def process(turn: int, processor: Any = processor) -> None:
            processor.process(Batch(layout, turn * 15_000, variants[turn % len(variants)]))
            if isinstance(processor, Ticking):
                processor.tick(turn * 15_000)

        def by_loop(turn: int, loop: Loop = loop) -> None:
            loop(list(zip(labels, variants[turn % len(variants)].tolist(), strict=True)), turn * 15.0)

        ours, theirs = rate_of(process, len(ids)), rate_of(by_loop, len(ids))
        print(f"| {title:32} | {ours / 1e6:.1f} | {theirs / 1e6:.2f} | {ours / theirs:.0f} |")


if __name__ == "__main__":
    main()
