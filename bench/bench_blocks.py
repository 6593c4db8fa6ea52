"""Blocks on disk: samples written per second, bytes per sample, and reads from disk and from the cache.

The peers: pyarrow with its defaults on rows that are sorted already, and DuckDB on the very files that
are read. Times are the best of several, as the machine is shared. Run: python bench/bench_blocks.py
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.blocks import BlockConfig, BlockStore
from metricsmith.store.pieces import RaggedPiece

SERIES, TIMES, STEP_MS = 1_000, 1_440, 5_000
WINDOW_START_MS = 1_699_999_200_000
CONFIG = BlockConfig(cache_bytes=256 << 20)


def best(repeat: int, work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Return the shortest time of the work in seconds."""
    times = []
    for _ in range(repeat):
        before()
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def counters(table: SeriesTable, series: int, times: int, start_ms: int, seed: int = 0) -> RaggedPiece:
    """Return integer counters that share their timestamps."""
    keys = (encode_labels({"__name__": "requests_total", "instance": f"h{i:06}:80"}) for i in range(series))
    growth = np.random.default_rng(seed).integers(0, 50, (series, times))
    return RaggedPiece(
        table.intern_many(keys),
        np.arange(series + 1) * times,
        np.tile(start_ms + np.arange(times) * STEP_MS, series),
        np.cumsum(growth, axis=1).astype(np.float64).ravel(),
    )


def store_of(folder: Path, table: SeriesTable) -> BlockStore:
    store = BlockStore(folder, table, Telemetry(), CONFIG)
    store.open()
    return store


def write(folder: Path) -> None:
    table = SeriesTable()
    shapes = {"1,000 x 1,440": (1_000, 1_440), "100,000 x 20": (100_000, 20)}
    for name, (series, times) in shapes.items():
        piece = counters(table, series, times, WINDOW_START_MS)
        store = store_of(folder / f"write{series}", table)
        seconds = best(3, lambda p=piece, s=store: s.write([p], {}, 1))
        size = store.disk_usage() / store.block_count / len(piece.times)
        speed = len(piece.times) / seconds / 1e6
        peer_size, peer = write_plainly(piece, folder / "plain.parquet")
        print(
            f"write {name:>14}: {speed:.1f} M samples/s, {size:.2f} bytes a sample; pyarrow alone"
            f" {len(piece.times) / peer / 1e6:.1f} M, {peer_size:.2f} bytes; ratio {seconds / peer:.2f}"
        )
        store.close()


def write_plainly(piece: RaggedPiece, path: Path) -> tuple[float, float]:
    """Return bytes a sample and seconds of pyarrow's own defaults (with zstd) on the same, sorted rows."""
    series = np.repeat(piece.series, np.diff(piece.offsets))
    table = pa.table({"series": series, "time_ms": piece.times, "value": piece.values})
    seconds = best(3, lambda: pq.write_table(table, path, compression="zstd"))
    return path.stat().st_size / len(piece.times), seconds


def read(folder: Path) -> None:
    table = SeriesTable()
    piece = counters(table, SERIES, TIMES, WINDOW_START_MS)
    store = store_of(folder, table)
    store.write([piece], {}, 1)
    store.close()
    everything = WINDOW_START_MS, WINDOW_START_MS + TIMES * STEP_MS
    opened: list[BlockStore] = []

    def reopen() -> None:
        if opened:
            opened.pop().close()
        opened.append(store_of(folder, table))

    ids, one = np.sort(piece.series), piece.series[500:501]
    cold = best(5, lambda: opened[0].pieces(ids, *everything), reopen)
    cached = best(9, lambda: opened[0].pieces(ids, *everything))
    one_cold = best(5, lambda: opened[0].pieces(one, *everything), reopen)
    one_cached = best(9, lambda: opened[0].pieces(one, *everything))
    opened[0].close()
    [block] = (folder / "blocks").iterdir()
    database = duckdb.connect()
    join = f"'{block}/samples.parquet' v JOIN '{block}/series.parquet' s USING (series)"
    peer = best(5, lambda: database.sql(f"SELECT series, time_ms, value FROM {join}").fetchnumpy())
    where = "s.labels['instance'] = 'h000500:80'"
    peer_one = best(5, lambda: database.sql(f"SELECT time_ms, value FROM {join} WHERE {where}").fetchnumpy())
    for name, ours, again, other in (
        ("1,000 series", cold, cached, peer),
        ("1 series", one_cold, one_cached, peer_one),
    ):
        print(
            f"read {name:>12} x 1,440: {ours * 1e3:6.2f} ms from disk, {again * 1e3:6.2f} ms cached;"
            f" DuckDB {other * 1e3:6.2f} ms; ratio {ours / other:.2f}"
        )


def read_across(folder: Path) -> None:
    table = SeriesTable()
    store = store_of(folder, table)
    for number in range(8):
        start_ms = WINDOW_START_MS + number * 170 * STEP_MS
        store.write([counters(table, SERIES, 170, start_ms, number)], {}, 1)
    one = np.array([500], np.uint32)
    everything = WINDOW_START_MS, WINDOW_START_MS + TIMES * STEP_MS
    store.pieces(np.array([0], np.uint32), *everything)  # file metadata is open now
    cold = best(5, lambda: store.pieces(one, *everything), lambda: store._cache.drop(lambda key: key[1] >= 0))
    cached = best(9, lambda: store.pieces(one, *everything))
    blocks = store.block_count
    begin = time.perf_counter()
    store.write([counters(table, SERIES, 20, WINDOW_START_MS + 1360 * STEP_MS, 9)], {}, 1)
    store.compact()
    merge = time.perf_counter() - begin
    store.close()
    print(
        f"read 1 series across {blocks} blocks: {cold * 1e3:.2f} ms from disk, {cached * 1e3:.2f} ms cached"
    )
    print(f"write a ninth block and merge nine: {SERIES * 1380 / merge / 1e6:.1f} M samples/s")


def start(folder: Path) -> None:
    table = SeriesTable()
    store = store_of(folder, table)
    for number in range(12):
        store.write([counters(table, 10_000, 2, WINDOW_START_MS + number * CONFIG.window_ms)], {}, 1)
    store.close()
    seconds = best(3, lambda: store_of(folder, SeriesTable()).close())
    print(f"open 12 blocks of the same 10,000 series: {seconds * 1e3:.0f} ms")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bench-blocks-") as temporary:
        for part in (write, read, read_across, start):
            (Path(temporary) / part.__name__).mkdir()
            part(Path(temporary) / part.__name__)
