"""Backfill records what rounds at these times would have recorded live, however it is cut, however often."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from metricsmith.errors import QueryCancelled
from metricsmith.model.batch import Batch
from metricsmith.model.labels import decode_labels, encode_labels, format_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.series import SeriesTable
from metricsmith.promql.memory import GrowingSeries
from metricsmith.rules.backfill import Backfill
from metricsmith.rules.files import read_rule_text
from metricsmith.rules.loop import offset_ms
from metricsmith.rules.model import Group, RecordingRule
from metricsmith.rules.round import RunningGroup
from metricsmith.rules.templates import Expander
from metricsmith.runtime.rule_bench import RuleBench
from metricsmith.testing.clock import FakeClock

MINUTE = 60_000
BEGIN = 1_700_000_000_000
SIMPLE = """\
groups:
- name: simple
  rules:
  - {record: positive, expr: x > 0}
  - {record: 'c:rate', expr: 'rate(c[5m])', labels: {window: 5m}}
  - {alert: Any, expr: x > 0}
"""
CHAIN = """\
groups:
- name: chain
  interval: 2m
  rules:
  - {record: positive, expr: x > 0}
  - {record: 'positive:sum', expr: sum(positive)}
  - {record: 'positive:max', expr: 'max_over_time(positive:sum[10m])'}
  - {record: later_first, expr: later * 2}
  - {record: later, expr: 'sum(x)'}
  - {record: counted, expr: counted + 1 or vector(0)}
  - {record: all, expr: 'count({i=~".+"})'}
"""
LATE = SIMPLE.replace("name: simple\n", "name: simple\n  query_offset: 90s\n")
Recorded = dict[str, list[tuple[int, float | None]]]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [(SIMPLE, 1), (SIMPLE, 4), (LATE, 3), (CHAIN, 1), (CHAIN, 5)],
    ids=["simple", "simple in pieces", "late in pieces", "chain", "chain in pieces"],
)
def test_it_is_what_live_rounds_record(text: str, pieces: int) -> None:
    group = group_of(text)
    live, past = bench(), bench()
    schedule = Backfill(group, live.engine, live.store, SeriesTable(), FakeClock())
    first = schedule.first(BEGIN + 10 * MINUTE)
    times = range(first, BEGIN + 65 * MINUTE, group.interval_ms)
    table = SeriesTable()
    recording = replace(group, rules=tuple(r for r in group.rules if isinstance(r, RecordingRule)))
    running = RunningGroup(recording, live.engine, live.store, table, FakeClock(), Expander())
    for time_ms in times:
        write(live, table, running.evaluate(time_ms).batch)
    parts = [part for part in np.array_split(np.array(times), pieces) if len(part)]
    for part in parts:
        fill(past, group, int(part[0]), int(part[-1]), continued=part is not parts[0])
    assert recorded(past, group) == recorded(live, group)
    once = recorded(past, group)
    fill(past, group, first, times[-1])
    assert recorded(past, group) == once
    assert sum(value is None for samples in once.values() for _, value in samples) > 3
    assert not any("ALERTS" in series for series in once)


def test_its_times_are_those_of_the_running_group() -> None:
    group = group_of(SIMPLE)
    here = bench()
    backfill = Backfill(group, here.engine, here.store, SeriesTable(), FakeClock())
    assert backfill.first(BEGIN) % MINUTE == offset_ms(group)
    assert BEGIN <= backfill.first(BEGIN) < BEGIN + MINUTE


def test_a_rule_that_fails_stops_no_other_and_is_told_once() -> None:
    group = group_of(
        "groups: [{name: g, rules: [{record: bad, expr: x + on () x}, {record: good, expr: sum(x)}]}]"
    )
    here = bench()
    failures = fill(here, group, BEGIN + 5 * MINUTE, BEGIN + 20 * MINUTE)
    assert len(failures) == 1
    assert next(iter(failures)).startswith("bad: ")
    assert {*recorded(here, group)} == {"good"}


def test_it_ends_when_the_agent_stops() -> None:
    here = bench()
    here.engine.cancel()
    with pytest.raises(QueryCancelled):
        fill(here, group_of(SIMPLE), BEGIN, BEGIN + 20 * MINUTE)


def group_of(text: str) -> Group:
    (group,) = read_rule_text(text, "rules.yml", RuleBench(MINUTE).engine, MINUTE).groups
    return group


def fill(here: RuleBench, group: Group, first: int, end: int, *, continued: bool = False) -> set[str]:
    table = SeriesTable()
    backfill = Backfill(group, here.engine, here.store, table, FakeClock())
    time_ms = backfill.first(first)
    if continued:
        backfill.prime(time_ms - group.interval_ms)
    failures: set[str] = set()
    while time_ms <= end:
        piece = backfill.piece(time_ms, end, 60.0)
        write(here, table, piece.batch)
        time_ms = piece.next_ms
        failures |= {*piece.failures}
    return failures


def write(here: RuleBench, table: SeriesTable, batch: Batch | None) -> None:
    if batch is None:
        return
    rows = zip(batch.layout.ids, batch.times(), batch.value, batch.stales(), strict=True)
    for series, time_ms, value, stale in rows:
        here.append(table.key(int(series)), int(time_ms), float(value), bool(stale))


def recorded(here: RuleBench, group: Group) -> Recorded:
    return {
        format_labels(decode_labels(key)): samples
        for rule in group.rules
        for key, samples in _samples(here.store, rule.name)
    }


def _samples(store: GrowingSeries, name: str) -> Iterator[tuple[bytes, list[tuple[int, float | None]]]]:
    found = store.select([Matcher("__name__", MatchOp.EQ, name)], 0, 1 << 60)
    for matrix in found.matrices:
        for row, values in zip(matrix.rows.tolist(), matrix.values.tolist(), strict=True):
            stale = [False] * len(values) if matrix.stale is None else matrix.stale.tolist()
            yield found.keys[row], _pairs(matrix.times.tolist(), values, stale)
    if (ragged := found.ragged) is not None:
        stales = np.zeros(len(ragged.times), np.bool_) if ragged.stale is None else ragged.stale
        for index, row in enumerate(ragged.rows.tolist()):
            part = slice(ragged.offsets[index], ragged.offsets[index + 1])
            yield (
                found.keys[row],
                _pairs(ragged.times[part].tolist(), ragged.values[part].tolist(), stales[part].tolist()),
            )


def _pairs(times: list[int], values: list[float], stale: list[bool]) -> list[tuple[int, float | None]]:
    return [(t, None if s else v) for t, v, s in zip(times, values, stale, strict=True)]


def bench() -> RuleBench:
    """Return a store with walks about zero, with gaps and ends, and a counter."""
    here, chance = RuleBench(MINUTE), random.Random(3)
    for i in range(4):
        key, value = encode_labels({"__name__": "x", "i": str(i)}), 0.0
        for time_ms in range(BEGIN, BEGIN + 75 * MINUTE, 30_000):
            value = 0.9 * value + chance.gauss(0, 1)
            if chance.random() < 0.9:
                here.append(key, time_ms + 7 * i, value, chance.random() < 0.05)
    key, total = encode_labels({"__name__": "c"}), 0.0
    for time_ms in range(BEGIN, BEGIN + 75 * MINUTE, 30_000):
        total = 0.0 if chance.random() < 0.05 else total + chance.randrange(9)
        here.append(key, time_ms, total)
    return here
