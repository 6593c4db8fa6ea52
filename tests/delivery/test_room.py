"""The journal reaches its size limit while a destination is away: what it does not get is counted, once."""

from __future__ import annotations

from typing import Any

import pytest

from metricsmith.contracts import SinkTraits
from metricsmith.errors import RetryLater

LIMIT = 32 << 10
WIDE = range(0, 10_000, 25)  # 400 samples a batch, about 1.5 KB


@pytest.fixture
async def small(bench: Any) -> Any:
    """A bench whose journal has room for about twenty batches."""
    await bench.journal.close()
    bench.journal = bench.open_journal(segment_size=4096, max_size=LIMIT)
    return bench


def _away(_: object) -> None:
    raise RetryLater("away", reason="connection")


async def _fill(bench: Any, count: int) -> None:
    for _ in range(count):
        bench.clock.advance(0.001)  # a time tells a batch
        await bench.put(WIDE)
        await bench.make_room()


def _times(bench: Any) -> list[int]:
    return [time_ms for series, time_ms, _ in bench.far.taken if series == 25]


@pytest.mark.parametrize("traits", [SinkTraits(), SinkTraits(whole=True, events=True)])
async def test_what_is_not_given_up_arrives_once_and_in_order(small: Any, traits: SinkTraits) -> None:
    small.far.traits, small.far.answer = traits, _away
    line = small.line(batch_size=1000, workers=2)
    await _fill(small, 100)
    assert small.journal.size_bytes() <= LIMIT
    expired = line.status().dropped_samples
    assert expired == small.dropped("expired") > 60 * len(WIDE)
    assert line.status().behind == 100 - expired // len(WIDE)
    small.far.answer = lambda delivery: None
    await small.until(lambda: line.status().behind == 0)
    times = _times(small)
    assert times == sorted(set(times)) and len(small.far.taken) == len(times) * len(WIDE)
    assert len(small.far.taken) + expired == 100 * len(WIDE)
    await _fill(small, 30)
    await small.until(lambda: line.status().behind == 0)
    assert len(_times(small)) == len(times) + 30 and small.dropped("expired") == expired


async def test_what_is_in_memory_at_a_stop_and_nowhere_else_is_counted(small: Any) -> None:
    small.far.answer = _away
    line = small.line(batch_size=1000)
    await _fill(small, 100)
    before = small.dropped("expired")
    await line.stop()
    assert small.dropped("expired") > before
    small.far.answer = lambda delivery: None
    again = small.line(batch_size=1000)
    await small.until(lambda: again.status().behind == 0)
    assert len(small.far.taken) + small.dropped("expired") == 100 * len(WIDE)


async def test_a_stop_between_leaves_the_rest_for_the_next_start(small: Any) -> None:
    small.far.answer = _away
    line = small.line(batch_size=1000)
    await _fill(small, 10)  # all of it still fits
    await line.stop()
    assert small.dropped("expired") == 0
    small.far.answer = lambda delivery: None
    again = small.line(batch_size=1000)
    await small.until(lambda: again.status().behind == 0)
    assert len(small.far.taken) == 10 * len(WIDE)


async def test_events_that_a_sink_does_not_take_are_no_loss(small: Any) -> None:
    for takes, expected in ((False, 0), (True, 3)):
        small.far.traits, small.far.answer = SinkTraits(events=takes), _away
        line = small.line()
        await small.put([1])
        await small.until(lambda line=line: line.status().state == "retrying")
        await small.put_events("a", "b", "c")
        await _fill(small, 60)
        assert line.status().dropped_events == expected
        await line.stop()
        small.journal.set_cursor("store", small.journal.next_sequence)
