"""Thirty days of history in random order: samples/s, bytes written, what is left of blocks; beside in order.

The same samples go into two stores as remote write brings them, batch by batch: once in order of time,
once in an order in which every batch has any times of the month. Bytes written are those of all blocks,
merged ones again each time. Run: python bench/bench_backfill.py [series]
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from common import table, workspace
from metricsmith.contracts import Context
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.block_writer import BlockWriter
from metricsmith.store.embedded import EmbeddedStore
from metricsmith.store.settings import EmbeddedConfig
from metricsmith.testing.clock import FakeClock

DAYS, STEP_S = 30, 60
BATCH = 20_000
HEAD_BYTES = 16 << 20  # a quarter of the default: the month is to be many heads
END_MS = 1_700_000_000_000


@dataclass
class Written:
    """Bytes of every block that was finished."""

    bytes: int = 0
    blocks: int = 0
    most_blocks: int = 0
    most_files: int = 0
    seen: set[int] = field(default_factory=set)


def main(series: int) -> None:
    times = END_MS - DAYS * 86_400_000 + 600_000 + np.arange(DAYS * 86_400 // STEP_S - 10) * STEP_S * 1000
    rows = np.tile(np.arange(series, dtype=np.uint32), len(times))
    at = np.repeat(times, series)
    values = np.cumsum(np.random.default_rng(1).integers(0, 50, len(at))).astype(np.float64)
    shuffled = np.random.default_rng(2).permutation(len(at))
    found = []
    for name, order in (("in order", np.arange(len(at))), ("in random order", shuffled)):
        with workspace() as folder:
            found.append((name, *_run(folder, series, rows[order], at[order], values[order])))
    columns = [
        "",
        "M samples/s",
        "MB written",
        "MB final",
        "written / final",
        "blocks",
        "most blocks",
        "most files open",
    ]
    table(f"{DAYS} days of {series} series every {STEP_S} s, {len(at) / 1e6:.1f} M samples", columns, found)
    print(f"\nfinal bytes, random / in order: {found[1][3] / found[0][3]:.2f}")


def _run(
    folder: Path, series: int, rows: np.ndarray, at: np.ndarray, values: np.ndarray
) -> tuple[object, ...]:
    clock, known, written = FakeClock(END_MS), SeriesTable(), Written()
    config = EmbeddedConfig.model_validate({"path": str(folder), "head_bytes": HEAD_BYTES})
    store = EmbeddedStore(config, Context("store", known, Telemetry(clock), clock))
    ids = known.intern_many(
        encode_labels({"__name__": "requests_total", "instance": f"h{n:05}", "job": "api"})
        for n in range(series)
    )
    finish = BlockWriter.finish

    def counted(self: BlockWriter, *arguments: object) -> object:
        made = finish(self, *arguments)  # type: ignore[arg-type]
        written.bytes += made.meta.disk_bytes
        written.blocks += 1
        return made

    BlockWriter.finish = counted  # type: ignore[method-assign, assignment]
    began = time.perf_counter()
    try:
        for sequence, start in enumerate(range(0, len(rows), BATCH)):
            part = slice(start, start + BATCH)
            store.apply(store.admit(Batch(Layout(ids[rows[part]]), at[part], values[part])), sequence)
            store.tick(clock.now_ms())
            if store._heads.overfull:
                store._heads.wait_for_write(clock.now_ms())
            written.most_blocks = max(written.most_blocks, store._blocks.block_count)
            if sequence % 20 == 0:
                written.most_files = max(written.most_files, psutil.Process().num_fds())
        while store.cursor() < store.applied:
            store.begin_flush().result()
        for _ in range(3):
            store.tick(clock.now_ms())
            if store._upkeep is not None:
                store._upkeep.result()
        store._blocks.compact()
        seconds = time.perf_counter() - began
    finally:
        BlockWriter.finish = finish  # type: ignore[method-assign]
    final = store._blocks.disk_usage()
    count = store._blocks.block_count
    store.close()
    return (
        len(rows) / seconds / 1e6, round(written.bytes / 1e6, 1), round(final / 1e6, 1),
        written.bytes / final, count, written.most_blocks, written.most_files,
    )  # fmt: skip


if __name__ == "__main__":
    main(*(int(text) for text in sys.argv[1:] or ("400",)))
