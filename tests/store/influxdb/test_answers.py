"""Answers that no InfluxDB gives are told as such, never as samples or as a defect."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import (
    ExecutionError,
    MetricsmithError,
    QueryLimitExceeded,
    QueryRefused,
    QueryTimeout,
    StoreUnavailable,
)
from metricsmith.store.influxdb.lists import tags_of, told_by_fields
from metricsmith.store.influxdb.pages import disk_bytes, policies, series_count
from metricsmith.store.influxdb.rows import rows_in
from metricsmith.store.influxdb.schema import wanted_fields
from metricsmith.store.influxdb.server import NoDatabase, series_of
from metricsmith.wire.line_protocol_places import Places

PLACES = Places("{service}_metrics")
DECODERS: list[Callable[[bytes], Any]] = [
    series_of,
    partial(rows_in, fields=2),
    lambda body: wanted_fields(body, PLACES, []),
    lambda body: list(told_by_fields(body, PLACES)),
    lambda body: tags_of(body, PLACES, "tagKey"),
    policies,
    series_count,
    lambda body: disk_bytes(body, "d"),
]


def _answer(**series: Any) -> bytes:
    return orjson.dumps({"results": [{"statement_id": 0, "series": [series]}]})


def test_rows() -> None:
    first = _answer(
        name="m",
        tags={"a": "b", "c": ""},
        columns=["time", "x", "y"],
        values=[[1, 2.5, None], [2, None, -1e300]],
    )
    second = _answer(name="m", columns=["time", "x", "y"], values=[[-3, True, False]])
    one, two = rows_in(first + b"\n" + second + b"\n", 2)
    assert (one.measurement, one.tags) == (b"m", ((b"a", b"b"),))
    assert repr(one.numbers.tolist()) == "[[1.0, 2.5, nan], [2.0, nan, -1e+300]]"
    assert two.numbers.tolist() == [[-3, 1, 0]]
    assert rows_in(b'{"results":[{"statement_id":0}]}\n', 2) == []


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2]],
        [[1, 2, 3, 4]],
        [[1, 2, "3"]],
        [[1, 2, [3]]],
        [[1, 2, {"a": 1}]],
        [["x", 2, 3]],
        [[None, 2, 3]],
        [[1, 2, "]]"]],
        [[]],
        [],
        7,
        None,
    ],
)
def test_rows_of_another_form(values: Any) -> None:
    with pytest.raises(StoreUnavailable, match=r"none of InfluxDB's"):
        rows_in(_answer(name="m", columns=["time", "x", "y"], values=values), 2)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("database not found: d", NoDatabase),
        ("retention policy not found: x", ExecutionError),
        ("error parsing query: found x, expected ; at line 1, char 3", QueryRefused),
        ("query timeout limit exceeded", QueryTimeout),
        ("max-select-series limit exceeded: (5/3)", QueryLimitExceeded),
        ("error authorizing query: u not authorized to execute", StoreUnavailable),
    ],
)
def test_what_errors_of_statements_mean(text: str, error: type[Exception]) -> None:
    for body in ({"results": [{"statement_id": 0, "error": text}]}, {"error": text}):
        with pytest.raises(error) as caught:
            series_of(orjson.dumps(body))
        assert type(caught.value) is error


words = st.sampled_from(
    [
        "results",
        "series",
        "name",
        "tags",
        "columns",
        "values",
        "error",
        "fieldKey",
        "fieldType",
        "float",
        "time",
    ]
)
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(), words, st.just("a_metrics")),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=5)),
    max_leaves=12,
)
shaped = st.builds(
    lambda name, tags, columns, values: {
        "results": [{"series": [{"name": name, "tags": tags, "columns": columns, "values": values}]}]
    },
    documents,
    documents,
    st.one_of(documents, st.just(["time", "fieldKey", "fieldType"])),
    documents,
)


@given(document=st.one_of(documents, shaped, st.builds(lambda s: {"results": [{"series": s}]}, documents)))
def test_any_answer(document: Any) -> None:
    for body in (orjson.dumps(document), orjson.dumps(document)[:-1]):
        for decode in DECODERS:
            with suppress(MetricsmithError):
                decode(body)
