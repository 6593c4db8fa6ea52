"""Backfill beside `promtool tsdb create-blocks-from rules`: the same samples, where rules read no others.

Their tool writes no ends of series, and its rules do not see one another: both are ours alone.
"""

from __future__ import annotations

import re
import subprocess
import urllib.request
from pathlib import Path

import numpy as np

from metricsmith.model.labels import decode_labels, encode_labels, format_labels
from metricsmith.model.series import SeriesTable
from metricsmith.promql import EngineConfig
from metricsmith.rules.backfill import Backfill
from metricsmith.rules.files import read_rule_file
from metricsmith.runtime.rule_bench import RuleBench
from metricsmith.testing import services
from metricsmith.testing.clock import FakeClock
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request

MINUTE = 60_000
BEGIN = 1_700_000_000_000
SAMPLES = 240
RULES = """\
groups:
- name: g
  rules:
  - {record: 'c:rate', expr: 'rate(c[5m])', labels: {window: 5m}}
  - {record: 'c:sum', expr: sum by (job) (c)}
  - {record: 'c:many', expr: c > 500, labels: {job: ''}}
  - {record: 'c:top', expr: 'topk(2, c)'}
  - {record: one, expr: '1'}
"""


def test_the_samples_are_the_same(tmp_path: Path, promtool: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    bench = RuleBench(MINUTE, EngineConfig(closed_windows=True))
    data = _data()
    for key, values in data.items():
        for i, value in enumerate(values):
            bench.append(key, BEGIN + i * 15_000, value)
    (group,) = read_rule_file(str(rules), bench.engine, MINUTE).groups
    table = SeriesTable()
    backfill = Backfill(group, bench.engine, bench.store, table, FakeClock())
    theirs = _created(tmp_path, promtool, data, rules, BEGIN + 10 * MINUTE, BEGIN + 50 * MINUTE)
    times = [time_ms for _, time_ms in theirs]  # each tool has its own phase for a group
    ours: dict[tuple[str, int], float] = {}
    piece = backfill.piece(min(times), max(times), 60.0)
    assert piece.batch is not None
    batch = piece.batch
    for series, time_ms, value, stale in zip(
        batch.layout.ids, batch.times(), batch.value, batch.stales(), strict=True
    ):
        if not stale:
            ours[format_labels(decode_labels(table.key(int(series)))), int(time_ms)] = float(value)
    assert len(theirs) > 400
    assert ours == theirs


def _created(
    folder: Path, promtool: Path, data: dict[bytes, np.ndarray], rules: Path, start: int, end: int
) -> dict[tuple[str, int], float]:
    times = np.arange(BEGIN, BEGIN + SAMPLES * 15_000, 15_000, dtype=np.int64)
    body = encode_write_request(
        [encode_series_labels(key) for key in data],
        [SAMPLES] * len(data),
        np.tile(times, len(data)),
        np.concatenate(list(data.values())),
    )
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    with services.prometheus(folder / "server", "", "--storage.tsdb.retention.time=50y") as server:
        request = urllib.request.Request(server.url + "/api/v1/write", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 204
        command = [promtool, "tsdb", "create-blocks-from", "rules", f"--url={server.url}"]
        command += [f"--start={start // 1000}", f"--end={end // 1000}", "--eval-interval=1m"]
        command += [f"--output-dir={folder / 'blocks'}", rules]
        subprocess.run(command, capture_output=True, check=True, timeout=60)
    # The tool that prints blocks wants a folder with a log to be written, too.
    (folder / "blocks" / "wal").mkdir()
    dump = [promtool, "tsdb", "dump", folder / "blocks"]
    said = subprocess.run(dump, capture_output=True, text=True, check=True, timeout=60)
    found = {}
    for labels, value, time_ms in re.findall(r"^(\{.*\}) (\S+) (\d+)$", said.stdout, re.MULTILINE):
        pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        found[format_labels(pairs), int(time_ms)] = float(value)
    return found


def _data() -> dict[bytes, np.ndarray]:
    chance = np.random.default_rng(5)
    data = {}
    for i in range(6):
        steps = chance.integers(0, 8, SAMPLES).astype(float)
        values = np.cumsum(steps)
        for reset in chance.integers(0, SAMPLES, 2):
            values[reset:] -= values[reset]
        values += i / 16  # no two are equal: which of equals topk keeps is nowhere said
        data[encode_labels({"__name__": "c", "job": "ab"[i % 2], "i": str(i)})] = values
    return data
