"""A real Prometheus and our rules record the same, time by time, and their alerts go the same ways.

Prometheus evaluates live, over samples that it was given for the seconds to come; we evaluate afterwards
at the times that it took. Staleness markers count.
"""

from __future__ import annotations

import random
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from metricsmith.model.labels import NAME_LABEL, decode_labels, encode_labels, format_labels
from metricsmith.model.series import SeriesTable
from metricsmith.promql import EngineConfig
from metricsmith.rules.files import read_rule_file
from metricsmith.rules.model import NoData
from metricsmith.rules.round import RunningGroup
from metricsmith.rules.templates import Expander
from metricsmith.runtime.rule_bench import RuleBench
from metricsmith.testing import services
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.remote_read import read_request, read_samples
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request
from metricsmith.wire.remote_write_message import STALE_BITS

RULES = """\
groups:
- name: chain
  interval: 1s
  rules:
  - {record: tick_chain, expr: vector(1)}
  - {record: 'job:x:sum', expr: sum by (job) (x)}
  - {record: 'job:x:share', expr: 'sum by (job) (x) / on () group_left () sum(job:x:sum)'}
  - {record: 'c:rate', expr: 'rate(c[4s])', labels: {job: '', window: 4s}}
  - {record: 'c:rate:max', expr: 'max_over_time(c:rate[5s])'}
  - {record: counted, expr: counted + 1 or vector(0)}
  - {record: later_first, expr: later * 2}
  - {record: later, expr: vector(time())}
  - {record: fails, expr: x + on (job) x}
  - {record: top, expr: 'topk(2, x)'}
  - {record: renamed, expr: 'label_replace(x > 0, "from", "$1", "i", "(.).*")'}
  - {record: q, expr: 'histogram_quantile(0.9, sum by (le) (rate(h_bucket[5s])))'}
  - {record: nothing, expr: absent(y)}
- name: alerts
  interval: 1s
  rules:
  - {record: tick_alerts, expr: vector(1)}
  - {alert: AtOnce, expr: x > 0}
  - {alert: Waits, expr: x > 0, for: 2s}
  - {alert: Kept, expr: x > 0, keep_firing_for: 2s}
  - {alert: Both, expr: x > 0, for: 1s, keep_firing_for: 3s, labels: {job: '', level: high}}
  - {alert: Unnamed, expr: sum by (job) (x) > 0, for: 1s}
  - {alert: Turns, expr: x > 0, labels: {level: '{{ if gt $value 2.0 }}high{{ else }}low{{ end }}'}}
  - {alert: Clash, expr: x > 0, labels: {i: one}}
  - {alert: Gone, expr: 'absent(x{i="0"})', for: 1s, labels: {from: '{{ $labels.i }}'}}
  - {alert: Follows, expr: 'count by (i) (ALERTS{alertname="Waits", alertstate="firing"}) > 0', for: 1s}
  - {record: 'alerts:count', expr: 'count by (alertname, alertstate) (ALERTS{alertname!="Few"})'}
- name: limited
  interval: 2s
  limit: 4
  rules:
  - {record: tick_limited, expr: vector(1)}
  - {record: few, expr: x > 0}
  - {alert: Few, expr: x > 0, for: 2s}
"""
GROUPS = ("chain", "alerts", "limited")
LOOKBACK_MS = 3_000
SECONDS = 9
Samples = dict[bytes, list[tuple[int, float | None]]]
"""Samples in time order, by series; None is a staleness marker."""


@pytest.mark.usefixtures("promtool")  # it comes with the server, and says when both are missing
def test_rules_record_what_prometheus_records(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    theirs, data, ticks = _prometheus(tmp_path)
    ours = _ours(tmp_path, data, ticks)
    # After a start they write no alerts until the third round, for these could be restored.
    first = sorted(ticks["alerts"])[3], sorted(ticks["limited"])[3]
    different = []
    for key in sorted({*theirs, *ours}):
        labels = decode_labels(key)
        since = 0
        if labels[NAME_LABEL] in ("ALERTS", "ALERTS_FOR_STATE", "alerts:count"):
            since = first[labels["alertname"] == "Few"]
        mine = [s for s in ours.get(key, ()) if s[0] >= since]
        wanted = [s for s in theirs.get(key, ()) if s[0] >= since]
        if mine != wanted:
            different.append(f"{format_labels(labels)}\n  theirs {wanted}\n  ours   {mine}")
    assert not different, "\n".join(different)
    kinds = {decode_labels(key)[NAME_LABEL] for key in theirs}
    assert {"job:x:share", "c:rate:max", "few", "later_first", "q", "alerts:count", "ALERTS"} <= kinds
    assert sum(sample[1] is None for samples in theirs.values() for sample in samples) > 20


def _prometheus(folder: Path) -> tuple[Samples, Samples, dict[str, list[int]]]:
    """Return what a Prometheus recorded, the samples that it was given, and when it evaluated each group."""
    config = "rule_files: ['../rules.yml']\nscrape_configs: []\n"
    flag = f"--query.lookback-delta={LOOKBACK_MS}ms"
    with services.prometheus(folder / "server", config, flag) as server:
        begin_ms = time.time_ns() // 1_000_000 + 3_500  # there are rounds before the first sample
        data = _samples(begin_ms)
        _post(server.url + "/api/v1/write", _write_request(data))
        assert time.time_ns() // 1_000_000 < begin_ms, "it took samples too late for its first rounds"
        end_ms = begin_ms + SECONDS * 1000
        deadline = time.monotonic() + SECONDS + 60
        while True:
            found = _read(server.url, begin_ms - 60_000, end_ms + 60_000)
            ticks = {name: _times(found, f"tick_{name}") for name in GROUPS}
            if all(times and times[-1] >= end_ms for times in ticks.values()):
                break
            assert time.monotonic() < deadline, f"it evaluated at {ticks}"
            time.sleep(0.5)  # nobody tells when a foreign server has evaluated
    last = min(times[-2] for times in ticks.values())  # the last rounds may still go on
    recorded = {
        key: kept
        for key, samples in found.items()
        if key not in data and (kept := [sample for sample in samples if sample[0] <= last])
    }
    return recorded, data, {name: [t for t in times if t <= last] for name, times in ticks.items()}


def _ours(folder: Path, data: Samples, ticks: dict[str, list[int]]) -> Samples:
    """Return what our rules record at the same times over the same samples."""
    bench = RuleBench(60_000, EngineConfig(closed_windows=True, lookback_ms=LOOKBACK_MS))
    for key, samples in data.items():
        for time_ms, value in samples:
            bench.append(key, time_ms, np.nan if value is None else value, value is None)
    file = read_rule_file(str(folder / "rules.yml"), bench.engine, 60_000)
    assert not file.problems
    table = SeriesTable()
    groups = {
        group.name: RunningGroup(
            group, bench.engine, bench.store, table, FakeClock(), Expander(), NoData.RESOLVE
        )
        for group in file.groups
    }
    recorded: Samples = defaultdict(list)
    for time_ms, name in sorted((time_ms, name) for name, times in ticks.items() for time_ms in times):
        batch = groups[name].evaluate(time_ms).batch
        if batch is None:
            continue
        rows = zip(batch.layout.ids.tolist(), batch.value.tolist(), batch.stales().tolist(), strict=True)
        for series, value, stale in rows:
            bench.append(table.key(series), time_ms, value, stale)
            recorded[table.key(series)].append((time_ms, None if stale else value))
    return recorded


def _samples(begin_ms: int) -> Samples:
    """Return series as they come: walks about zero, gaps, ends, counters that begin anew, a histogram."""
    chance = random.Random(7)
    samples: Samples = {}
    times = range(begin_ms, begin_ms + SECONDS * 1000, 500)
    for i in range(8):
        value = chance.uniform(-2, 2)
        rows: list[tuple[int, float | None]] = []
        absent = 0
        for time_ms in times:
            value = value * 0.9 + chance.gauss(0, 1.2)
            if absent == 0 and chance.random() < 0.12:
                absent = chance.randrange(1, 9)
                if chance.random() < 0.5:
                    rows.append((time_ms, None))
                    continue
            if absent:
                absent -= 1
                continue
            # Such numbers have exact sums, whatever the order of addition.
            rows.append((time_ms + chance.randrange(0, 300), round(value * 64) / 64))
        labels = {"__name__": "x", "i": str(i), "job": "ab"[i % 2]}
        samples[encode_labels(labels)] = rows
    for i in range(3):
        total = 0.0
        rows = []
        for time_ms in times:
            total = 0.0 if chance.random() < 0.1 else total + chance.randrange(0, 5)
            rows.append((time_ms + 17 * i, total))
        samples[encode_labels({"__name__": "c", "i": str(i), "job": "a"})] = rows
    counts = [0.0, 0.0, 0.0]
    buckets = [encode_labels({"__name__": "h_bucket", "le": le}) for le in ("0.1", "1", "+Inf")]
    for bucket in buckets:
        samples[bucket] = []
    for time_ms in times:
        for place in range(chance.randrange(0, 3), 3):
            counts[place] += 1
        for bucket, count in zip(buckets, counts, strict=True):
            samples[bucket].append((time_ms, count))
    return samples


def _write_request(data: Samples) -> bytes:
    flat = [sample for samples in data.values() for sample in samples]
    return encode_write_request(
        [encode_series_labels(key) for key in data],
        [len(samples) for samples in data.values()],
        np.array([time_ms for time_ms, _ in flat], dtype=np.int64),
        np.array([np.nan if value is None else value for _, value in flat]),
        np.array([value is None for _, value in flat]),
    )


def _read(url: str, start_ms: int, end_ms: int) -> Samples:
    body = _post(url + "/api/v1/read", read_request([("__name__", "!=", "")], start_ms, end_ms))
    return {
        series.key: [(t, None if bits == STALE_BITS else _float(bits)) for t, bits in series.samples]
        for series in read_samples(body)
    }


def _float(bits: int) -> float:
    return float(np.uint64(bits).view(np.float64))


def _times(found: Samples, name: str) -> list[int]:
    return [time_ms for time_ms, _ in found.get(encode_labels({"__name__": name}), ())]


def _post(url: str, body: bytes) -> bytes:
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())
