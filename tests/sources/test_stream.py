"""The batches of one stream, whatever comes and goes and whether or not they are accepted."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.sources.stream import SeriesStream

ROUNDS = st.lists(
    st.tuples(st.lists(st.sampled_from("abcdef"), unique=True), st.booleans()), min_size=1, max_size=12
)


def made() -> tuple[SeriesTable, SeriesStream[str]]:
    table = SeriesTable()
    return table, SeriesStream[str]("s", table, {}, str.encode)


@given(ROUNDS)
def test_a_series_has_a_marker_until_one_is_accepted(rounds: list[tuple[list[str], bool]]) -> None:
    table, stream = made()
    alive: set[str] = set()
    for time_ms, (names, accepted) in enumerate(rounds):
        batch = stream.batch(list(names), [float(ord(n)) for n in names], time_ms)
        given_names = [table.key(i).decode() for i in batch.layout.ids.tolist()]
        stale = batch.stales().tolist()
        assert [n for n, s in zip(given_names, stale, strict=True) if not s] == names
        assert {n for n, s in zip(given_names, stale, strict=True) if s} == alive - set(names)
        assert batch.value[: len(names)].tolist() == [float(ord(n)) for n in names]
        assert np.isnan(batch.value[len(names) :]).all() and batch.time_ms == time_ms
        if accepted:
            stream.accepted()
            alive = set(names)


def test_the_layout_and_its_metadata_stay_while_the_series_do() -> None:
    _, stream = made()
    gauge = {"a": Metadata(MetricType.GAUGE)}
    first = stream.batch(["a", "b"], [1, 2], 0, gauge)
    stream.accepted()
    assert stream.batch(["a", "b"], [3, 4], 1, {"a": Metadata()}).layout is first.layout
    assert stream.batch(["b", "a"], [3, 4], 2).layout.metadata == gauge
