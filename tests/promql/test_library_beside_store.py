"""The library answers what the engine answers over the store that was sent the same samples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metricsmith.contracts import Context
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.promql import STALE, Engine, evaluate, evaluate_table, to_api
from metricsmith.promql.result import format_value
from metricsmith.store.embedded import EmbeddedConfig, EmbeddedStore
from metricsmith.testing.clock import FakeClock

NOW = 1_700_000_000_000 // 60_000 * 60_000
QUERIES = [
    "x",
    "timestamp(x)",
    "x[3m]",
    "sum by (job) (x)",
    "count_over_time(x[2m])",
    "increase(x[4m]) > 0",
    "last_over_time(x[90s] offset 1m)",
    "max_over_time(max(x)[5m:30s])",
    'x{job="a"} + on (zone) group_left () sum by (zone) (x)',
    "absent(x)",
    "topk(1, x)",
    "scalar(x) + 1",
]
TIMES = st.one_of(
    st.integers(-10, 0).map(lambda minute: NOW + minute * 60_000),
    st.integers(NOW - 600_000, NOW),
)
VALUES = st.one_of(
    st.integers(-3, 50).map(float), st.sampled_from([0.1, -0.0, math.nan, math.inf, -math.inf, STALE, 1e300])
)
LABELS = st.fixed_dictionaries(
    {"__name__": st.sampled_from(["x", "y"]), "job": st.sampled_from(["a", "b"])},
    optional={"zone": st.sampled_from(["", "é"])},
)
SERIES = st.lists(
    st.tuples(LABELS, st.lists(st.tuples(TIMES, VALUES), max_size=12)).map(
        lambda drawn: (drawn[0], [t for t, _ in drawn[1]], [v for _, v in drawn[1]])
    ),
    max_size=4,
)
Series = list[tuple[dict[str, str], list[int], list[float]]]


def sent_to_store(series: Series, folder: Path) -> EmbeddedStore:
    """A store that got each sample by itself, in the order given."""
    clock = FakeClock(NOW)
    telemetry, table = Telemetry(clock), SeriesTable()
    config = EmbeddedConfig.model_validate({"path": str(folder)})
    store = EmbeddedStore(config, Context("store", table, telemetry, clock))
    sequence = 0
    for labels, times, values in series:
        layout = Layout(table.intern_many([encode_labels(labels)]), None, {})
        for time, value in zip(times, values, strict=True):
            value_array = np.array([value])
            stale = value_array.view(np.uint64) == np.array([STALE]).view(np.uint64)
            sequence += 1
            store.apply(store.admit(Batch(layout, np.array([time]), value_array, stale)), sequence)
    return store


def comparable(data: dict[str, Any]) -> Any:
    """The answer with the series in label order and values to 9 digits: sums may add in another order."""

    def rounded(sample: list[Any]) -> tuple[float, str]:
        return sample[0], f"{float(sample[1]):.9g}"

    if data["resultType"] == "scalar":
        return rounded(data["result"])
    return sorted(
        (sorted(each["metric"].items()), [rounded(s) for s in each.get("values") or [each["value"]]])
        for each in data["result"]
    )


@given(series=SERIES, query=st.sampled_from(QUERIES), step=st.sampled_from([0, 17_000, 60_000]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_evaluate_answers_as_the_store_does(
    series: Series, query: str, step: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    times = (
        {"start": NOW - 300_000, "end": NOW, "step": step} if step and "[3m]" not in query else {"time": NOW}
    )
    store = sent_to_store(series, tmp_path_factory.mktemp("store"))
    try:
        engine = Engine(store)
        theirs = engine.range(query, *times.values()) if "step" in times else engine.instant(query, NOW)
    finally:
        store.close(flush=False)
    assert comparable(evaluate(query, series, **times)) == comparable(to_api(theirs))


@given(series=SERIES, query=st.sampled_from(QUERIES), step=st.sampled_from([0, 17_000]))
def test_a_table_has_the_samples_of_the_answer(series: Series, query: str, step: int) -> None:
    times = (
        {"start": NOW - 300_000, "end": NOW, "step": step} if step and "[3m]" not in query else {"time": NOW}
    )
    data = evaluate(query, series, **times)
    wanted = data["result"]
    if data["resultType"] == "scalar":
        wanted = [{"metric": {}, "value": wanted}]
    rows = [
        (each["metric"], round(time * 1000), value)
        for each in wanted
        for time, value in each.get("values") or [each["value"]]
    ]
    found = []
    for row in evaluate_table(query, series, **times).to_pylist():
        time_ms, value = row.pop("time_ms"), row.pop("value")
        found.append(
            ({name: text for name, text in row.items() if text is not None}, time_ms, format_value(value))
        )
    assert found == rows
