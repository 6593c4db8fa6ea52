"""The fast way from messages to samples gives what the plain one gives, message by message."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import WireError
from metricsmith.model.batch import Batch
from metricsmith.model.series import SeriesTable
from metricsmith.sources.bus.collection import CollectionSettings
from metricsmith.sources.bus.shapes import Gathering
from metricsmith.wire.messages import TimeRange, batch_of, parse_message

NOW = 1_700_000_000_000
TIMES = TimeRange(NOW - 10_000, NOW + 10_000, NOW)
ODD: list[Any] = [None, True, "x", [], {}, 5, 10**30]
NUMBERS: list[Any] = [0, 1.5, -0.0, 2**53 + 1, 2**64 - 1, "NaN", "-Inf"]


def field(good: list[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.sampled_from(good), st.sampled_from(good), st.sampled_from(good), st.sampled_from(ODD)
    )


MESSAGE = st.fixed_dictionaries(
    {
        "service": field(["system", "shop"]),
        "metrics": st.one_of(
            st.dictionaries(st.sampled_from(["queue_depth", "b", "c"]), field(NUMBERS), max_size=3),
            st.dictionaries(st.sampled_from(["queue_depth", "b", ""]), st.sampled_from(NUMBERS), min_size=1),
            st.sampled_from(ODD),
        ),
    },
    optional={
        "timestamp": field(["2023-11-14T22:13:20Z", "2023-11-14T22:13:21.5Z", "2023-11-14T00:00:00Z"]),
        "tags": st.one_of(
            st.dictionaries(st.sampled_from(["a", "b"]), field(["", "v"])), st.sampled_from(ODD)
        ),
        "more": st.just(1),
    },
)


def samples(batch: Batch, series: SeriesTable) -> list[tuple[bytes, int, str]]:
    columns = batch.layout.ids.tolist(), batch.times().tolist(), batch.value.tolist()
    return [(series.key(i), t, repr(v)) for i, t, v in zip(*columns, strict=True)]


@given(st.lists(MESSAGE, min_size=1, max_size=12), st.booleans())
def test_both_ways_take_the_same(messages: list[Any], application: bool) -> None:
    plain, fast = SeriesTable(), SeriesTable()
    collection = CollectionSettings(application_metrics=application)
    gathering, wanted = Gathering(fast, collection), []
    for message in messages * 2:  # the second time of a shape that is known
        body = json.dumps(message).encode()
        try:
            gathering.add(body, TIMES)
            refusal = ""
        except WireError as error:
            refusal = str(error)
        try:
            found = parse_message(body, TIMES)
        except WireError as error:
            assert refusal == str(error)
            continue
        assert not refusal
        service = found.labels[0][1].decode()
        wanted += [
            sample
            for sample in samples(batch_of([found], plain), plain)
            if collection.takes(service, sample[0].partition(b"\xff")[0].decode())
        ]
    batch = gathering.take()
    assert samples(batch, fast) == wanted
    names = {key.partition(b"\xff")[0] for key, _, _ in wanted}
    assert set(batch.layout.metadata) == {"queue_depth"} & {name.decode() for name in names}
    assert len(gathering.take()) == 0


def test_shapes_are_remembered_within_a_budget_of_bytes() -> None:
    budget, names = 1 << 20, ["x" * 150 + str(place) for place in range(60)]
    gathering = Gathering(SeriesTable(), CollectionSettings(), budget)
    for number in range(300):
        body = {"service": "shop", "metrics": {f"{name}_{number}": 1 for name in names}}
        gathering.add(json.dumps(body).encode(), TIMES)
        remembered = sum(len(text) for key in gathering._shapes for text in key[3])
        assert 0 < remembered <= budget
    assert len(gathering.take()) == 300 * 60


def test_what_is_not_collected_is_told() -> None:
    gathering = Gathering(SeriesTable(), CollectionSettings(custom_metrics=False))
    body = json.dumps({"service": "shop", "metrics": {"queue_depth": 1, "b": 2, "c": 3}}).encode()
    for _ in range(2):
        gathering.add(body, TIMES)
    assert len(gathering.take()) == 2
    assert [gathering.take_not_collected() for _ in range(2)] == [4, 0]
