"""Any series becomes a stream that the service takes, or is refused with the reason."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.batch import Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.sinks.oci.calls import CallWriter
from metricsmith.sinks.oci.streams import NoStream, Streams, is_creation_time, stream_of
from metricsmith.testing.oci_rules import points_of, read_call

LONELY = {"instance": "here", "job": "metricsmith"}


@pytest.mark.parametrize(
    ("labels", "name", "dimensions"),
    [
        ({"__name__": "up", "job": "shop"}, "up", {"job": "shop"}),
        ({"__name__": "job:errors:rate5m", "a": "1"}, "job_errors_rate5m", {"a": "1"}),
        ({"__name__": "_private", "a": "1"}, "m_private", {"a": "1"}),
        ({"__name__": "5xx", "a": "1"}, "m_5xx", {"a": "1"}),
        ({"__name__": "größe", "a": "1"}, "gr__e", {"a": "1"}),
        ({"__name__": "http.server.duration", "a": "1"}, "http.server.duration", {"a": "1"}),
        ({"__name__": "up", "http.route": "/a", "größe": "x"}, "up", {"http_route": "/a", "gr__e": "x"}),
        ({"__name__": "up", "place": "Zürich Nord"}, "up", {"place": "Zürich Nord"}),
        ({"__name__": "up", "long": "x" * 600}, "up", {"long": "x" * 512}),
        ({"__name__": "up"}, "up", LONELY),
    ],
)
def test_names_and_dimensions(labels: dict[str, str], name: str, dimensions: dict[str, str]) -> None:
    assert stream_of(labels, LONELY) == (name, tuple(sorted(dimensions.items())))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({f"l{n}": "x" for n in range(21)}, "got 21 labels, wanted at most 20"),
        ({"a.b": "1", "a_b": "2"}, "two labels become one dimension key"),
        ({"__name__": ""}, "no metric name"),
        ({"k" * 257: "1"}, "label name of 257 characters"),
    ],
)
def test_what_cannot_be_mended_is_refused(labels: dict[str, str], said: str) -> None:
    with pytest.raises(NoStream, match=said):
        stream_of({"__name__": "up"} | labels, LONELY)


def test_of_two_series_that_become_one_stream_the_second_is_refused() -> None:
    table = SeriesTable()
    ids = table.intern_many([encode_labels({"__name__": n, "a": "1"}) for n in ("x:y", "x_y", "x_z")])
    streams = Streams(table, LONELY)
    plan = streams.plan(Layout(ids))
    assert plan.has_stream.tolist() == [True, False, True]
    assert "another series has the name x_y" in plan.refused[int(ids[1])]
    later = streams.plan(Layout(ids[::-1].copy()))
    assert later.has_stream.tolist() == [True, False, True], "it stays so, in whatever order they come"


@pytest.mark.parametrize(
    ("name", "families", "is_one"),
    [
        ("orders_created", {"orders_total": "counter"}, True),
        ("lat_created", {"lat": "histogram", "lat_created": "gauge"}, True),
        ("lat_created", {"lat": "summary"}, True),
        ("orders_created_total", {"orders_created_total": "counter"}, False),
        ("accounts_created", {"accounts_created": "gauge", "accounts": "gauge"}, False),
        ("accounts_created", {}, False),
    ],
)
def test_times_of_creation_are_known_by_the_family_beside_them(
    name: str, families: dict[str, str], is_one: bool
) -> None:
    metadata = {family: Metadata(MetricType(type_)) for family, type_ in families.items()}
    assert is_creation_time(name, metadata) is is_one


_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@given(st.dictionaries(_TEXT | st.sampled_from(["a.b", "a_b", "", "le"]), _TEXT, max_size=25), _TEXT)
def test_the_service_takes_whatever_is_sent(new_here: Any, labels: dict[str, str], name: str) -> None:
    here = new_here()
    layout = here.layout([{**labels, "__name__": name}])
    now_ms = time.time_ns() // 1_000_000
    writer = CallWriter(Streams(here.series, LONELY), "shop", "ocid1.compartment.oc1..a", None)
    calls = writer.write(here.delivery(here.batch(layout, now_ms, [1.5])), now_ms)
    series = int(layout.ids[0])
    if not calls.bodies:
        assert calls.refused[series]
        return
    (metric,) = read_call(calls.bodies[0])
    points = points_of(metric, now_ms)
    assert not isinstance(points, str), points
    (point,) = points
    assert (point.time_ms, point.value) == (now_ms, 1.5)
