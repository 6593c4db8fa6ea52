"""Other programs read the files without being told anything, or what docs/files.md tells them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.wire.sample_files.columns import columns_of
from metricsmith.wire.sample_files.dialects import DIALECTS
from metricsmith.wire.sample_files.names import Form
from metricsmith.wire.sample_files.parquet import write_parquet
from metricsmith.wire.sample_files.streams import compressed
from metricsmith.wire.sample_files.write_lines import LineWriter

NOON = 1_763_726_400_000
SAMPLES: list[tuple[dict[str, str], int, float | None]] = [
    ({"__name__": "up", "job": "shop", "path": 'a"b,c'}, NOON, 1.5),
    ({"__name__": "up", "job": "ü\nx"}, NOON + 1, math.nan),
    ({"__name__": "load"}, NOON, math.inf),
    ({"__name__": "load"}, NOON + 1, -math.inf),
    ({"__name__": "up", "job": "shop", "path": 'a"b,c'}, NOON + 2, None),
    ({"__name__": "load"}, NOON + 2, 5e-324),
]
JSON_COLUMNS = "{time: 'TIMESTAMPTZ', name: 'VARCHAR', labels: 'MAP(VARCHAR, VARCHAR)', value: 'DOUBLE'}"


@pytest.fixture
def batch() -> tuple[SeriesTable, Batch]:
    table = SeriesTable()
    ids = table.intern_many(encode_labels(labels) for labels, *_ in SAMPLES)
    values = np.array([0 if value is None else value for *_, value in SAMPLES])
    stale = np.array([value is None for *_, value in SAMPLES])
    return table, Batch(Layout(ids), np.array([time for _, time, _ in SAMPLES]), values, stale)


def _wanted() -> list[tuple[Any, ...]]:
    return sorted((labels["__name__"], time, _labels(labels), repr(value)) for labels, time, value in SAMPLES)


def _labels(labels: dict[str, str]) -> str:
    return json.dumps({k: v for k, v in sorted(labels.items()) if k != "__name__"}, ensure_ascii=False)


def _asked(source: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT name, epoch_ms(time), labels, value FROM {source}").fetchall()
    return sorted(
        (name, time, _labels(labels if isinstance(labels, dict) else json.loads(labels)), repr(value))
        for name, time, labels, value in rows
    )


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_duckdb_reads_json(tmp_path: Path, batch: tuple[SeriesTable, Batch], suffix: str) -> None:
    table, samples = batch
    path = tmp_path / f"x.json{suffix}"
    lines = LineWriter(DIALECTS[Form.JSON], table).encode(samples)
    path.write_bytes(compressed(lines, suffix) + compressed(lines, suffix))  # as two deliveries
    assert _asked(f"read_json('{path}', columns = {JSON_COLUMNS})") == sorted([*_wanted(), *_wanted()])


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_duckdb_and_arrow_read_csv(tmp_path: Path, batch: tuple[SeriesTable, Batch], suffix: str) -> None:
    table, samples = batch
    path, dialect = tmp_path / f"x.csv{suffix}", DIALECTS[Form.CSV]
    path.write_bytes(compressed(dialect.header + LineWriter(dialect, table).encode(samples), suffix))
    assert _asked(f"'{path}'") == _wanted()
    read = pc.read_csv(path)
    assert read.column_names == ["time", "name", "labels", "value"]
    assert read.num_rows == len(SAMPLES)


def test_duckdb_and_arrow_read_parquet(tmp_path: Path, batch: tuple[SeriesTable, Batch]) -> None:
    table, samples = batch
    path = tmp_path / "x.parquet"
    with path.open("wb") as file:
        write_parquet(file, columns_of([samples]), table, "zstd")
    assert _asked(f"'{path}'") == _wanted()
    rows = pq.read_table(path).to_pylist()
    assert [(r["name"], r["labels"], r["time"]) for r in rows] == sorted(
        (r["name"], r["labels"], r["time"]) for r in rows
    )


def test_what_the_page_asks_is_answered(tmp_path: Path, batch: tuple[SeriesTable, Batch]) -> None:
    table, samples = batch
    page = (Path(__file__).parents[3] / "docs/files.md").read_text()
    page = page.replace("/var/lib/archive", str(tmp_path))
    with (tmp_path / "a.parquet").open("wb") as file:
        write_parquet(file, columns_of([samples]), table, "zstd")
    lines = LineWriter(DIALECTS[Form.JSON], table).encode(samples)
    (tmp_path / "a.json.gz").write_bytes(compressed(lines, ".gz"))
    of_parquet, of_json = re.findall(r"^SELECT.*?;", page, re.MULTILINE | re.DOTALL)
    with duckdb.connect() as connection:
        asked = of_parquet.replace("request_seconds", "up").replace("INTERVAL 7 DAY", "INTERVAL 9000 DAY")
        assert ("shop", 1.5) in [(job, value) for _, job, value in connection.execute(asked).fetchall()]
        assert len(connection.execute(of_json).fetchall()) == len(SAMPLES)
    found: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], found)
    assert found["table"].column_names == ["time", "labels", "value"] and found["table"].num_rows == 3


def test_parquet_is_sorted_and_the_later_of_two_samples_stays(tmp_path: Path) -> None:
    table = SeriesTable()
    count = 300_000  # several row groups
    chance = np.random.default_rng(1)
    ids = table.intern_many(encode_labels({"__name__": f"m{i}", "l": str(i % 7)}) for i in range(70_000))
    series, times = chance.integers(0, 70_000, count), chance.integers(0, 50, count) + NOON
    batch = Batch(Layout(ids[series]), times, np.arange(count, dtype=float))
    with (tmp_path / "x.parquet").open("wb") as file:
        write_parquet(file, columns_of([batch]), table, "zstd")
    wanted = {
        (f"m{s}", json.dumps({"l": str(s % 7)}, separators=(",", ":")), t): float(i)
        for i, (s, t) in enumerate(zip(series.tolist(), times.tolist(), strict=True))
    }
    read = pq.read_table(tmp_path / "x.parquet")
    keys = zip(
        read["name"].to_pylist(),
        read["labels"].to_pylist(),
        read["time"].cast("int64").to_pylist(),
        strict=True,
    )
    found = list(zip(keys, read["value"].to_pylist(), strict=True))
    assert found == sorted(wanted.items())
