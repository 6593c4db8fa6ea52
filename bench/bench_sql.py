"""SQL over the history: the views of `metricsmith sql` beside plain DuckDB on the same files.

Plain is the query of docs/formats/block.md, which joins all blocks by their folders and knows neither
duplicates nor deletes. A day of 2,000 series at 15 s, in blocks of 2 h as an agent without compaction
leaves them, is the worst case for the views: each block is a branch of its own.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.runtime.offline import KEPT_FOR_EVER_MS, open_offline
from metricsmith.runtime.sql import SqlLimits, SqlSession, open_sql
from metricsmith.store.settings import EmbeddedConfig

SERIES, HOURS, STEP_MS, ROUNDS = 2_000, 24, 15_000, 5
WINDOW_MS = 7_200_000
PLAIN = """
CREATE VIEW plain AS SELECT make_timestamp_ms(v.time_ms) AS time, s.name, s.labels, v.value
FROM '{folder}/blocks/*/samples.parquet' v JOIN '{folder}/blocks/*/series.parquet' s
ON v.series = s.series AND parse_path(v.filename)[-2] = parse_path(s.filename)[-2]
"""


async def fill(folder: Path, begin_ms: int) -> None:
    config = EmbeddedConfig(path=str(folder)).model_copy(update={"retention": KEPT_FOR_EVER_MS})
    keys = [
        encode_labels({"__name__": f"metric_{n % 100}", "instance": f"host-{n // 100}", "job": "node"})
        for n in range(SERIES)
    ]
    random, values = np.random.default_rng(1), np.zeros(SERIES)
    async with open_offline(config) as store:
        ids = store.series_table.intern_many(keys)
        for number, at_ms in enumerate(range(begin_ms, begin_ms + HOURS * 3_600_000, WINDOW_MS)):
            times = np.arange(at_ms, at_ms + WINDOW_MS, STEP_MS)
            grown = values[:, None] + random.integers(0, 9, (SERIES, len(times))).cumsum(axis=1)
            values = grown[:, -1]
            layout, flat = Layout(np.repeat(ids, len(times))), grown.ravel().astype(float)
            store.store.apply(Batch(layout, np.tile(times, SERIES), flat), number)
            await store.admin.flush()


def best_ms(ask: Callable[[], Any]) -> tuple[float, Any]:
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = ask()
        taken.append(time.perf_counter() - began)
    return min(taken) * 1000, found


def from_views(session: SqlSession, sql: str) -> Any:
    with session.query(sql) as (_, rows):
        return list(rows)


def main() -> None:
    begin_ms = 1_795_000_000_000 // WINDOW_MS * WINDOW_MS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(fill(folder, begin_ms))
        blocks = len(list((folder / "blocks").iterdir()))
        print(f"{SERIES} series, {SERIES * HOURS * 3_600_000 // STEP_MS:,} samples in {blocks} blocks")
        plain = duckdb.connect(config={"threads": 2})
        plain.execute(PLAIN.format(folder=folder))
        hours = f"time < make_timestamp_ms({begin_ms + WINDOW_MS})"
        one = "name = 'metric_7'"
        asked = {
            "one metric, 2 h": f"{one} AND {hours}",
            "one metric, a day": one,
            "one series, a day": f"{one} AND labels['instance'] = 'host-3'",
            "everything": "true",
        }
        print(f"{'':20} {'views':>10} {'plain':>10} {'ratio':>7}")
        with open_sql(folder, SqlLimits(2 << 30, 60.0, threads=2)) as session:
            for title, condition in asked.items():
                sql = f"SELECT count(*), sum(value) FROM {{}} WHERE {condition}"
                ours_ms, ours = best_ms(lambda sql=sql: from_views(session, sql.format("samples")))
                plain_ms, theirs = best_ms(lambda sql=sql: plain.execute(sql.format("plain")).fetchall())
                assert ours == theirs, (title, ours, theirs)
                print(f"{title:20} {ours_ms:7.1f} ms {plain_ms:7.1f} ms {plain_ms / ours_ms:6.2f}x")


if __name__ == "__main__":
    main()
