"""Blocks are open files: another engine reads them as documented."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
import zlib
from datetime import UTC
from pathlib import Path

import pyarrow.parquet as pq

from metricsmith.model.labels import decode_labels
from metricsmith.model.metadata import Metadata, MetricType

JOIN = """
    SELECT s.name, s.labels, v.time_ms, v.value, s.type, s.unit, s.help
    FROM read_parquet('{0}/samples.parquet') v JOIN read_parquet('{0}/series.parquet') s USING (series)
    ORDER BY v.series, v.time_ms
"""


def block_of(one):
    [folder] = (one.folder / "blocks").iterdir()
    return folder


def ask_duckdb(query: str) -> list[tuple[object, ...]]:
    """Return the rows of a query; in a program of its own, as DuckDB's bindings complain when Python ends."""
    code = (
        "import duckdb, pickle, sys;sys.stdout.buffer.write(pickle.dumps(duckdb.sql(sys.argv[1]).fetchall()))"
    )
    done = subprocess.run([sys.executable, "-c", code, query], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    rows: list[tuple[object, ...]] = pickle.loads(done.stdout)
    return rows


def test_duckdb_joins_samples_and_series(open_store, tools):
    one = open_store()
    wanted = {
        b"lag_seconds\xffjob\xfea\xffzone\xfe\xc3\xbc": {1: 1.5, 2: "stale", 3: float("nan")},
        b"lag_seconds": {1: float("inf"), 7: -0.0},
    }
    one.store.write(
        [one.piece(wanted)], {"lag_seconds": Metadata(MetricType.GAUGE, "seconds", "How far behind.")}, 1
    )
    rows = ask_duckdb(JOIN.format(block_of(one)))
    got = {}
    for name, labels, time_ms, value, *described in rows:
        got[name, frozenset(labels.items()), time_ms] = value
        assert described == ["gauge", "seconds", "How far behind."]
    expected = {}
    for (key, t), value in tools.expected(wanted).items():
        labels = decode_labels(key)
        expected[labels.pop("__name__"), frozenset(labels.items()), t] = None if value == "stale" else value
    assert repr(sorted(got.items(), key=str)) == repr(sorted(expected.items(), key=str))
    assert sum(v is not None and math.isnan(v) for v in got.values()) == 1  # a real NaN is not NULL


def test_the_documented_query_gives_the_samples_of_all_blocks(open_store, tools):
    text = (Path(__file__).parents[3] / "docs/formats/block.md").read_text()
    query = text.split("```sql\n")[1].split("```")[0]
    one = open_store()
    keys = [b"http_requests_total\xffinstance\xfe" + name for name in (b"a", b"b")]
    one.write({keys[0]: {0: 1.0, 1000: 2.0, 2000: "stale"}, keys[1]: {500: 3.0}, b"up": {0: 1.0}})
    one.write({keys[1]: {1500: 4.0}})
    rows = ask_duckdb(query.replace("data/blocks", str(one.folder / "blocks")))
    got = [(where, round(at.replace(tzinfo=UTC).timestamp() * 1000), value) for _, where, at, value in rows]
    assert got == [("a", 0, 1.0), ("a", 1000, 2.0), ("b", 500, 3.0), ("b", 1500, 4.0)]


def test_the_query_for_passers_by_counts_samples(open_store):
    text = (Path(__file__).parents[3] / "docs/query.md").read_text()
    query = text.split("duckdb.sql('''")[1].split("'''")[0]
    one = open_store()
    one.write({b"up\xffjob\xfeauth": {0: 1.0, 1000: 0.0, 2000: "stale"}, b"up\xffjob\xfebad": {500: 0.0}})
    assert ask_duckdb(query.replace("data/blocks", str(one.folder / "blocks"))) == [
        ("auth", 2, 0.5),
        ("bad", 1, 0.0),
    ]


def test_rows_are_sorted_and_row_groups_begin_with_a_series(open_store, tools):
    one = open_store()
    one.write({tools.key(n): dict.fromkeys(range(1 + n % 5), 1.0) for n in range(20)})
    folder = block_of(one)
    series = pq.read_table(folder / "series.parquet")
    keys = sorted(tools.key(n) for n in range(20))
    assert series["name"].to_pylist() == [decode_labels(k)["__name__"] for k in keys]
    samples = pq.ParquetFile(folder / "samples.parquet")
    rows = samples.read().to_pydict()
    assert list(zip(rows["series"], rows["time_ms"], strict=True)) == sorted(
        zip(rows["series"], rows["time_ms"], strict=True)
    )
    first_rows, counts = series["first_row"].to_pylist(), series["row_count"].to_pylist()
    for number, first, count in zip(range(20), first_rows, counts, strict=True):
        assert rows["series"][first : first + count] == [number] * count
    sizes = [samples.metadata.row_group(i).num_rows for i in range(samples.num_row_groups)]
    assert len(sizes) > 1
    begin = 0
    for size in sizes:
        assert begin in first_rows
        begin += size


def test_columns_have_the_documented_types_and_encodings(open_store, tools):
    one = open_store()
    one.write({tools.key(n): {t: float(t) for t in range(9)} for n in range(3)})
    group = pq.ParquetFile(block_of(one) / "samples.parquet").metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert {n: c.physical_type for n, c in columns.items()} == {
        "series": "INT32", "time_ms": "INT64", "value": "DOUBLE",
    }  # fmt: skip
    assert "DELTA_BINARY_PACKED" in columns["series"].encodings
    assert "DELTA_BINARY_PACKED" in columns["time_ms"].encodings
    assert "BYTE_STREAM_SPLIT" in columns["value"].encodings
    assert {c.compression for c in columns.values()} == {"ZSTD"}
    assert columns["time_ms"].statistics.max == 6  # of the seven rows of a row group


def test_meta_json_says_what_the_block_holds(open_store, tools):
    one = open_store()
    one.write({tools.key(n): {1003 + t: float(t) for t in range(9)} for n in range(3)})
    folder = block_of(one)
    assert folder.name == "19700101T000001Z-19700101T000002Z-00000001"
    meta = json.loads((folder / "meta.json").read_text())
    data = (folder / "samples.parquet").read_bytes()
    part = meta.pop("samples_file")
    series = (folder / "series.parquet").read_bytes()
    assert meta.pop("series_file") == {"bytes": len(series), "crc32": zlib.crc32(series)}
    assert len(meta.pop("catalogue")) == 32
    assert meta == {
        "format": 1, "number": 1, "window_start_ms": 1000, "window_end_ms": 2000,
        "min_time_ms": 1003, "max_time_ms": 1011, "series": 3, "samples": 27, "sources": [],
    }  # fmt: skip
    assert part["row_group_samples"] == [7, 2] * 3
    at = 0
    for size, crc32 in zip(
        [*part["row_group_bytes"], part["footer_bytes"]],
        [*part["row_group_crc32"], part["footer_crc32"]],
        strict=True,
    ):
        assert zlib.crc32(data[at : at + size]) == crc32
        at += size
    assert at == len(data)


def test_a_merged_block_names_its_sources(open_store, tools):
    one = open_store()
    for i in range(4):
        one.write({tools.key(0): {i: 1.0}})
    meta = json.loads((block_of(one) / "meta.json").read_text())
    assert [name[-8:] for name in meta["sources"]] == ["00000001", "00000002", "00000003", "00000004"]
