"""Events go to sinks that take them, beside samples: each delivered, or counted with the reason why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from metricsmith.contracts import Delivery, SinkTraits
from metricsmith.delivery.pieces import Cutter, apart, newer, of_series
from metricsmith.errors import Rejected, RetryLater, TooLarge
from metricsmith.model.batch import event_batch
from metricsmith.model.events import Event


def _taken(bench: Any) -> list[str]:
    return [event.summary for event in bench.far.events]


def _dropped(bench: Any, reason: str) -> float:
    found = bench.telemetry.value("metricsmith_sink_dropped_events_total", sink="far", reason=reason)
    assert isinstance(found, float)
    return found


async def test_events_arrive_in_order_in_deliveries_of_their_own(bench: Any) -> None:
    bench.far.traits = SinkTraits(events=True)
    line = bench.line(batch_size=3, workers=2)
    await bench.put([1, 2])
    await bench.put_events("a", "b", "c", "d", "e")
    await bench.put([3])
    await bench.put_events("f")
    await bench.until(lambda: line.status().behind == 0)
    assert _taken(bench) == ["a", "b", "c", "d", "e", "f"]
    assert [series for series, _, _ in bench.far.taken] == [1, 2, 3]
    for sent in bench.far.sends:
        assert sent.events in (0, len(sent)) and len(sent) <= 3
    assert (line.status().delivered_samples, line.status().delivered_events) == (3, 6)
    assert bench.telemetry.value("metricsmith_sink_events_total", sink="far") == 6
    assert bench.telemetry.value("metricsmith_sink_samples_total", sink="far") == 3


async def test_a_sink_that_takes_none_gets_none_and_that_is_no_loss(bench: Any) -> None:
    line = bench.line()
    await bench.put_events("a")
    await bench.put([1])
    await bench.put_events("b")
    await bench.until(lambda: line.status().behind == 0)
    assert _taken(bench) == [] and len(bench.far.sends) == 1
    assert line.status().dropped_events == 0


async def test_events_alone_wait_for_each_other_and_are_bounded(bench: Any) -> None:
    bench.far.traits = SinkTraits(events=True)
    for start in range(0, 50, 10):
        await bench.put_events(*(f"{n:02}" for n in range(start, start + 10)))
    line = bench.line(batch_size=20, flush_s=3600)
    await bench.put_events(*(f"{n:02}" for n in range(50, 110)))
    await bench.until(lambda: len(_taken(bench)) == 60)
    assert [len(sent) for sent in bench.far.sends] == [20, 20, 20]
    assert _taken(bench) == [f"{n:02}" for n in range(50, 110)], "a new sink begins with what comes"
    await bench.until(lambda: line.status().behind == 0)


async def test_one_bad_event_costs_only_itself_and_is_kept_for_people(bench: Any) -> None:
    def refuse(delivery: Delivery) -> None:
        if any(event.summary == "bad" for batch in delivery.batches for event in batch.events):
            raise Rejected("no such type")

    bench.far.traits, bench.far.answer = SinkTraits(events=True), refuse
    line = bench.line()
    await bench.put_events("a", "b", "bad", "c", attributes={"n": 1.5, "ok": True})
    await bench.until(lambda: line.status().behind == 0)
    assert _taken(bench) == ["a", "b", "c"]
    assert _dropped(bench, "quarantined") == 1 and line.status().dropped_events == 1
    assert bench.dropped("quarantined") == 0
    (file,) = (bench.folder / "quarantine").iterdir()
    (kept,) = json.loads(file.read_text())["events"]
    assert (kept["summary"], kept["attributes"]) == ("bad", {"n": 1.5, "ok": True})


async def test_too_many_events_at_once_are_halved_and_old_ones_counted(bench: Any) -> None:
    def small(delivery: Delivery) -> None:
        if len(delivery) > 2:
            raise TooLarge("413")

    bench.far.traits, bench.far.answer = SinkTraits(events=True, max_age_ms=1_000_000), small
    line = bench.line()
    await bench.put_events("old", time_ms=bench.clock.now_ms() - 2_000_000)
    await bench.put_events(*"abcdefg")
    await bench.until(lambda: line.status().behind == 0)
    assert _taken(bench) == list("abcdefg")
    assert _dropped(bench, "too_old") == 1


async def test_events_of_a_destination_that_was_away_are_all_there(bench: Any) -> None:
    bench.far.traits = SinkTraits(events=True)
    bench.far.answer = _raise(RetryLater("away"))
    bench.line()
    await bench.put_events("a", "b")
    await bench.until(lambda: bench.retries("unavailable") >= 3)
    await bench.lines[0].stop()
    bench.far.answer = lambda delivery: None
    bench.line()
    await bench.until(lambda: _taken(bench) == ["a", "b"])


@given(
    st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), min_size=1, max_size=5), st.integers(1, 7)
)
def test_pieces_hold_each_event_once_in_order(times: list[list[int]], most: int) -> None:
    batches = [
        event_batch([Event(t, f"{b}.{i}", "c") for i, t in enumerate(of)], 0) for b, of in enumerate(times)
    ]
    whole = Delivery(list(range(len(batches))), batches)

    def named(delivery: Delivery) -> list[str]:
        return [event.summary for batch in delivery.batches for event in batch.events]

    pieces = list(Cutter().sized(whole, most))
    assert all(0 < len(piece) <= most for piece in pieces)
    assert [name for piece in pieces for name in named(piece)] == named(whole)
    if len(whole) > 1:
        found = Cutter().halves(whole)
        assert found is not None
        first, second = found
        assert len(first) and len(second) and named(first) + named(second) == named(whole)
    young = [e.summary for batch in batches for e in batch.events if e.time_ms >= 50]
    assert named(newer(whole, 50)) == young
    assert len(of_series(whole, [1], among=True)) == 0
    assert named(of_series(whole, [1], among=False)) == named(whole)
    samples, events = apart(whole)
    assert not samples.batches and named(events) == named(whole)


def _raise(error: Exception) -> Callable[[Delivery], None]:
    def answer(delivery: Delivery) -> None:
        raise error

    return answer
