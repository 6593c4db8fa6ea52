"""Values, times and labels of answers as Go writes them, held against a plain formatter."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.api.jsonout import CHUNK_BYTES, labels_text, object_list, query_answer, value_texts
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.query_result import Result
from metricsmith.model.selection import RaggedGroup

FLOATS = st.one_of(
    st.floats(),
    st.integers(-(2**63), 2**63).map(float),
    st.integers(-330, 309).map(lambda e: float(f"1e{e}")),
    st.integers(-330, 308).map(lambda e: math.nextafter(float(f"1e{e}"), math.inf)),
    st.integers(0, 2**64 - 1).map(lambda bits: float(np.array([bits], np.uint64).view(np.float64)[0])),
)


def go_text(value: float) -> str:
    """What strconv.AppendFloat gives in Prometheus' MarshalFloat: 'f', or 'e' outside [1e-6, 1e21)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    minus = "-" if sign else ""
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        assert isinstance(exponent, int)
        power = exponent + len(digits) - 1
        fraction = "".join(map(str, digits[1:]))
        mantissa = f"{digits[0]}.{fraction}" if fraction else str(digits[0])
        return f"{minus}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
    text = format(abs(Decimal(repr(value))), "f")
    return minus + (text.rstrip("0").rstrip(".") if "." in text else text)


@given(st.lists(FLOATS, max_size=50))
def test_values_are_go_s_shortest_texts(values: list[float]) -> None:
    assert value_texts(np.array(values, dtype=np.float64)) == [go_text(v) for v in values]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1e-6, "0.000001"),
        (9.99999999999e-7, "9.99999999999e-07"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (5e-324, "5e-324"),
        (0.1 + 0.2, "0.30000000000000004"),
        (10.0, "10"),
        (100.05, "100.05"),
    ],
)
def test_value_texts(value: float, text: str) -> None:
    assert value_texts(np.array([value])) == [text]
    assert value_texts(np.array([value, 1.0, value])) == [text, "1", text]


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)


@given(st.dictionaries(st.just("__name__") | NAMES, NAMES, max_size=5))
def test_label_sets_are_read_back(labels: dict[str, str]) -> None:
    assert json.loads(labels_text(encode_labels(labels))) == labels


NOW_MS = 1_700_000_000_000
ANY_TIME = st.integers(-(2**53), 2**53)
OUR_TIME = st.integers(NOW_MS, NOW_MS + 5000) | st.integers(1_700_000_000, 1_700_000_005).map(
    lambda s: s * 1000
)
TIMES = st.one_of(
    st.lists(times, min_size=1, max_size=6, unique=True).map(sorted) for times in (ANY_TIME, OUR_TIME)
)


def plain_matrix(result: Result) -> list[Any]:
    rows = []
    for row, key in enumerate(result.keys):
        present = [True] * len(result.steps) if result.present is None else result.present[row].tolist()
        points = [
            [t / 1000, go_text(v)]
            for t, v, there in zip(result.steps.tolist(), result.values[row].tolist(), present, strict=True)
            if there
        ]
        rows.append({"metric": decode_labels(key), "values": points})
    return rows


@given(st.data(), TIMES, st.integers(0, 4))
def test_matrix_with_gaps(data: st.DataObject, times: list[int], series: int) -> None:
    shape = (series, len(times))
    values = np.array(data.draw(st.lists(FLOATS, min_size=series * len(times), max_size=series * len(times))))
    values = values.reshape(shape).astype(np.float64)
    masks = data.draw(
        st.none() | st.lists(st.booleans(), min_size=values.size, max_size=values.size).map(np.array)
    )
    present = None if masks is None else masks.astype(np.bool_).reshape(shape)
    keys = [encode_labels({"__name__": "x", "i": f'{i} "\\\n é'}) for i in range(series)]
    result = Result("matrix", np.array(times, np.int64), keys, values, present)
    assert json.loads(b"".join(query_answer(result)))["data"] == {
        "resultType": "matrix",
        "result": plain_matrix(result),
    }


@pytest.mark.parametrize("series", [1, 3])
def test_series_without_any_value_have_an_empty_list(series: int) -> None:
    keys = [encode_labels({"i": str(i)}) for i in range(series)]
    result = Result("matrix", np.array([0]), keys, np.zeros((series, 1)), np.zeros((series, 1), np.bool_))
    rows = json.loads(b"".join(query_answer(result)))["data"]["result"]
    assert rows == [{"metric": {"i": str(i)}, "values": []} for i in range(series)]


def test_times_have_three_decimals_unless_whole() -> None:
    result = Result("matrix", np.array([-1500, 1, 2000, 2020], np.int64), [b"a"], np.ones((1, 4)))
    assert b'[[-1.500,"1"],[0.001,"1"],[2,"1"],[2.020,"1"]]' in b"".join(query_answer(result))
    result = Result("matrix", NOW_MS + np.array([1, 2000, 2020], np.int64), [b"a"], np.ones((1, 3)))
    found = b"".join(query_answer(result))
    assert b'[[1700000000.001,"1"],[1700000002,"1"],[1700000002.020,"1"]]' in found


def test_series_without_any_value() -> None:
    result = Result("matrix", np.array([1, 2]), [b"a"], np.ones((1, 2)), np.zeros((1, 2), np.bool_))
    assert b'"values":[]}' in b"".join(query_answer(result))


def test_raw_samples_keep_their_own_times() -> None:
    raw = RaggedGroup(
        np.arange(3), np.array([0, 2, 2, 3]), np.array([1000, 2500, 3000]), np.array([1.0, math.nan, 3.0])
    )
    result = Result("matrix", np.array([0]), [b"a", b"b", b"c"], raw=raw)
    assert json.loads(b"".join(query_answer(result)))["data"]["result"] == [
        {"metric": {"__name__": "a"}, "values": [[1, "1"], [2.5, "NaN"]]},
        {"metric": {"__name__": "b"}, "values": []},
        {"metric": {"__name__": "c"}, "values": [[3, "3"]]},
    ]


def test_remarks_and_texts() -> None:
    result = Result("string", np.array([1000]), text='a "b"\n', warnings=["w"], infos=["i"])
    assert json.loads(b"".join(query_answer(result))) == {
        "status": "success",
        "data": {"resultType": "string", "result": [1, 'a "b"\n']},
        "warnings": ["w"],
        "infos": ["i"],
    }


def test_large_answers_come_in_pieces_that_join_to_one_document() -> None:
    keys = [encode_labels({"__name__": f"x{i}"}) for i in range(600)]
    values = np.arange(600 * 100, dtype=np.float64).reshape(600, 100) / 7
    chunks = query_answer(Result("matrix", np.arange(100) * 1000, keys, values))
    assert len(chunks) > 5
    assert max(map(len, chunks)) < 2 * CHUNK_BYTES
    result = json.loads(b"".join(chunks))["data"]["result"]
    assert [series["metric"]["__name__"] for series in result] == [f"x{i}" for i in range(600)]
    assert float(result[599]["values"][99][1]) == values[599, 99]
    assert json.loads(b"".join(object_list(keys, [])))["data"] == [decode_labels(key) for key in keys]
    assert json.loads(b"".join(object_list([], ["w"]))) == {
        "status": "success",
        "data": [],
        "warnings": ["w"],
    }
