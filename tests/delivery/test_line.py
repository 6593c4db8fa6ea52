"""Whatever a destination does, each sample is delivered, or counted with the reason why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metricsmith.contracts import Delivery, SinkTraits
from metricsmith.delivery.desk import Desk
from metricsmith.delivery.line import DEFECTS, SEARCHES
from metricsmith.delivery.quarantine import Quarantine
from metricsmith.delivery.status import Circuit
from metricsmith.errors import Rejected, RetryLater, TooLarge
from metricsmith.model.batch import Batch, Layout


def _series(bench: Any) -> list[int]:
    return [series for series, _, _ in bench.far.taken]


async def test_samples_arrive_in_order_and_the_cursor_follows(bench: Any) -> None:
    bench.line(batch_size=4)
    for start in range(0, 100, 5):
        await bench.put(range(start, start + 5))
    await bench.until(lambda: len(bench.far.taken) == 100)
    assert _series(bench) == list(range(100))
    assert max(len(each) for each in bench.far.sends) <= 4
    await bench.until(lambda: bench.lines[0].status().behind == 0)
    await bench.lines[0].stop()
    again = bench.line()
    await bench.put([500])
    await bench.until(lambda: len(bench.far.taken) > 100)
    assert _series(bench)[100:] == [500]
    assert again.status().delivered_samples == 1


async def test_batches_wait_for_each_other_but_no_longer_than_the_flush_interval(bench: Any) -> None:
    bench.line(batch_size=10, flush_s=30)
    began = bench.clock.monotonic()
    await bench.put([1, 2, 3])
    await bench.put([4, 5])
    await bench.until(lambda: bool(bench.far.sends))
    assert bench.clock.monotonic() - began >= 30
    assert [len(each) for each in bench.far.sends] == [5]
    await bench.put(range(10))
    await bench.until(lambda: len(bench.far.sends) == 2)
    assert len(bench.far.sends[1]) == 10


async def test_a_destination_that_is_away_gets_all_when_it_is_back(bench: Any) -> None:
    bench.far.answer = _raise(RetryLater("away", reason="connection"))
    line = bench.line(batch_size=10, workers=3)
    for _ in range(5):
        await bench.put(range(20))
    await bench.until(lambda: bench.retries("connection") >= 8)
    assert line.status().state == "retrying" and line.status().last_error == "away"
    assert line.status().behind == 5
    bench.far.answer = lambda delivery: None
    await bench.until(lambda: len(bench.far.taken) == 100)
    await bench.until(lambda: line.status().behind == 0)
    assert line.status().state == "ok" and line.status().last_error == ""
    for series in range(20):
        times = [time_ms for found, time_ms, _ in bench.far.taken if found == series]
        assert len(times) == 5 and times == sorted(times)


@pytest.mark.parametrize(("failures", "told"), [(7, 1), (1, 0)])
async def test_the_end_of_an_outage_is_logged_once(
    bench: Any, caplog: pytest.LogCaptureFixture, failures: int, told: int
) -> None:
    caplog.set_level("INFO")
    bench.far.answer = _raise(RetryLater("away", reason="connection"))
    line = bench.line(batch_size=10, workers=1)
    await bench.put(range(20))
    await bench.until(lambda: bench.retries("connection") >= failures)
    bench.far.answer = lambda delivery: None
    await bench.until(lambda: line.status().behind == 0)
    assert caplog.text.count("far: delivers again, after ") == told


async def test_the_circuit_is_open_while_what_failed_waits_and_half_open_while_tried(bench: Any) -> None:
    seen = []

    def away(_: Delivery) -> None:
        seen.append(bench.lines[-1].status().circuit)
        raise RetryLater("away")

    bench.far.answer = away
    line = bench.line()
    await bench.put([1])
    await bench.clock.sleeping()
    assert (line.status().circuit, line.status().retries) == (Circuit.OPEN, 1)
    await bench.until(lambda: len(seen) == 3)
    assert seen == [Circuit.CLOSED, Circuit.HALF_OPEN, Circuit.HALF_OPEN]
    bench.far.answer = lambda delivery: None
    await bench.until(lambda: line.status().behind == 0)
    assert line.status().circuit == Circuit.CLOSED


async def test_what_a_destination_asks_for_as_a_wait_is_kept(bench: Any) -> None:
    bench.far.answer = _raise(RetryLater("slow down", after_s=1234, reason="rate"))
    bench.line()
    await bench.put([1])
    await bench.until(lambda: bench.retries("rate") == 1)
    assert 1000 < bench.clock.next_wake_s() <= 1234


async def test_named_series_are_set_aside_and_the_others_delivered(bench: Any) -> None:
    bench.far.answer = _raise(Rejected("no such tag", [3, 5]))
    bench.line()
    await bench.put([2, 3, 4, 5])
    await bench.until(lambda: bench.dropped("quarantined") == 2)
    assert bench.lines[0].status().delivered_samples == 2
    assert len(bench.far.sends) == 1
    (file,) = (bench.folder / "quarantine").iterdir()
    kept = json.loads(file.read_text())
    assert (kept["sink"], kept["reason"]) == ("far", "no such tag")
    assert [sample["value"] for sample in kept["samples"]] == ["3.0", "5.0"]


async def test_a_refusal_without_names_costs_only_the_bad_samples(bench: Any) -> None:
    def refuse(delivery: Delivery) -> None:
        if any((batch.layout.ids == 13).any() for batch in delivery.batches):
            raise Rejected("bad value")

    bench.far.answer = refuse
    bench.line(batch_size=64)
    await bench.put(range(32))
    await bench.put(range(40, 50))
    await bench.until(lambda: len(bench.far.taken) == 41)
    assert sorted(_series(bench)) == [*range(13), *range(14, 32), *range(40, 50)]
    assert bench.dropped("quarantined") == 1


async def test_a_destination_that_refuses_everything_is_not_asked_for_ever(bench: Any) -> None:
    bench.far.answer = _raise(Rejected("go away"))
    bench.line(batch_size=5000)
    await bench.put(range(5000))
    await bench.until(lambda: bench.dropped("quarantined") == 5000)
    assert len(bench.far.sends) <= 2 * SEARCHES + 1


async def test_too_much_at_once_is_halved(bench: Any) -> None:
    def small(delivery: Delivery) -> None:
        if len(delivery) > 3:
            raise TooLarge("413")

    bench.far.answer = small
    bench.line(batch_size=100)
    await bench.put(range(50))
    await bench.until(lambda: len(bench.far.taken) == 50)
    assert _series(bench) == list(range(50))


async def test_what_is_sent_again_by_hand_is_halved_too(bench: Any) -> None:
    def small(delivery: Delivery) -> None:
        if len(delivery) > 3:
            raise TooLarge("413")

    bench.far.answer = small
    line = bench.line()
    layout = Layout(np.arange(50, dtype=np.uint32))
    await line.send_now(Delivery([0], [Batch(layout, 1, np.zeros(50))]))
    assert _series(bench) == list(range(50))


async def test_what_is_taken_when_it_is_sent_again_by_hand_is_not_sent_a_third_time(bench: Any) -> None:
    def not_two(delivery: Delivery) -> None:
        if 2 in delivery.batches[0].layout.ids:
            raise Rejected("no twos", [2])

    quarantine = Quarantine(bench.folder / "quarantine", bench.series, bench.clock)
    layout = Layout(np.array([1, 2, 3], dtype=np.uint32))
    quarantine.put("far", Delivery([0], [Batch(layout, 1, np.array([1.0, 2.0, 3.0]))]), "all wrong")
    desk = Desk({"far": bench.line()}, quarantine, bench.context)
    bench.far.answer = not_two
    with pytest.raises(Rejected, match="no twos"):
        await desk.send_again(desk.refusals()[0].id)
    (left,) = desk.refusals()
    assert (left.samples, left.metric, left.reason) == (1, "s2", "no twos")
    bench.far.answer = lambda delivery: None
    assert await desk.send_again(left.id) == 1
    assert _series(bench) == [2] and not desk.refusals()


async def test_a_defect_ends_in_the_quarantine_and_not_in_a_standstill(bench: Any) -> None:
    def fail(delivery: Delivery) -> None:
        if any((batch.layout.ids == 7).any() for batch in delivery.batches):
            raise ZeroDivisionError("oops")

    bench.far.answer = fail
    bench.line(batch_size=10)
    await bench.put(range(10))
    await bench.put([20])
    await bench.until(lambda: 20 in _series(bench))
    assert sorted(_series(bench)) == [*range(7), *range(8, 10), 20]
    assert bench.dropped("quarantined") == 1
    assert bench.retries("defect") >= DEFECTS - 1


async def test_what_is_too_old_for_a_destination_is_counted_and_not_sent(bench: Any) -> None:
    bench.far.traits = SinkTraits(max_age_ms=1_000_000)  # no machine is so busy
    bench.line()
    now_ms = bench.clock.now_ms()
    await bench.put([1], now_ms - 3_600_000)
    await bench.put([2], now_ms)
    await bench.until(lambda: _series(bench) == [2])
    assert bench.dropped("too_old") == 1


async def test_what_grows_too_old_while_a_destination_is_away_is_counted(bench: Any) -> None:
    bench.far.traits = SinkTraits(max_age_ms=20_000)
    bench.far.answer = _raise(RetryLater("away"))
    bench.line()
    await bench.put([1, 2])
    await bench.until(lambda: bench.dropped("too_old") == 2)
    bench.far.answer = lambda delivery: None
    await bench.put([3])
    await bench.until(lambda: _series(bench) == [3])


async def test_whole_batches_keep_their_numbers(bench: Any) -> None:
    bench.far.traits = SinkTraits(whole=True)
    bench.far.answer = _once(RetryLater("away"))
    bench.line(batch_size=2, workers=8)
    numbers = [await bench.put(range(5)) for _ in range(3)]
    await bench.until(lambda: len(bench.far.taken) == 15)
    assert [n for each in bench.far.sends[1:] for n in each.sequences] == numbers
    assert all(len(batch) == 5 for each in bench.far.sends for batch in each.batches)


async def test_a_stop_delivers_what_waits_and_the_next_start_what_could_not_be(bench: Any) -> None:
    bench.line(batch_size=100, flush_s=3600)
    await bench.put([1, 2])
    await bench.lines[0].stop()
    assert _series(bench) == [1, 2]
    bench.far.answer = _raise(RetryLater("away"))
    bench.line(batch_size=100, flush_s=3600)
    await bench.put([3])
    await bench.lines[1].stop()
    bench.far.answer = lambda delivery: None
    bench.line()
    await bench.until(lambda: _series(bench) == [1, 2, 3])


async def test_processors_of_a_sink_change_only_what_it_gets(bench: Any) -> None:
    class Even:
        def process(self, batch: Batch) -> Batch | None:
            index = np.flatnonzero(batch.layout.ids % 2 == 0)
            if not len(index):
                return None
            return batch.take(type(batch.layout)(batch.layout.ids[index], batch.layout.stream), index)

    bench.line(processors=[Even()])
    await bench.put([1, 2, 3, 4])
    await bench.put([5])
    await bench.put([6])
    await bench.until(lambda: _series(bench) == [2, 4, 6])
    await bench.until(lambda: bench.lines[0].status().behind == 0)


async def test_what_a_processor_gives_with_time_is_sent(bench: Any) -> None:
    class Late:
        def __init__(self) -> None:
            self.kept: list[Batch] = []

        def process(self, batch: Batch) -> Batch | None:
            self.kept.append(batch)
            return None

        def tick(self, now_ms: int) -> Batch | None:
            return self.kept.pop(0) if self.kept and self.kept[0].time_ms + 60_000 <= now_ms else None

    bench.line(processors=[Late()])
    await bench.put([1])
    bench.clock.advance(60)
    await bench.put([2])
    await bench.until(lambda: _series(bench) == [1])


async def test_a_line_that_ends_by_a_defect_says_so(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        Config = None

        def process(self, batch: Batch) -> Batch:
            return batch

        def tick(self, now_ms: int) -> Batch | None:
            raise ZeroDivisionError("by nothing")

    line = bench.line(processors=[Broken()])
    await bench.put([1])
    await bench.until(lambda: line.status().state == "stopped")
    assert line.status().last_error == "defect: ZeroDivisionError: by nothing"
    assert "far: nothing is delivered any more" in caplog.text
    assert (line.status().behind, bench.far.taken) == (1, [])


async def test_a_processor_that_fails_sets_aside_what_it_failed_on(bench: Any) -> None:
    class Fussy:
        def process(self, batch: Batch) -> Batch | None:
            if 7 in batch.layout.ids:
                raise KeyError("seven")
            return batch

    bench.line(processors=[Fussy()])
    await bench.put([1])
    await bench.put([7, 8])
    await bench.put([9])
    await bench.until(lambda: _series(bench) == [1, 9])
    assert bench.dropped("quarantined") == 2


def _raise(error: Exception) -> Callable[[Delivery], None]:
    def answer(delivery: Delivery) -> None:
        raise error

    return answer


def _once(error: Exception) -> Callable[[Delivery], None]:
    left = [error]

    def answer(delivery: Delivery) -> None:
        if left:
            raise left.pop()

    return answer


async def test_what_a_sink_remarks_is_shown_where_it_delivers_in_vain(bench: Any) -> None:
    bench.far.remark = lambda: "nobody listens"
    line = bench.line()
    await bench.put([1])
    await bench.until(lambda: line.status().delivered_samples == 1)
    assert (line.status().state, line.status().last_error) == ("ok", "nobody listens")
