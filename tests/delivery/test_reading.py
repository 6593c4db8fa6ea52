"""What a sink is about to get is not lost when the sink is stopped at that moment."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from metricsmith.delivery.reading import Intake
from metricsmith.errors import JournalError
from metricsmith.model.batch import Batch, Layout
from metricsmith.testing.clock import FakeClock


def batch(number: int) -> Batch:
    return Batch(Layout(np.arange(1, dtype=np.uint32)), number, np.ones(1))


class Ready:
    """A reader that has the next batch at once, after some turns of the event loop."""

    def __init__(self, turns: int) -> None:
        self.cursor, self._turns, self._next = 0, turns, 0
        self.failure: JournalError | None = None

    async def read(self, max_samples: int = 1) -> list[tuple[int, Batch]]:
        for _ in range(self._turns):
            await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self._next += 1
        return [(self._next - 1, batch(self._next - 1))]

    async def commit(self, next_sequence: int) -> None:
        self.cursor = next_sequence

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("stopped_after", range(10))
async def test_what_a_cancelled_call_found_the_next_returns(turns: int, stopped_after: int) -> None:
    intake = Intake(Ready(turns), FakeClock())
    taking = asyncio.create_task(intake.take(1, 1, 0))
    for _ in range(stopped_after):
        await asyncio.sleep(0)
    taking.cancel()
    (first,) = await asyncio.gather(taking, return_exceptions=True)
    if isinstance(first, BaseException):
        first = await intake.take(1, 1, 0)
    second = await intake.take(1, 1, 0)
    assert [*first.sequences, *second.sequences] == [0, 1]


async def test_after_a_failure_it_is_read_again() -> None:
    reader = Ready(1)
    intake, reader.failure = Intake(reader, FakeClock()), JournalError("away")
    with pytest.raises(JournalError):
        await intake.take(1, 1, 0)
    reader.failure = None
    assert (await intake.take(1, 1, 0)).sequences == [0]
