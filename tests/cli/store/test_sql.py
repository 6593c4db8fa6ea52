"""`metricsmith sql`: sees what the store sees, and can do nothing but read it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.runtime.offline import KEPT_FOR_EVER_MS, open_offline
from metricsmith.runtime.sql import SqlLimits, open_sql
from metricsmith.store.history_files import read_history
from metricsmith.store.settings import EmbeddedConfig
from metricsmith.store.sql_views import samples_sql

Run = Callable[..., subprocess.CompletedProcess[str]]
HOUR = 3_600_000
BEGIN = 497_000 * HOUR
KEYS = [
    {"__name__": name, "job": job, **({"zone": "it's"} if job == "b" else {})}
    for name in ("up", "up_total")
    for job in ("a", "b")
]
LIMITS = SqlLimits(256 << 20, 30.0, threads=1)
_step = st.one_of(
    st.tuples(
        st.just("put"),
        st.lists(
            st.tuples(
                st.integers(0, len(KEYS) - 1),
                st.integers(0, 30).map(lambda n: BEGIN + n * HOUR // 4),
                st.one_of(st.none(), st.integers(0, 9).map(float), st.just(float("nan"))),
            ),
            min_size=1,
            max_size=12,
        ),
    ),
    st.tuples(
        st.just("delete"),
        st.tuples(
            st.sampled_from(["a", "b", "a|b", "it's.*"]),
            st.integers(0, 30).map(lambda n: BEGIN + n * HOUR // 4),
            st.integers(0, 30).map(lambda n: BEGIN + n * HOUR // 4),
        ),
    ),
)


@settings(max_examples=10)
@given(steps=st.lists(_step, min_size=1, max_size=5))
def test_the_views_have_what_queries_find(steps: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("sql")
    asyncio.run(_compare(folder, steps))


async def _compare(folder: Path, steps: list[Any]) -> None:
    config = EmbeddedConfig(path=str(folder)).model_copy(update={"retention": KEPT_FOR_EVER_MS})
    async with open_offline(config) as store:
        for what, given in steps:
            if what == "put":
                ids = store.series_table.intern_many([encode_labels(KEYS[k]) for k, _, _ in given])
                values = np.array([np.nan if v is None else v for _, _, v in given])
                stale = np.array([v is None for _, _, v in given])
                times = np.array([time for _, time, _ in given], np.int64)
                await store.accept(Batch(Layout(ids), times, values, stale))
            else:
                pattern, lo, hi = given
                matcher = Matcher("zone" if "'" in pattern else "job", MatchOp.RE, pattern)
                await store.admin.flush()
                await store.admin.delete_series([[matcher]], min(lo, hi), max(lo, hi))
            await store.admin.flush()  # so that there are blocks with the same samples
        wanted = _of_store(store)
        with open_sql(folder, LIMITS) as session:
            with session.query("SELECT time, name, labels, value FROM samples") as (_, rows):
                found = sorted(map(_row, rows))
            with session.query("SELECT name, labels FROM series") as (_, rows):
                series = sorted((name, sorted(labels.items())) for name, labels in rows)
    assert found == wanted
    assert {(n, tuple(labels)) for n, labels, _, _ in wanted} <= {(n, tuple(ls)) for n, ls in series}


def _of_store(store: Any) -> list[Any]:
    everything = store.samples([], -(1 << 60), 1 << 60, 1 << 60)
    found = []
    for place, series in enumerate(everything.series.tolist()):
        labels = store.series_table.labels(series)
        name = labels.pop("__name__")
        for at in range(everything.offsets[place], everything.offsets[place + 1]):
            if everything.stale is None or not everything.stale[at]:
                value = str(float(everything.values[at]))
                found.append((name, sorted(labels.items()), int(everything.times[at]), value))
    return sorted(found)


def _row(row: Any) -> Any:
    time, name, labels, value = row
    time_ms = int((time - time.__class__(1970, 1, 1)).total_seconds() * 1000)
    return name, sorted(labels.items()), time_ms, str(value)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, fill: Callable[..., None]) -> Path:
    folder = tmp_path_factory.mktemp("history")
    times = range(BEGIN, BEGIN + 6 * HOUR, 60_000)
    rows = [
        ({"__name__": name, "host": f"h{n}"}, {t: float(n) for t in times})
        for name in ("load", "up")
        for n in range(3)
    ]
    fill(folder, rows)
    return folder


def test_formats(here: Run, history: Path) -> None:
    def run(*more: str) -> str:
        sql = (
            "SELECT name, labels, min(time) AS first, count(*) AS n FROM samples WHERE labels['host'] = 'h1'"
        )
        done = here("sql", "--path", str(history), f"{sql} GROUP BY 1, 2 ORDER BY 1", *more)
        assert done.returncode == 0, done
        return done.stdout

    first = "2026-09-12T08:00:00.000Z"
    wanted = [{"name": name, "labels": {"host": "h1"}, "first": first, "n": 360} for name in ("load", "up")]
    assert json.loads(run("--format", "json")) == wanted
    assert [json.loads(line) for line in run("--format", "jsonl").splitlines()] == wanted
    rows = list(csv.DictReader(io.StringIO(run("--format", "csv"))))
    assert [row | {"labels": json.loads(row["labels"]), "n": int(row["n"])} for row in rows] == wanted
    assert run().splitlines()[1].split() == ["load", "{host=h1}", "2026-09-12", "08:00:00.000", "360"]
    assert len(run("--max-rows", "1").splitlines()) == 2


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{path}/x.csv'",
        "COPY samples TO '{block}/samples.parquet'",
        "EXPLAIN ANALYZE COPY samples TO '{block}/samples.parquet'",
        "SELECT * FROM read_text('{path}/FORMAT')",
        "SELECT * FROM read_parquet('{path}/other.parquet')",
        "SELECT * FROM '{path}/FORMAT'",
        "SELECT * FROM glob('{path}/*')",
        "SELECT * FROM read_parquet('http://127.0.0.1:1/x.parquet')",
        "SET enable_external_access = true",
        "SELECT 1; COPY (SELECT 1) TO '{path}/x.csv'",
        "ATTACH '{path}/x.db'",
        "INSTALL httpfs",
        "CREATE TABLE x AS SELECT 1",
        "SELECT * FROM history",
        "",
    ],
)
def test_nothing_but_the_history_can_be_read_and_nothing_written(here: Run, history: Path, sql: str) -> None:
    block = next((history / "blocks").iterdir())
    before = {path: path.stat().st_mtime_ns for path in history.rglob("*") if path.is_file()}
    done = here("sql", "--path", str(history), sql.format(path=history, block=block))
    assert done.returncode == 4, done
    assert done.stderr.startswith("error: ")
    assert {path: path.stat().st_mtime_ns for path in history.rglob("*") if path.is_file()} == before


def test_limits(here: Run, history: Path) -> None:
    forever = "SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range * b.range % 7 = 3"
    done = here("sql", "--path", str(history), forever, "--timeout", "200ms")
    assert (done.returncode, done.stderr) == (
        4,
        "error: got no end in 0.2 s (--timeout sets another limit)\n",
    )
    large = "SELECT list(range) FROM range(100000000)"
    done = here("sql", "--path", str(history), large, "--memory", "50MB")
    assert done.returncode == 4
    assert "--memory sets another limit" in done.stderr


def test_now_is_compared_as_the_times_are(here: Run, history: Path) -> None:
    sql = "SELECT max(time) = TIMESTAMPTZ '2026-09-12 13:59:00+00' AS same FROM samples"
    done = here("sql", "--path", str(history), sql, "-f", "csv", TZ="Asia/Tokyo")
    assert (done.returncode, done.stdout) == (0, "same\ntrue\n".replace("true", "True")), done


def test_damage_is_named(here: Run, fill: Callable[..., None], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    fill(folder, [({"__name__": "x"}, {BEGIN + n: n * 0.1 for n in range(5_000)})])
    (block,) = (folder / "blocks").iterdir()
    whole = (block / "samples.parquet").read_bytes()
    middle = len(whole) // 2
    unreadable, other = b"\0" * middle, bytes([whole[middle] ^ 4])
    for at, change, options in ((100, unreadable, ()), (middle, other, ("--check",))):
        (block / "samples.parquet").write_bytes(whole[:at] + change + whole[at + len(change) :])
        done = here("sql", "--path", str(folder), "SELECT sum(value) FROM samples", *options)
        assert done.returncode == 1, done
        said = " ".join(done.stderr.split())
        assert f"{block.name}/samples.parquet, row group 0: got" in said
        assert "`metricsmith store verify` says what to do" in said
    (block / "samples.parquet").write_bytes(whole)
    assert here("sql", "--path", str(folder), "SELECT count(*) FROM samples", "--check").returncode == 0


def test_without_duckdb_it_says_what_to_install(
    here: Run, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    done = here("sql", "--path", str(history), "SELECT 1")
    assert (done.returncode, done.stderr) == (
        1,
        "error: SQL needs DuckDB, which is not installed: pip install 'metricsmith[sql]'\n",
    )


def test_blocks_of_other_times_are_not_opened(history: Path) -> None:
    found = read_history(history)
    first_ms = min(block.meta.min_time_ms for block in found.blocks)
    assert len(found.blocks) > 1
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW samples AS {samples_sql(found)}")

        def files(condition: str) -> int:
            sql = f"EXPLAIN SELECT sum(value) FROM samples WHERE {condition}"
            return str(connection.execute(sql).fetchall()[0][1]).count("PARQUET")

        assert files("name = 'up'") == 2 * len(found.blocks)
        assert files(f"name = 'up' AND time <= make_timestamp_ms({first_ms})") == 2
        assert files("time > '2027-01-01'") == 0


def test_a_limit_of_no_time_is_refused(here: Run, tmp_path: Path) -> None:
    done = here("sql", "--path", str(tmp_path), "SELECT 1", "--timeout", "0s")
    assert (done.returncode, 'got "0s", wanted a time above 0' in done.stderr) == (2, True), done
