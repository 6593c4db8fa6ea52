"""Whole expressions: a real Prometheus answers through the store as our engine over the same samples."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metricsmith.errors import ExecutionError, QueryRefused
from metricsmith.model.labels import NAME_LABEL, decode_labels, encode_labels
from metricsmith.promql import Engine, EngineConfig, to_api
from metricsmith.promql.memory import STALE, MemorySeries

MINUTE = 60_000
Make = Callable[..., Any]
Samples = dict[bytes, list[tuple[int, float | None]]]

EXPRESSIONS = (
    "whole_x",
    "sum by (job) (whole_x)",
    "sort_desc(whole_x)",
    "topk(2, whole_x)",
    "rate(whole_x[2m])",
    "max_over_time(whole_x[1m:10s])",
    "whole_x > 3 and on (job) whole_y",
    "absent(whole_none)",
    "absent(whole_x)",
    "whole_x / 0",
    "0 / (whole_x * 0)",
    "1 + 1",
    "time()",
    "vector(scalar(whole_none))",
    'label_replace(whole_y, "from", "ü$1\\"\\\\", "job", "(.*)")',
)
INSTANT_ONLY = ('"a\\tb"', "whole_x[1m]", "whole_x[1m] offset 30s", "whole_none[5m]")


def drawn(base_ms: int) -> Samples:
    chance = random.Random(3)
    found: Samples = {}
    for i in range(8):
        labels = {NAME_LABEL: f"whole_{'xy'[i % 2]}", "i": str(i), "job": "ab"[i // 2 % 2]}
        # Numbers whose sums are exact, whatever the order of addition.
        times = range(base_ms + chance.randrange(0, 15_000), base_ms + 10 * MINUTE, 15_000)
        rows: list[tuple[int, float | None]] = [(t, chance.randrange(-64, 640) / 64) for t in times]
        if i == 2:
            rows[20:] = [(rows[20][0], None)]
        found[encode_labels(labels)] = rows
    return found


def test_answers_are_those_of_the_engine(real_prometheus: Any, store_at: Make, base_ms: int) -> None:
    samples = drawn(base_ms)
    real_prometheus.write(samples)
    memory = MemorySeries(
        (decode_labels(key), [t for t, _ in rows], [STALE if v is None else v for _, v in rows])
        for key, rows in samples.items()
    )
    ours = Engine(memory, EngineConfig(closed_windows=True))
    theirs = store_at(real_prometheus.url).query_engine(
        lookback_ms=300_000, timeout_s=10.0, max_series=1000, max_points=100_000
    )
    for expr in EXPRESSIONS + INSTANT_ONLY:
        for time_ms in (base_ms + 5 * MINUTE, base_ms + 6 * MINUTE + 123, base_ms + 15 * MINUTE):
            got, wanted = theirs.instant(expr, time_ms), ours.instant(expr, time_ms)
            assert (got.type, got.text) == (wanted.type, wanted.text), expr
            if "sort" not in expr and "topk" not in expr:
                order = sorted(range(len(got.keys)), key=got.keys.__getitem__)
                back = sorted(range(len(wanted.keys)), key=wanted.keys.__getitem__)
                assert [got.keys[i] for i in order] == [wanted.keys[i] for i in back], expr
                if got.raw is None and got.keys:
                    np.testing.assert_allclose(got.values[order], wanted.values[back], rtol=1e-12)
                elif got.raw is not None:
                    assert to_api(got) == to_api(wanted), expr
                continue
            assert to_api(got) == to_api(wanted), expr
    for expr in EXPRESSIONS:
        span = (base_ms + 2 * MINUTE + 7, base_ms + 16 * MINUTE, 7_500)
        got, wanted = theirs.range(expr, *span), ours.range(expr, *span)
        assert got.keys == wanted.keys, expr
        assert got.steps.tolist() == wanted.steps.tolist()
        here = [np.ones(r.values.shape, bool) if r.present is None else r.present for r in (got, wanted)]
        np.testing.assert_array_equal(*here, err_msg=expr)
        np.testing.assert_allclose(got.values[here[0]], wanted.values[here[0]], rtol=1e-12, err_msg=expr)


@pytest.mark.parametrize(
    ("expr", "error", "match"),
    [
        ("sum(", QueryRefused, r"1:5: parse error: "),
        ("nope(x)", QueryRefused, "unknown function"),
        ("whole_x + on () whole_x", ExecutionError, "many-to-many"),
    ],
)
def test_its_errors_are_in_its_own_words(
    real_prometheus: Any, store_at: Make, base_ms: int, expr: str, error: Any, match: str
) -> None:
    samples = {encode_labels({NAME_LABEL: "whole_e", "i": str(i)}): [(base_ms, 1.0)] for i in range(2)}
    if error is ExecutionError:
        real_prometheus.write(samples)
    theirs = store_at(real_prometheus.url).query_engine(
        lookback_ms=300_000, timeout_s=10.0, max_series=1000, max_points=100_000
    )
    with pytest.raises(error, match=match):
        theirs.instant(expr.replace("whole_x", "whole_e"), base_ms)
