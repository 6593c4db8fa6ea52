"""PromQL as a library: what series may look like, what is refused, tables."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from metricsmith.errors import QueryError
from metricsmith.promql import EngineConfig, evaluate, evaluate_table

UP = {"__name__": "up", "job": "shop"}
SERIES = [(UP, [0, 15_000, 30_000], [1, 0, 1]), ({"job": "nameless"}, [0], [2.5])]


@pytest.mark.parametrize(
    ("times", "values"),
    [
        ([0, 15_000], [1, 2]),
        ((0, 15_000), (1.0, 2.0)),
        (range(0, 30_000, 15_000), [1, 2]),
        (np.array([0, 15_000]), np.array([1, 2])),
        (np.array([0, 15_000], np.uint32), np.array([1, 2], np.float32)),
        (pa.array([0, 15_000]), pa.array([1.0, 2.0])),
        (pa.chunked_array([[0], [15_000]]), pa.chunked_array([[1], [2]])),
        ([15_000, 0], [2, 1]),
        ([15_000, 0, 15_000], [7, 1, 2]),
    ],
)
def test_samples_may_come_in_any_form_and_order(times: Any, values: Any) -> None:
    data = evaluate("up", [(UP, times, values)], start=0, end=15_000, step=15_000)
    assert data["result"] == [{"metric": UP, "values": [[0, "1"], [15, "2"]]}]


def test_a_series_in_two_parts_is_one() -> None:
    parts = [
        (UP, [15_000, 30_000], [7, 3]),
        ({"job": "shop", "__name__": "up", "zone": ""}, [0, 15_000], [1, 2]),
    ]
    data = evaluate("up", parts, start=0, end=30_000, step=15_000)
    assert data["result"] == [{"metric": UP, "values": [[0, "1"], [15, "2"], [30, "3"]]}]


def test_series_may_be_a_generator_empty_or_without_a_name() -> None:
    assert evaluate("up", (each for each in SERIES), time=0)["result"] == [{"metric": UP, "value": [0, "1"]}]
    assert evaluate("up", [(UP, [], [])], time=0)["result"] == []
    assert evaluate("up", [], time=0)["result"] == []
    assert evaluate('{job="nameless"}', SERIES, time=0)["result"][0]["value"] == [0, "2.5"]


def test_remarks_come_with_the_data() -> None:
    data = evaluate("rate(up[1m])", SERIES, time=30_000)
    assert "might not be a counter" in data["infos"][0]
    assert "warnings" not in data


@pytest.mark.parametrize(
    ("expr", "text"), [("1e-7", "0.0000001"), ("1e21", "1000000000000000000000"), ("-1/0", "-Inf")]
)
def test_scalars_have_no_exponent_as_over_http(expr: str, text: str) -> None:
    assert evaluate(expr, [], time=0)["result"] == [0, text]


def test_the_options_are_those_of_the_engine() -> None:
    assert evaluate("up", SERIES, time=90_000, lookback=60_000)["result"] == []
    assert evaluate("up", SERIES, time=90_000, lookback=60_001)["result"] != []
    counted = [
        evaluate("count_over_time(up[15s])", SERIES, time=30_000, left_open=left_open)["result"][0]["value"][
            1
        ]
        for left_open in (True, False)
    ]
    assert counted == ["1", "2"]
    closed = EngineConfig(closed_windows=True, lookback_ms=60_000)
    assert (
        evaluate("count_over_time(up[15s])", SERIES, time=30_000, limits=closed)["result"][0]["value"][1]
        == "2"
    )
    assert evaluate("up", SERIES, time=90_001, limits=closed)["result"] == []
    with pytest.raises(QueryError, match="too many samples"):
        evaluate("up", SERIES, time=0, limits=EngineConfig(max_samples=0))


@pytest.mark.parametrize(
    ("expr", "times", "message"),
    [
        ("up +", {"time": 0}, "parse error"),
        (b"up", {"time": 0}, "got an expression of type bytes, wanted text"),
        ("up", {}, "got no time, wanted either time, or start, end and step"),
        ("up", {"start": 0, "end": 1}, "got start, end, wanted either time, or"),
        ("up", {"time": 0, "start": 0, "end": 1, "step": 1}, "got time, start, end, step"),
        ("up", {"time": 1.5}, "time: got 1.5, wanted whole milliseconds"),
        ("up", {"time": True}, "time: got True, wanted whole milliseconds"),
        ("up", {"time": "now"}, "time: got 'now', wanted whole milliseconds"),
        ("up", {"time": 1 << 70}, "got start 1180591620717411303424 ms, wanted at most 2^53"),
        ("up", {"start": 0, "end": 1, "step": 1 << 70}, "got step 1180591620717411303424 ms"),
        ("up", {"time": 0, "lookback": 1 << 60}, "got lookback 1152921504606846976 ms, wanted 1 to 2^53"),
        ("up", {"time": 0, "limits": {"max_samples": 1}}, "got limits of type dict, wanted an EngineConfig"),
        ("up", {"start": 0, "end": 10, "step": 0}, "step"),
        ("up", {"start": 10, "end": 0, "step": 1}, "end"),
        ("up", {"start": 0, "end": 1_000_000, "step": 1}, "11000"),
        ("up", {"time": 0, "lookback": 0}, "got lookback 0 ms, wanted 1 to 2^53"),
        ("up", {"time": 0, "lookback": "5m"}, "lookback: got '5m', wanted whole milliseconds"),
        ("up[1m]", {"start": 0, "end": 1, "step": 1}, "range vector"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(expr: Any, times: dict[str, Any], message: str) -> None:
    for ask in (evaluate, evaluate_table):
        with pytest.raises(QueryError) as raised:
            ask(expr, SERIES, **times)
        assert message in str(raised.value)


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        ((UP, [0]), TypeError, "series[1]: got 2 items, wanted a tuple (labels, timestamps_ms, values)"),
        ("up", TypeError, "series[1]: got str, wanted a tuple"),
        (("up", [0], [1]), TypeError, "series[1]: got labels of type str, wanted a mapping such as"),
        (({"a": 1}, [0], [1]), TypeError, "series[1]: got label 'a': 1, wanted text for name and value"),
        (({1: "a"}, [0], [1]), TypeError, "series[1]: got label 1: 'a', wanted text"),
        (({"": "shop"}, [0], [1]), ValueError, "series[1]: got a label without name of value 'shop'"),
        (({"a": "\ud800"}, [0], [1]), ValueError, "series[1]: got a label that is not valid Unicode"),
        ((UP, [0, 1], [1]), ValueError, "series[1]: got 2 timestamps and 1 values, wanted as many"),
        (
            (UP, [0.5], [1]),
            TypeError,
            'timestamps of type float64, wanted whole milliseconds; use .astype("int64")',
        ),
        (
            (UP, np.array(["2026-01-01"], "M8[s]"), [1]),
            TypeError,
            'use .astype("datetime64[ms]").astype("int64")',
        ),
        ((UP, ["0"], [1]), TypeError, "wanted whole milliseconds"),
        (
            (UP, [1 << 63], [1]),
            ValueError,
            "series[1]: got a timestamp of 9223372036854775808 ms, wanted at most",
        ),
        ((UP, [0], ["one"]), TypeError, "series[1]: got values of type <U3, wanted numbers"),
        ((UP, [0], [None]), TypeError, "series[1]: got values of type object, wanted numbers"),
        (
            (UP, [0], pa.array([None], pa.float64())),
            ValueError,
            "series[1]: values: got 1 nulls, wanted none",
        ),
        ((UP, 0, [1]), ValueError, "series[1]: timestamps: got 0 dimensions, wanted a list"),
        ((UP, [[0]], [1]), ValueError, "series[1]: timestamps: got 2 dimensions, wanted a list"),
        ((UP, [[0], [1, 2]], [1]), ValueError, "series[1]: timestamps: "),
    ],
)
def test_a_malformed_series_is_named(item: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        evaluate("up", [SERIES[0], item], time=0)
    assert message in str(raised.value)


def test_series_must_be_many() -> None:
    with pytest.raises(TypeError, match="series: got NoneType, wanted tuples"):
        evaluate("up", None, time=0)
    with pytest.raises(TypeError, match=r"series\[0\]: got dict, wanted a tuple"):
        evaluate("up", SERIES[0], time=0)


def test_a_table_has_a_row_for_each_sample() -> None:
    table = evaluate_table('{job=~".+"} > 0', SERIES, start=0, end=30_000, step=15_000)
    assert table.column_names == ["__name__", "job", "time_ms", "value"]
    assert table.schema.types == [*[pa.dictionary(pa.int32(), pa.string())] * 2, pa.int64(), pa.float64()]
    found = [tuple(row.values()) for row in table.to_pylist()]
    assert found == [
        ("up", "shop", 0, 1.0),
        ("up", "shop", 30_000, 1.0),
        (None, "nameless", 0, 2.5),
        (None, "nameless", 15_000, 2.5),
        (None, "nameless", 30_000, 2.5),
    ]


@pytest.mark.parametrize(
    ("expr", "rows"),
    [
        ("up[20s]", [("up", "shop", 15_000, 0.0), ("up", "shop", 30_000, 1.0)]),
        ("nothing", []),
        ("1 + 1", [(30_000, 2.0)]),
        ("time() / 0 * vector(-1)", [(30_000, -np.inf)]),
    ],
)
def test_every_kind_of_number_has_a_table(expr: str, rows: list[tuple[Any, ...]]) -> None:
    table = evaluate_table(expr, SERIES, time=30_000)
    assert [tuple(row.values()) for row in table.to_pylist()] == rows
    assert table.column_names[-2:] == ["time_ms", "value"]


def test_a_string_has_no_table() -> None:
    with pytest.raises(QueryError, match="answer of type string"):
        evaluate_table('"text"', SERIES, time=0)


def test_labels_named_like_the_sample_columns_are_renamed() -> None:
    labels = {"value": "a", "exported_value": "b", "time_ms": "c"}
    table = evaluate_table('{value="a"}', [(labels, [0], [1])], time=0)
    assert table.to_pylist() == [
        {
            "exported_value": "b",
            "exported_time_ms": "c",
            "exported_exported_value": "a",
            "time_ms": 0,
            "value": 1.0,
        }
    ]


def test_a_table_carries_the_remarks() -> None:
    table = evaluate_table("rate(up[1m])", SERIES, time=30_000)
    assert list(table.schema.metadata) == [b"infos"]
    assert b"might not be a counter" in table.schema.metadata[b"infos"]
    assert evaluate_table("up", SERIES, time=0).schema.metadata is None


def test_the_import_brings_neither_store_nor_server() -> None:
    program = "import json, sys, metricsmith.promql; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.check_output([sys.executable, "-c", program]))
    heavy = {"pyarrow", "starlette", "aiohttp", "uvicorn", "sqlite3", "pydantic", "prometheus_client"}
    ours = {
        f"metricsmith.{part}" for part in ("store", "api", "journal", "sources", "runtime", "cli", "registry")
    }
    assert not (heavy | ours).intersection(modules)
