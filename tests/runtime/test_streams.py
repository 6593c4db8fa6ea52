"""Series end when nobody reports them any more, and a reload that goes on with them leaves no gap."""

from __future__ import annotations

import numpy as np

from metricsmith.model.batch import Batch, Layout
from metricsmith.runtime.streams import Streams, markers


def batch(*ids: int, stream: str | None = "s", time_ms: int = 7) -> Batch:
    layout = Layout(np.array(ids, dtype=np.uint32), stream)
    return Batch(layout, time_ms, np.zeros(len(ids)))


def left(streams: Streams) -> list[tuple[str, list[int]]]:
    return [(source, layout.ids.tolist()) for source, layout in streams.take_superseded()]


def test_a_successor_with_the_same_series_ends_nothing() -> None:
    streams = Streams()
    assert streams.accepted("a", batch(1, 2)) is None
    streams.supersede("a")
    assert streams.accepted("a", batch(1, 2)) is None
    assert left(streams) == []


def test_a_successor_ends_what_it_no_longer_reports_once() -> None:
    streams = Streams()
    streams.accepted("a", batch(1, 2, 3))
    streams.supersede("a")
    ended = streams.accepted("a", batch(2, 9, time_ms=11))
    assert ended is not None
    assert (ended.layout.ids.tolist(), ended.time_ms, ended.stales().all()) == ([1, 3], 11, True)
    assert streams.accepted("a", batch(2)) is None
    assert left(streams) == []


def test_what_nobody_takes_over_is_ended_later() -> None:
    streams = Streams()
    streams.accepted("a", batch(1, stream="gone"))
    streams.accepted("a", batch(2, stream="stays"))
    streams.accepted("b", batch(3))
    streams.supersede("a")
    streams.accepted("a", batch(2, stream="stays"))
    assert left(streams) == [("a", [1])]
    assert left(streams) == []


def test_other_processing_supersedes_every_source() -> None:
    streams = Streams()
    streams.accepted("a", batch(1))
    streams.accepted("b", batch(2))
    streams.supersede()
    assert sorted(left(streams)) == [("a", [1]), ("b", [2])]


def test_a_source_that_is_gone_ends_all_but_what_it_ended_itself() -> None:
    streams = Streams()
    streams.accepted("a", batch(1, stream="one"))
    streams.accepted("a", batch(2, stream="two"))
    streams.accepted("a", markers(Layout(np.array([2], dtype=np.uint32), "two"), 8))
    assert [(s, layout.ids.tolist()) for s, layout in streams.remove("a")] == [("a", [1])]
    assert streams.remove("a") == []


def test_batches_without_a_stream_are_nobodys() -> None:
    streams = Streams()
    assert streams.accepted("api", batch(1, stream=None)) is None
    assert streams.remove("api") == []
