"""limitk and limit_ratio choose series by their labels alone, as Prometheus does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.labels import encode_labels
from metricsmith.promql.sampling import label_offsets

LONG = "v" * 300


@pytest.mark.parametrize(
    ("labels", "encoded"),
    [
        ({}, b""),
        ({"__name__": "up", "job": "a"}, b"\x08__name__\x02up\x03job\x01a"),
        ({"__name__": "up", "Job": "ä"}, b"\x03Job\x02\xc3\xa4\x08__name__\x02up"),
        ({"a": LONG}, b"\x01a\xff\x2c\x01\x00" + LONG.encode()),
    ],
)
def test_series_are_hashed_as_prometheus_hashes_them(labels: dict[str, str], encoded: bytes) -> None:
    expected = xxhash.xxh64_intdigest(encoded) / 2**64
    assert label_offsets([encode_labels(labels)]).tolist() == [expected]


@given(ratio=st.floats(0, 1), series=st.integers(0, 60))
def test_a_ratio_and_its_negative_complement_share_all_series(
    given_series: Any, ratio: float, series: int
) -> None:
    ask = given_series("\n".join(f'x{{i="{i}"}} {i}' for i in range(series)) or "y 1")
    some, rest = ask.at(f"limit_ratio({ratio}, x)"), ask.at(f"limit_ratio({ratio} - 1, x)")
    if 0 < ratio < 1:
        assert not some.keys() & rest.keys()
        assert {**some, **rest} == ask.at("x")


def test_a_ratio_is_about_a_share(given_series: Any) -> None:
    ask = given_series("\n".join(f'x{{i="{i}"}} 1' for i in range(2000)))
    assert 0.16 < len(ask.at("limit_ratio(0.2, x)")) / 2000 < 0.24


def test_the_same_series_are_chosen_at_each_step_as_long_as_they_live(given_series: Any) -> None:
    ask = given_series("\n".join(f'x{{i="{i}"}} {i} {i + 1} {"stale" if i % 2 else i}' for i in range(20)))
    found = ask.over("limitk(5, x)", 2)
    values = np.array([[v is not None for v in row] for row in found.values()])
    assert values.sum(axis=0).tolist() == [5, 5, 5]
    assert (values[:, 0] == values[:, 1]).all()
    assert all(int(key.split("'")[1]) % 2 == 0 for key, row in found.items() if row[2] is not None)
