"""What a destination refuses again and again fills no disk, and is tried again when that may help."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metricsmith.contracts import Delivery
from metricsmith.delivery.line import SEARCHES
from metricsmith.delivery.refused import LONGEST_REST_S, MOST_REASONS, PATIENCE
from metricsmith.errors import Rejected
from metricsmith.model.batch import Batch, Layout


async def _until(bench: Any, true: Callable[[], bool]) -> None:
    await bench.until(true, 0.01)


def _files(bench: Any) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((bench.folder / "quarantine").glob("*"))]


async def _put(bench: Any, series: Any, times: int = 1) -> None:
    """Append batches, each when the one before is over with."""
    for _ in range(times):
        await bench.put(series)
        await _until(bench, lambda: bench.lines[-1].status().behind == 0)


def _raise(error: Exception) -> Callable[[Delivery], None]:
    def answer(delivery: Delivery) -> None:
        raise error

    return answer


def _refuse(bad: int, named: bool = False) -> Callable[[Delivery], None]:
    def answer(delivery: Delivery) -> None:
        if any(bad in batch.layout.ids for batch in delivery.batches):
            raise Rejected("bad", [bad] if named else ())

    return answer


@pytest.mark.parametrize("named", [False, True])
async def test_a_series_that_is_always_refused_gives_a_few_files_and_is_counted(
    bench: Any, named: bool
) -> None:
    bench.far.answer = _refuse(3, named)
    bench.line()
    await _put(bench, [1, 2, 3, 4], 20)
    assert bench.dropped("quarantined") == len(_files(bench)) == PATIENCE
    assert bench.dropped("refused_before") == 20 - PATIENCE
    assert bench.lines[0].status().delivered_samples == 60
    assert bench.lines[0].status().dropped_samples == 20
    bench.clock.advance(LONGEST_REST_S)
    await _put(bench, [1, 2, 3, 4], 2)
    assert len(_files(bench)) == PATIENCE + 1


async def test_a_destination_that_refuses_everything_gives_a_file_a_delivery_and_then_none(
    bench: Any,
) -> None:
    bench.far.answer = _raise(Rejected("400"))
    bench.line(batch_size=5000)
    await _put(bench, range(5000), 10)  # many more than are looked for one by one
    assert [len(each["samples"]) for each in _files(bench)] == [5000] * PATIENCE
    assert bench.dropped("refused_before") == 5000 * (10 - PATIENCE)
    assert bench.lines[0].status().state == "refusing"
    assert bench.lines[0].status().last_success_ms is None


async def test_good_series_do_not_rest_when_the_search_for_bad_ones_is_given_up(bench: Any) -> None:
    def every_fourth(delivery: Delivery) -> None:
        if any((batch.layout.ids % 4 == 3).any() for batch in delivery.batches):
            raise Rejected("bad")

    bench.far.answer = every_fourth
    bench.line(batch_size=800)
    await _put(bench, range(800), 40)
    assert bench.dropped("refused_before") > 0
    last = bench.clock.now_ms()
    await _put(bench, range(800))
    assert len({s for s, time_ms, _ in bench.far.taken if time_ms >= last}) == 600
    assert all(series % 4 != 3 for series, _, _ in bench.far.taken)
    assert SEARCHES < 200  # it was given up, for there are as many bad ones


@pytest.mark.parametrize(("series", "rounds", "old"), [(40, 10, 9), (1000, 5, 3), (100, 50, 25)])
async def test_what_is_new_arrives_where_all_before_it_is_refused_as_known(
    bench: Any, series: int, rounds: int, old: int
) -> None:
    """So does a Prometheus with what is sent again: times before the last that it has are out of order."""
    first_new = bench.clock.now_ms() + old

    def in_order(delivery: Delivery) -> None:
        if any(batch.time_ms < first_new for batch in delivery.batches):
            raise Rejected("out of order")

    bench.far.answer = in_order
    await bench.line().stop()
    begin_ms = bench.clock.now_ms()
    for number in range(rounds):
        await bench.put(range(series), begin_ms + number)
    line = bench.line(batch_size=5000)
    await _until(bench, lambda: line.status().behind == 0)
    assert len(bench.far.taken) == series * (rounds - old)
    assert bench.dropped("quarantined") == series * old


async def test_what_is_refused_as_known_costs_nothing_that_comes_after_it(bench: Any) -> None:
    known = bench.clock.now_ms() + 60_000

    def in_order(delivery: Delivery) -> None:
        if any(batch.time_ms < known for batch in delivery.batches):
            raise Rejected("out of order", late=True)

    bench.far.answer = in_order
    bench.line()
    await _put(bench, range(30), 10)
    assert bench.dropped("quarantined") == 300
    bench.clock.advance(60)
    await _put(bench, range(30))
    assert len(bench.far.taken) == 30
    assert bench.dropped("refused_before") == 0


async def test_one_bad_sample_costs_no_other_of_its_series(bench: Any) -> None:
    def no_infinity(delivery: Delivery) -> None:
        if any(np.isinf(batch.value).any() for batch in delivery.batches):
            raise Rejected("not finite")

    bench.far.answer = no_infinity
    bench.line()
    for value in (1.0, np.inf, 2.0, np.inf, 3.0, np.inf, 4.0):
        layout = Layout(np.array([7], dtype=np.uint32))
        await bench.journal.append(Batch(layout, bench.clock.now_ms(), np.array([value])))
        await _until(bench, lambda: bench.lines[-1].status().behind == 0)
    assert [value for _, _, value in bench.far.taken] == [1, 2, 3, 4]
    assert bench.dropped("refused_before") == 0


async def test_reasons_that_differ_by_sample_do_not_make_a_file_each(bench: Any) -> None:
    def quotes(delivery: Delivery) -> None:
        raise Rejected(f"bad sample {delivery.batches[0].value[0]}")

    bench.far.answer = quotes
    bench.line()
    await _put(bench, range(30))
    files = _files(bench)
    assert len(files) == MOST_REASONS
    assert sum(len(each["samples"]) for each in files) == bench.dropped("quarantined") == 30
    assert files[-1]["reason"] == "bad sample 7.0 (and 22 other reasons)"


async def test_what_rests_is_sent_when_something_may_have_been_mended(bench: Any) -> None:
    bench.far.answer = _raise(Rejected("400"))
    line = bench.line()
    await _put(bench, [1, 2], 5)
    bench.far.answer = lambda delivery: None
    await _put(bench, [1, 2])
    assert not bench.far.taken and line.status().state == "refusing"
    line.forget_refused()
    await _put(bench, [1, 2])
    assert len(bench.far.taken) == 2 and line.status().state == "ok"


async def test_a_sink_whose_destination_takes_the_rest_is_ok(bench: Any) -> None:
    bench.far.answer = _refuse(3)
    line = bench.line()
    await _put(bench, [1, 3])
    assert line.status().state == "ok"
    await _put(bench, [3])
    assert line.status().state == "refusing"
    await _put(bench, [1])
    assert line.status().state == "ok"


async def test_what_is_too_old_is_counted_once_though_the_rest_is_refused(bench: Any) -> None:
    bench.far.traits = type(bench.far.traits)(max_age_ms=60_000)
    bench.far.answer = _refuse(2, named=True)
    bench.line()
    times = bench.clock.now_ms() + np.array([-3_600_000, 0, 0])
    await bench.journal.append(Batch(Layout(np.array([1, 2, 3], dtype=np.uint32)), times, np.ones(3)))
    await _until(bench, lambda: bench.lines[-1].status().behind == 0)
    assert (bench.dropped("too_old"), bench.dropped("quarantined")) == (1, 1)
    assert bench.lines[0].status().delivered_samples == 1
