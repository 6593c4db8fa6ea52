"""Series survive the way through columns, and any engine can read these."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.store.catalogue import (
    columns_to_keys,
    fingerprint,
    keys_to_columns,
    metadata_columns,
    metadata_of,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
labels = st.dictionaries(st.one_of(st.just("__name__"), text), text, max_size=4)


@given(st.lists(labels, max_size=6))
def test_keys_come_back_as_they_were(sets):
    keys = [encode_labels(s) for s in sets]
    names, maps = keys_to_columns(keys)
    assert names.to_pylist() == [decode_labels(k).get("__name__", "") for k in keys]
    assert [dict(m) for m in maps.to_pylist()] == [
        {n: v for n, v in decode_labels(k).items() if n != "__name__"} for k in keys
    ]
    file = io.BytesIO()
    pq.write_table(pa.table({"name": names, "labels": maps}), file, store_schema=False)
    read = pq.read_table(file)
    if keys:
        assert columns_to_keys(read["name"].combine_chunks(), read["labels"].combine_chunks()) == keys
        half = len(keys) // 2  # a slice does not begin at offset zero
        assert columns_to_keys(names[half:], maps[half:]) == keys[half:]


@pytest.mark.parametrize(
    ("series", "family", "wanted"),
    [
        ("lag", "lag", "lag"),
        ("latency_bucket", "latency", "latency"),
        ("latency_bucket", "latency_bucket", "latency_bucket"),
        ("requests_total", "requests", "requests"),
        ("lag", "lag_other", None),
        ("bucket", "", None),
    ],
)
def test_a_series_is_described_by_its_family(series, family, wanted):
    names, _ = keys_to_columns([series.encode()])
    columns = metadata_columns(names, {family: Metadata(MetricType.GAUGE, "seconds", "")})
    assert columns["family"].to_pylist() == [wanted]
    assert metadata_of(pa.table(columns)) == (
        {wanted: Metadata(MetricType.GAUGE, "seconds", "")} if wanted else {}
    )


def test_help_that_is_no_unicode_does_no_harm():
    names, _ = keys_to_columns([b"lag"])
    columns = metadata_columns(names, {"lag": Metadata(MetricType.GAUGE, "", "bad \ud800 half")})
    assert columns["help"].to_pylist() == ["bad ? half"]


def test_the_fingerprint_tells_series_order_and_metadata_apart():
    def of(keys, metadata):
        return fingerprint(keys, metadata_columns(keys_to_columns(keys)[0], metadata))

    gauge, counter = Metadata(MetricType.GAUGE), Metadata(MetricType.COUNTER)
    different = [
        ([b"a", b"b"], {}),
        ([b"b", b"a"], {}),
        ([b"a", b"b"], {"a": gauge}),
        ([b"a", b"b"], {"b": gauge}),
        ([b"a", b"b"], {"a": counter}),
    ]
    assert len({of(*case) for case in different}) == len(different)
    assert of([b"a", b"b"], {"a": gauge, "other": gauge}) == of([b"a", b"b"], {"a": gauge})


def test_many_keys_are_taken_part_by_part_with_the_same_result(monkeypatch):
    keys = [encode_labels({"__name__": f"m{n}", **({"job": "a"} if n % 2 else {})}) for n in range(7)]
    described = metadata_columns(keys_to_columns(keys)[0], {"m3": Metadata(MetricType.GAUGE)})
    whole = (*keys_to_columns(keys), fingerprint(keys, described))
    monkeypatch.setattr("metricsmith.store.catalogue.PART_KEYS", 3)
    names, labels, hashed = (*keys_to_columns(keys), fingerprint(keys, described))
    assert (names.equals(whole[0]), labels.equals(whole[1]), hashed) == (True, True, whole[2])
