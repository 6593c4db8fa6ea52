"""Numbers and label sets as the API writes them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.labels import encode_labels
from metricsmith.promql.result import format_time, format_value, plain_number
from metricsmith.promql.series_labels import describe, label_order


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1.5e20, "150000000000000000000"),
        (1e21, "1e+21"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e-6, "0.000001"),
        (1.25e-5, "0.0000125"),
        (-9.9e-7, "-9.9e-07"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_numbers_are_written_as_prometheus_does(value: float, text: str) -> None:
    assert format_value(value) == text


@given(value=st.floats(allow_nan=False))
def test_numbers_read_back_the_same(value: float) -> None:
    text = format_value(value)
    assert float(text) == value
    assert ("e" in text) == (math.isfinite(value) and value != 0 and not 1e-6 <= abs(value) < 1e21)
    assert float(plain_number(value)) == value
    assert "e" not in plain_number(value)


def test_times_are_seconds() -> None:
    assert [format_time(t) for t in (0, 1500, -2000, 1_700_000_000_001)] == [0, 1.5, -2, 1_700_000_000.001]


labels = st.dictionaries(
    st.sampled_from(["__name__", "a", "ab", "Z", "_", "__a", "é"]),
    st.sampled_from(["", "x", "xy", "é"]),
    max_size=4,
)


@given(sets=st.lists(labels, max_size=8))
def test_series_are_sorted_label_by_label(sets: list[dict[str, str]]) -> None:
    keys = [encode_labels(s) for s in sets]
    wanted = sorted([(n.encode(), v.encode()) for n, v in s.items() if v] for s in map(dict, sets))
    pairs = [sorted((n.encode(), v.encode()) for n, v in s.items() if v) for s in sets]
    assert [pairs[i] for i in label_order(keys)] == sorted(map(sorted, wanted))


def test_labels_are_described_as_in_errors() -> None:
    assert (
        describe(encode_labels({"__name__": "x", "b": 'q"\\', "a": "é"}))
        == '{__name__="x", a="é", b="q\\"\\\\"}'
    )
    assert describe(b"") == "{}"
