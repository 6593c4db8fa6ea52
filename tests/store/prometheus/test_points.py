"""Points cut out of the text of an answer are those that a JSON reader finds, however it is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.net.store_client import Reply
from metricsmith.promql.result import format_value
from metricsmith.store.prometheus.answers import Limits, instant_result
from metricsmith.store.prometheus.points import count_points, cut_points, parse_points
from metricsmith.store.prometheus.server import decoded

TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(['"values":[[', '"values":[[1,"2"]]', ']]"', "\\", '\\"values\\":[[3,"4"]]', "values"]),
)
POINTS = st.dictionaries(
    st.integers(-(10**6), 2 * 10**12), st.floats() | st.sampled_from([0.0, 1e21, 1e-7]), max_size=4
)
WRITERS: list[Callable[[Any], str]] = [
    lambda document: json.dumps(document, separators=(",", ":")),
    lambda document: json.dumps(document, separators=(",", ":"), ensure_ascii=False),
    json.dumps,
    lambda document: json.dumps(document, indent=1),
]


@given(
    st.dictionaries(TEXTS.filter(bool), POINTS, max_size=4),
    TEXTS,
    st.sampled_from(WRITERS),
)
def test_points_are_those_of_the_text(
    series: dict[str, dict[int, float]], remark: str, write: Callable[[Any], str]
) -> None:
    result = [
        {
            "metric": {"values": name},
            "values": [[time_ms / 1000, format_value(points[time_ms])] for time_ms in sorted(points)],
        }
        for name, points in series.items()
    ]
    document = {"status": "success", "data": {"resultType": "matrix", "result": result}, "infos": [remark]}
    told = decoded(Reply(200, write(document).encode()))
    assert told.infos == [remark]
    found = instant_result(told, 0, Limits(100, 100))
    assert found.raw is not None
    names = [key.rpartition(b"\xfe")[2].decode() for key in found.keys]
    assert names == list(series)
    for name, (first, end) in zip(names, pairwise(found.raw.offsets.tolist()), strict=True):
        times, values = found.raw.times[first:end].tolist(), found.raw.values[first:end].tolist()
        wanted = sorted(series[name].items())
        assert times == [t for t, _ in wanted]
        assert list(map(repr, values)) == [repr(v) for _, v in wanted]


@pytest.mark.parametrize("text", [b"1", b'1,"2",3', b'1,"2"],[3', b'1,"2"],["4",5,6', b","])
def test_what_is_no_pairs_of_numbers_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"no pairs|no number"):
        parse_points([text] * count_points(text))


@pytest.mark.parametrize(
    "text", [b'x,"2"', b'1,"0x1"', b'1,"1_0"', b'1,""', b'NaN,"1"', b"1,null", b'1,"1e999"']
)
def test_what_is_no_number_is_refused(text: bytes) -> None:
    assert count_points(text) == 1
    with pytest.raises(ValueError, match=r"no number|time is none"):
        parse_points([text])


def test_text_that_ends_within_points_is_left_to_the_json_reader() -> None:
    body = b'{"a":[{"values":[[1,"2"],[3'
    assert cut_points(body) == (body, [])
