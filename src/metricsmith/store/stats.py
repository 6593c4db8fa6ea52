"""What makes up the history on disk: sizes, ages, and which names and labels make many series."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any

import pyarrow as pa

from metricsmith.model.labels import decode_labels, metric_name
from metricsmith.store.block_files import read_series, whole
from metricsmith.store.catalogue import columns_to_keys
from metricsmith.store.history_files import History, HistoryFiles

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class BlockSizes:
    """The blocks of one length of window."""

    window_ms: int
    blocks: int
    samples: int
    bytes: int
    first_ms: int
    last_ms: int


@dataclass(slots=True)
class HistoryStats:
    """Counts over all blocks; those of series are of different ones, those of samples with duplicates.

    `new_per_hour` is how many series came each hour that were in no block before.
    """

    blocks: int = 0
    series: int = 0
    samples: int = 0
    bytes: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    newest_series: int = 0
    new_per_hour: float = 0.0
    by_window: list[BlockSizes] = field(default_factory=list)
    series_by_metric: list[tuple[str, int]] = field(default_factory=list)
    samples_by_metric: list[tuple[str, int]] = field(default_factory=list)
    values_by_label: list[tuple[str, int]] = field(default_factory=list)
    series_by_label: list[tuple[str, int]] = field(default_factory=list)
    series_by_pair: list[tuple[str, int]] = field(default_factory=list)


def history_stats(history: History, limit: int, advance: Callable[[int], None]) -> HistoryStats:
    """Return counts, the `limit` largest of each kind; `advance` is told of each block.

    Raises:
        BlockCorrupt: a block's series are damaged.
        StoreError: they cannot be read now.
    """
    found = HistoryStats(blocks=len(history.blocks))
    seen: set[bytes] = set()
    catalogues: set[str] = set()
    samples: Counter[str] = Counter()
    first_count = 0
    for block in sorted(history.blocks, key=lambda b: (b.meta.min_time_ms, b.meta.number)):
        series = read_series(block.folder, block.meta, ["name", "labels", "row_count"])
        samples.update(_samples_by_metric(series))
        if block.meta.catalogue not in catalogues:
            catalogues.add(block.meta.catalogue)
            seen.update(columns_to_keys(whole(series["name"]), whole(series["labels"])))
        first_count = first_count or len(seen)
        found.newest_series = block.meta.series
        advance(1)
    _add_sizes(found, history.blocks)
    found.series = len(seen)
    if found.first_ms is not None and found.last_ms is not None and found.last_ms > found.first_ms:
        hours = max(1.0, (found.last_ms - found.first_ms) / HOUR_MS)
        found.new_per_hour = (len(seen) - first_count) / hours
    found.samples_by_metric = _largest(samples, limit)
    _add_cardinality(found, seen, limit)
    return found


def _add_sizes(found: HistoryStats, blocks: Sequence[HistoryFiles]) -> None:
    metas = [block.meta for block in blocks]
    found.samples, found.bytes = sum(m.samples for m in metas), sum(m.disk_bytes for m in metas)
    found.first_ms = min((m.min_time_ms for m in metas), default=None)
    found.last_ms = max((m.max_time_ms for m in metas), default=None)
    together = defaultdict(list)
    for meta in metas:
        together[meta.window_end_ms - meta.window_start_ms].append(meta)
    found.by_window = [
        BlockSizes(
            window_ms,
            len(own),
            sum(m.samples for m in own),
            sum(m.disk_bytes for m in own),
            min(m.min_time_ms for m in own),
            max(m.max_time_ms for m in own),
        )
        for window_ms, own in sorted(together.items())
    ]


def _add_cardinality(found: HistoryStats, keys: set[bytes], limit: int) -> None:
    metrics: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for key in keys:
        metrics[metric_name(key)] += 1
        pairs.update(decode_labels(key).items())
    values, of_label = Counter[str](), Counter[str]()
    for (name, _), count in pairs.items():
        values[name] += 1
        of_label[name] += count
    found.series_by_metric = _largest(metrics, limit)
    found.values_by_label = _largest(values, limit)
    found.series_by_label = _largest(of_label, limit)
    found.series_by_pair = [(f"{name}={value}", count) for (name, value), count in _largest(pairs, limit)]


def _largest(counts: Counter[Any], limit: int) -> list[tuple[Any, int]]:
    return nsmallest(limit, counts.items(), key=lambda each: (-each[1], each[0]))


def _samples_by_metric(series: pa.Table) -> dict[str, int]:
    sums = series.group_by("name").aggregate([("row_count", "sum")])
    return {row["name"]: row["row_count_sum"] for row in sums.to_pylist()}
