"""Raw samples of a real server: our engine finds over them what it finds over the same samples in memory."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from metricsmith.errors import QueryLimitExceeded
from metricsmith.model.labels import NAME_LABEL, decode_labels, encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.selection import Selection
from metricsmith.promql import Engine
from metricsmith.promql.memory import STALE, MemorySeries
from metricsmith.store.prometheus import selecting

MINUTE = 60_000
Make = Callable[..., Any]
Samples = dict[bytes, list[tuple[int, float | None]]]


def drawn(name: str, base_ms: int, again: bool = True) -> Samples:
    """Ten minutes of series: on one grid, on grids of their own, ended, and perhaps begun again."""
    chance = random.Random(name)
    found: Samples = {}
    for i in range(12):
        offset = 0 if i < 5 else chance.randrange(15_000)
        times = range(base_ms + offset, base_ms + 10 * MINUTE, 15_000)
        rows: list[tuple[int, float | None]] = [(t, chance.choice([0.5, 2.0, 7.25]) * i) for t in times]
        if i % 4 == 1:
            cut = chance.randrange(5, 30)
            rows = [*rows[:cut], (rows[cut][0], None), *(rows[cut + 12 :] if again and i % 8 == 1 else [])]
        found[encode_labels({NAME_LABEL: name, "i": str(i), "job": "ab"[i % 2]})] = rows
    return found


def in_memory(samples: Samples) -> MemorySeries:
    return MemorySeries(
        (decode_labels(key), [t for t, _ in rows], [STALE if v is None else v for _, v in rows])
        for key, rows in samples.items()
    )


def flat(found: Selection) -> dict[bytes, list[tuple[int, float]]]:
    """The samples of a selection without markers."""
    shown: dict[bytes, list[tuple[int, float]]] = {}
    for m in found.matrices:
        stale = np.zeros(len(m.times), bool) if m.stale is None else m.stale
        for row, values in zip(m.rows.tolist(), m.values, strict=True):
            shown[found.keys[row]] = list(zip(m.times[~stale].tolist(), values[~stale].tolist(), strict=True))
    if (r := found.ragged) is not None:
        for row, (first, end) in zip(r.rows.tolist(), pairwise(r.offsets.tolist()), strict=True):
            kept = np.ones(end - first, bool) if r.stale is None else ~r.stale[first:end]
            shown[found.keys[row]] = list(
                zip(r.times[first:end][kept].tolist(), r.values[first:end][kept].tolist(), strict=True)
            )
    return {key: rows for key, rows in shown.items() if rows}


def of(name: str, *more: Matcher) -> list[Matcher]:
    return [Matcher(NAME_LABEL, MatchOp.EQ, name), *more]


def test_samples_are_those_of_the_closed_range(real: Any, store_at: Make, base_ms: int) -> None:
    samples = drawn("sel_range", base_ms)
    real.write(samples)
    store, memory = store_at(real.url), in_memory(samples)
    selectors = [
        of("sel_range"),
        of("sel_range", Matcher("i", MatchOp.RE, "[1-3]")),
        of("sel_range", Matcher("job", MatchOp.NE, "a"), Matcher("none", MatchOp.EQ, "")),
        of("sel_range", Matcher("i", MatchOp.NRE, '"|\\\\|\n')),
        of("sel_none"),
    ]
    ranges = [(0, 10), (2, 3), (0, 0), (3, 2), (-30, -20), (-(2**40), 2**40)]
    spans = [(base_ms + a * MINUTE, base_ms + b * MINUTE) for a, b in ranges]
    spans += [(base_ms + 15_000, base_ms + 30_000), (base_ms + 15_001, base_ms + 29_999)]
    compared = 0
    for matchers in selectors:
        for start_ms, end_ms in spans:
            found = store.select(matchers, start_ms, end_ms)
            wanted = flat(memory.select(matchers, start_ms, end_ms))
            assert flat(found) == wanted, (matchers, start_ms - base_ms, end_ms - base_ms)
            assert found.keys == sorted(found.keys)
            compared += sum(map(len, wanted.values()))
    assert compared > 1000


def test_series_that_share_their_times_are_one_matrix(real: Any, store_at: Make, base_ms: int) -> None:
    real.write(drawn("sel_matrix", base_ms))
    found = store_at(real.url).select(of("sel_matrix"), base_ms, base_ms + 60_000)
    assert max(len(matrix.rows) for matrix in found.matrices) >= 5


EXPRESSIONS = (
    "sum by (job) (sel_ended)",
    "count(sel_ended)",
    "max_over_time(sel_ended[2m])",
    "rate(sel_ended[2m])",
    "sel_ended offset 1m",
    "count(sel_ended offset 90s) - count(sel_ended)",
    "absent(sel_ended{i='1'})",
    "timestamp(sel_ended{i='0'})",
)


def test_our_engine_sees_what_has_ended(real: Any, store_at: Make, base_ms: int) -> None:
    """Markers are not told by Prometheus, but at the end of a range it shows no series that has ended.

    A pause in the middle of what is selected cannot be seen there.
    """
    samples = drawn("sel_ended", base_ms, again=real.name == "victoria_metrics")
    real.write(samples)
    over_server, over_memory = Engine(store_at(real.url)), Engine(in_memory(samples))
    for expr in EXPRESSIONS:
        counted = 0
        for time_ms in range(base_ms + 2 * MINUTE, base_ms + 10 * MINUTE, 40_000):
            got, wanted = over_server.instant(expr, time_ms), over_memory.instant(expr, time_ms)
            assert got.keys == wanted.keys, (expr, time_ms - base_ms)
            np.testing.assert_array_equal(got.values, wanted.values)
            counted += len(got.keys)
        assert counted, expr


def test_a_large_selection_is_read_in_pieces(
    real: Any, store_at: Make, base_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = drawn("sel_pieces", base_ms)
    real.write(samples)
    store = store_at(real.url)
    whole = flat(store.select(of("sel_pieces"), base_ms, base_ms + 10 * MINUTE))
    monkeypatch.setattr(selecting, "PIECE_BYTES", 4000)
    assert flat(store.select(of("sel_pieces"), base_ms, base_ms + 10 * MINUTE)) == whole
    monkeypatch.setattr(selecting, "PIECE_BYTES", 300)
    with pytest.raises(QueryLimitExceeded, match="too many series") as error:
        store.select(of("sel_pieces"), base_ms, base_ms + 10 * MINUTE)
    assert error.value.limit == "series"


def test_more_samples_than_the_limit_are_refused(real: Any, store_at: Make, base_ms: int) -> None:
    samples = drawn("sel_limit", base_ms)
    real.write(samples)
    store = store_at(real.url)
    count = sum(
        map(len, flat(in_memory(samples).select(of("sel_limit"), base_ms, base_ms + MINUTE)).values())
    )
    assert store.select(of("sel_limit"), base_ms, base_ms + MINUTE, count).keys
    with pytest.raises(QueryLimitExceeded, match=f"wanted at most {count - 1}") as error:
        store.select(of("sel_limit"), base_ms, base_ms + MINUTE, count - 1)
    assert error.value.limit == "samples"


def test_series_labels_and_values(real: Any, store_at: Make, base_ms: int) -> None:
    samples = drawn("sel_labels", base_ms)
    real.write(samples)
    store, always = store_at(real.url), (-(2**53), 2**53)
    assert store.series(of("sel_labels"), *always) == sorted(samples)
    assert set(samples) <= set(store.series([], *always))
    assert store.label_names(of("sel_labels"), *always) == ["__name__", "i", "job"]
    assert {"__name__", "i", "job"} <= set(store.label_names([], *always))
    assert store.label_values("job", of("sel_labels"), *always) == ["a", "b"]
    assert store.label_values("none", of("sel_labels"), *always) == []
    assert "sel_labels" in store.label_values(NAME_LABEL, [], *always)
    assert store.series(of("sel_labels"), 10, 5) == []
    status = store.status()
    assert (status.type, status.status, status.detail) == ("prometheus", "connected", "")
    today_ms = int(time.time() // 86_400 * 86_400_000)  # VictoriaMetrics tells of the day, UTC
    of_today = [key for key, points in samples.items() if points[-1][0] >= today_ms]
    assert store.cardinality(3).series >= len(of_today)
    assert bool(of_today) <= len(store.cardinality(1).series_by_metric) <= 1
