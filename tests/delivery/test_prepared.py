"""What a sink makes of samples is made once, goes on over restarts, and is what is sent again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from metricsmith.errors import RetryLater
from metricsmith.model.batch import Batch, Layout


class Sums:
    """Gives the sum of all values so far, in the place of each."""

    def __init__(self) -> None:
        self.total = 0.0

    def process(self, batch: Batch) -> Batch | None:
        if 13 in batch.layout.ids:
            raise ValueError("thirteen")
        self.total += float(batch.value.sum())
        return Batch(batch.layout, batch.time_ms, np.full(len(batch), self.total))


class Late:
    """A processor that gives samples with time."""

    def process(self, batch: Batch) -> Batch | None:
        return batch

    def tick(self, now_ms: int) -> Batch | None:
        return None


def _values(bench: Any) -> list[float]:
    return [value for _, _, value in bench.far.taken]


async def test_it_is_done_after_processors_and_once(bench: Any) -> None:
    sums = Sums()
    bench.far.prepare = sums.process
    answers = iter([RetryLater("away"), RetryLater("away")])

    def answer(_delivery: Any) -> None:
        for error in answers:
            raise error

    class Doubles:
        def process(self, batch: Batch) -> Batch | None:
            return Batch(batch.layout, batch.time_ms, batch.value * 2)

    bench.far.answer = answer
    bench.line(processors=[Doubles()])
    await bench.put([1])
    await bench.put_events("passes by")
    await bench.put([2])
    await bench.until(lambda: len(bench.far.taken) == 2)
    assert _values(bench) == [2, 6]


@pytest.mark.parametrize(("first", "wanted"), [([], [1 + 2 + 3]), ([Late()], [3])])
async def test_what_came_before_is_remembered_up_to_one_that_gives_samples_with_time(
    bench: Any, first: list[Any], wanted: list[float]
) -> None:
    await bench.put([1])
    await bench.put([13, 1])  # it fails again, and sets nothing aside again
    await bench.put_events("an event")
    await bench.put([2])
    bench.line(processors=[*first, Sums()], before=lambda: [b for _, b in bench.journal.replay(0)][:4])
    await bench.put([3])
    await bench.until(lambda: bool(bench.far.taken))
    assert _values(bench) == wanted
    assert bench.dropped("quarantined") == 0


async def test_an_end_does_not_wait_until_all_that_came_before_was_seen(bench: Any) -> None:
    seen: list[Batch] = []
    layout = Layout(np.array([1], dtype=np.uint32))

    def before() -> Iterator[Batch]:
        for time_ms in range(20_000):
            time.sleep(0.001)
            seen.append(Batch(layout, time_ms, np.ones(1)))
            yield seen[-1]

    line = bench.line(processors=[Sums()], before=before)
    await bench.until(lambda: bool(seen))
    await bench.put([2])
    await line.stop()
    await asyncio.get_running_loop().shutdown_default_executor()  # as an agent does, last
    assert len(seen) < 20_000
    assert (
        not bench.far.taken and line.status().behind == 1
    )  # sent after the next start, with all that came before


async def test_what_was_left_out_before_is_not_counted_again_at_a_start(bench: Any) -> None:
    counter = "metricsmith_sink_unsent_samples_total"

    class LeavesOut:
        def process(self, batch: Batch) -> Batch | None:
            about = {"sink": "far", "reason": "skipped"}
            bench.telemetry.problem(logging.getLogger(__name__), counter, "left out", **about)
            bench.telemetry.count(counter, **about)
            return batch

    await bench.put([1])
    await bench.put([2])
    bench.line(processors=[LeavesOut()], before=lambda: [b for _, b in bench.journal.replay(0)][:2])
    await bench.put([3])
    await bench.until(lambda: _values(bench) == [3])
    assert bench.telemetry.value(counter, sink="far", reason="skipped") == 2
