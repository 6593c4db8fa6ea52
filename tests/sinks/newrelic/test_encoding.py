"""Whatever series are called, New Relic takes them, or is not asked to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.batch import Layout
from metricsmith.model.events import Event
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.sinks.newrelic.attributes import RESERVED_IN_METRICS, attributes, common_attributes
from metricsmith.sinks.newrelic.encode import MetricEncoder
from metricsmith.sinks.newrelic.events import event_body
from metricsmith.sinks.newrelic.points import Converter
from metricsmith.testing.newrelic_limits import Point, read_events, read_metrics

NOW_MS = 1_763_740_800_000
TEXT = st.text(min_size=1, max_size=40)


@given(
    series=st.lists(st.tuples(TEXT, st.dictionaries(TEXT, TEXT, max_size=4)), min_size=1, max_size=8),
    type_=st.sampled_from([MetricType.COUNTER, MetricType.GAUGE, MetricType.HISTOGRAM]),
    one_time=st.booleans(),
    values=st.lists(st.floats(), min_size=8, max_size=8),
)
def test_what_is_sent_is_taken(
    new_here: Any, series: Any, type_: MetricType, one_time: bool, values: list[float]
) -> None:
    here = new_here()
    names = {name: None for name, _ in series}
    labels = [{**pairs, "__name__": name} for name, pairs in {n: (n, p) for n, p in series}.values()]
    ids = here.series.intern_many(map(encode_labels, labels))
    layout = Layout(ids, "s" if one_time else None, {name: Metadata(type_) for name in names})
    converter = Converter(here.context, 300_000, buckets=True)
    encoder = MetricEncoder(here.series, common_attributes({"zone": "a"}))
    size, taken = len(layout), []
    for step in range(3):
        times: Any = NOW_MS + step * 1000 if one_time else [NOW_MS + step * 1000 + i for i in range(size)]
        points = converter.points(here.batch(layout, times, [v * step for v in values[:size]]))
        if points is not None:
            body, refused = encoder.body([points])
            assert not refused
            taken += list(read_metrics(json.loads(body), NOW_MS))
            assert len(taken[-len(points) :]) == len(points)
    assert all(isinstance(point, Point) for point in taken), taken


def test_series_that_are_not_taken_are_named_and_the_others_sent(here: Any) -> None:
    many = {f"label{i}": "x" for i in range(100)}
    layout = here.layout([{"__name__": "good"}, {"__name__": "n" * 255}, {"__name__": "many", **many}])
    points = Converter(here.context, 1000, False).points(here.batch(layout, NOW_MS, [1, 2, 3]))
    encoder = MetricEncoder(here.series, common_attributes({}))
    body, refused = encoder.body([points])
    assert [metric["name"] for metric in json.loads(body)[0]["metrics"]] == ["good"]
    assert list(refused) == layout.ids.tolist()[1:]
    assert "255 characters" in refused[1] and "101 attributes" in refused[2]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"zone": "a"}, {"zone": "a"}),
        ({"my-zone": "a", "my_zone": "b"}, {"my_zone": "a", "my_zone_1": "b"}),
        ({"count": "1", "interval.ms": "2"}, {"attr.count": "1", "attr.interval.ms": "2"}),
        ({"x": "ü" * 3000}, {"x": "ü" * 2048}),
        ({"k" * 300: "a"}, {"k" * 255: "a"}),
        (
            {"k" * n: "a" for n in (300, 301, 302)},
            {"k" * 255: "a", "k" * 251 + "_1": "a", "k" * 251 + "_2": "a"},
        ),
        ({"nan": float("nan"), "one": 1.0, "yes": True}, {"one": 1.0, "yes": True}),
    ],
)
def test_attributes_are_made_to_fit(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert attributes(given.items(), RESERVED_IN_METRICS) == wanted


@given(
    st.text(max_size=5000),
    st.dictionaries(TEXT | st.sampled_from(["timestamp", "eventType"]), TEXT | st.floats() | st.booleans()),
)
def test_events_are_taken_with_their_attributes(summary: str, given: dict[str, Any]) -> None:
    event = Event(NOW_MS, summary, "notifications", given)
    body, left_out = event_body([event], "MetricsmithEvent", common_attributes({"env": "test"}))
    (found,) = read_events(json.loads(body), NOW_MS)
    assert isinstance(found, dict), found
    assert (found["eventType"], found["timestamp"], found["env"]) == ("MetricsmithEvent", NOW_MS, "test")
    assert summary.startswith(found["summary"]) and left_out == 0
    assert len(found) >= 6 + sum(not isinstance(v, float) for v in given.values()) - ("env" in given)


def test_an_event_of_too_many_attributes_loses_the_last_and_says_how_many() -> None:
    event = Event(NOW_MS, "s", "c", {f"a{i}": 1.0 for i in range(300)})
    body, left_out = event_body([event, event], "T", common_attributes({}))
    records = list(read_events(json.loads(body), NOW_MS))
    assert [len(record) for record in records if isinstance(record, dict)] == [254, 254]
    assert left_out == 2 * (300 + 5 - 254)
