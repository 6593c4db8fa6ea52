"""`metricsmith store export`: what others read of it, and that parts of any size make the whole."""

from __future__ import annotations

import json
import math
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from metricsmith.model.labels import encode_labels
from metricsmith.model.matchers import Matcher
from metricsmith.model.series import SeriesTable
from metricsmith.runtime import history
from metricsmith.runtime.history import HistoryReader, partition
from metricsmith.store.pieces import RaggedPiece

Run = Callable[..., subprocess.CompletedProcess[str]]
NOW = 1_795_000_000_000
CONTENT: list[tuple[dict[str, str], dict[int, float | None]]] = [
    ({"__name__": "up"}, {NOW: 1.0, NOW + 15_000: 0.0}),
    ({"__name__": "up", "job": 'a"b\\c\nd'}, {NOW: math.nan, NOW + 15_000: math.inf, NOW + 30_000: None}),
    ({"__name__": "up_total", "job": "Zürich"}, {NOW: 0.1 + 0.2, NOW + 7_200_000: -math.inf}),
    ({"__name__": "latency_bucket", "le": "1.0"}, {NOW: 3.0}),
]


@pytest.fixture
def document(here: Run, fill: Callable[..., None], tmp_path: Path) -> Path:
    fill(tmp_path / "data", CONTENT)
    out = tmp_path / "history.om"
    done = here("store", "export", "--path", str(tmp_path / "data"), "--out", str(out), "--json")
    assert done.returncode == 0, done
    assert json.loads(done.stdout) == {"samples": 7, "series": 4, "left_out": {"staleness markers": 1}}
    return out


def test_openmetrics_is_read_by_prometheus_client(document: Path) -> None:
    found = {
        (sample.name, *sorted(sample.labels.items()), round(float(sample.timestamp) * 1000)): sample.value
        for family in text_string_to_metric_families(document.read_text())
        for sample in family.samples
    }
    wanted = {
        (labels["__name__"], *sorted((n, v) for n, v in labels.items() if n != "__name__"), time): value
        for labels, samples in CONTENT
        for time, value in samples.items()
        if value is not None
    }
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert found[key] == value or (math.isnan(value) and math.isnan(found[key]))


def test_openmetrics_becomes_blocks_of_prometheus(
    here: Run, document: Path, promtool: Path, tmp_path: Path
) -> None:
    made = subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", str(document), str(tmp_path / "tsdb")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made
    (tmp_path / "tsdb" / "wal").mkdir()  # which the dump wants to see
    dump = subprocess.run([promtool, "tsdb", "dump", str(tmp_path / "tsdb")], capture_output=True, check=True)
    (tmp_path / "dump.txt").write_bytes(dump.stdout)
    (tmp_path / "into").mkdir()
    done = here("store", "import", "--path", str(tmp_path / "into"), str(tmp_path / "dump.txt"), "--json")
    assert done.returncode == 0, done
    summary = json.loads(done.stdout)
    assert (summary["samples_accepted"], summary["series"]) == (7, 4)


def test_what_is_selected(here: Run, fill: Callable[..., None], tmp_path: Path) -> None:
    fill(tmp_path / "data", CONTENT)

    def lines(*more: str) -> list[Any]:
        done = here(
            "store", "export", "--path", str(tmp_path / "data"), *more, "-o", str(tmp_path / "x.jsonl")
        )
        assert done.returncode == 0, done
        return [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]

    assert len(lines()) == 8
    assert [row["name"] for row in lines("-m", "up_total", "-m", '{job="Zürich"}')] == ["up_total"] * 2
    assert len(lines("--start", str(NOW / 1000 + 1), "--end", str(NOW / 1000 + 20))) == 2
    nothing = here(
        "store", "export", "--path", str(tmp_path / "data"), "-m", "upp", "-o", str(tmp_path / "y")
    )
    assert nothing.returncode == 0 and "nothing matches; `metricsmith store stats` shows" in nothing.stderr
    wrong = here("store", "export", "--path", str(tmp_path / "data"), "-m", "up{")
    assert wrong.returncode == 2
    assert not list(tmp_path.glob("*.partial"))


def test_times_before_1970_are_there(here: Run, fill: Callable[..., None], tmp_path: Path) -> None:
    fill(tmp_path / "data", [({"__name__": "x"}, {-5_000: 1.0, 5_000: 2.0})])
    for name, found in (("x.om", {"samples": 2, "left_out": {}}), ("x.csv", {"samples": 1})):
        done = here("store", "export", "--path", str(tmp_path / "data"), "-o", str(tmp_path / name), "--json")
        assert json.loads(done.stdout).items() >= found.items()
    assert json.loads(done.stdout)["left_out"] == {"times outside 1970 to 9999": 1}


def test_what_is_no_file_is_written_to_and_stays(
    here: Run, fill: Callable[..., None], tmp_path: Path
) -> None:
    fill(tmp_path / "data", [({"__name__": "x"}, {NOW: 1.0})])
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    done = here(
        "store", "export", "--path", str(tmp_path / "data"), "-f", "csv", "-o", str(tmp_path / "pipe")
    )
    reader.join()
    assert done.returncode == 0, done
    assert len(read[0].splitlines()) == 2
    assert (tmp_path / "pipe").is_fifo()


class InMemory:
    """A history that gives no more than so many samples at once."""

    def __init__(self, samples: dict[bytes, int], most: int) -> None:
        self.table, self._samples, self._most = SeriesTable(), samples, most

    def names(self, selectors: Any, start_ms: int, end_ms: int) -> list[str]:
        return sorted({key.partition(b"\xff")[0].decode() for key in self._samples})

    def series(self, matchers: Any, start_ms: int, end_ms: int) -> list[bytes]:
        return [key for key in self._samples if _matches(key, matchers)]

    def samples(self, matchers: Any, start_ms: int, end_ms: int, limit: int) -> RaggedPiece:
        found = self.series(matchers, start_ms, end_ms)
        times = [np.arange(start_ms, min(end_ms + 1, self._samples[key])) for key in found]
        total = sum(map(len, times))
        if total > min(limit, self._most):
            raise history.QueryLimitExceeded("too many", "samples")
        flat = np.concatenate([np.empty(0, np.int64), *times])
        offsets = np.cumsum([0, *map(len, times)])
        return RaggedPiece(self.table.intern_many(found), offsets, flat, flat.astype(float))


def _matches(key: bytes, matchers: Any) -> bool:
    name, *pairs = key.split(b"\xff")
    labels = {"__name__": name.decode()} | dict(p.decode("latin-1").split("\xfe") for p in pairs)
    return all(matcher.matches(labels.get(matcher.name, "")) for matcher in matchers)


_values = st.sampled_from(["1", "2", "x.y", "|"])
_labels = st.dictionaries(st.sampled_from(["a", "b", "c"]), _values, max_size=3)
_series = st.builds(
    lambda name, labels: encode_labels({"__name__": name, **labels}), st.sampled_from("xyz"), _labels
)


@example(samples={encode_labels({"__name__": "x"} | more): 2 for more in ({}, {"a": "1"})}, most=1)
@given(samples=st.dictionaries(_series, st.integers(1, 40), min_size=1, max_size=12), most=st.integers(1, 60))
def test_everything_is_read_once_in_pieces_of_any_size(samples: dict[bytes, int], most: int) -> None:
    source = InMemory(samples, most)
    reader = HistoryReader(source, source.table, 0, 100)
    found: dict[int, list[int]] = {}
    order: list[int] = []
    for part, batch in reader.batches([()]):
        assert 0 <= part <= 1
        for series, time in zip(batch.layout.ids.tolist(), batch.times().tolist(), strict=True):
            if not order or order[-1] != series:
                order.append(series)
            found.setdefault(series, []).append(time)
    assert {source.table.key(series): len(times) for series, times in found.items()} == samples
    assert all(times == sorted(times) for times in found.values())
    assert len(order) == len(set(order)), "a series is not begun again"
    names = [source.table.key(series).partition(b"\xff")[0] for series in order]
    assert names == sorted(names)


@given(keys=st.lists(_series, min_size=1, max_size=20, unique=True), most=st.integers(1, 5))
def test_parts_are_told_apart_by_their_matchers(keys: list[bytes], most: int) -> None:
    parts = list(partition(sorted(keys), most, []))
    assert sorted(key for own, _ in parts for key in own) == sorted(keys)
    for own, matchers in parts:
        assert len(own) <= most
        assert all(isinstance(matcher, Matcher) for matcher in matchers)
        assert sorted(key for key in keys if _matches(key, matchers)) == sorted(own)
