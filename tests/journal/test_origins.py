"""How far another journal is in this one: told by the same commit as the batches, and never lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from metricsmith.errors import DiskFull, OutOfOrder
from metricsmith.journal import Journal
from metricsmith.model.batch import Batch
from metricsmith.model.origin import Origin, Position

EDGE, OTHER = b"e" * 16, b"o" * 16


def position(sequence: int, part: int = 1) -> Position:
    return Position(7, sequence, part, 1_700_000_000_000)


def batch(bench: Any, sequence: int, after: Position | None, producer: bytes = EDGE) -> Batch:
    found = Batch(bench.layout(range(5)), sequence, np.arange(5.0))
    return replace(found, origin=Origin(producer, after, position(sequence)))


async def put(bench: Any, journal: Journal, numbers: range, producer: bytes = EDGE) -> None:
    for number in numbers:
        await journal.append(batch(bench, number, journal.position(producer), producer))


async def test_positions_are_those_of_the_last_committed_batches(bench: Any) -> None:
    journal = bench.open()
    assert journal.position(EDGE) is None
    await put(bench, journal, range(3))
    await put(bench, journal, range(10, 12), OTHER)
    await journal.close()
    bench.restart()
    journal = bench.open()
    assert (journal.position(EDGE), journal.position(OTHER)) == (position(2), position(11))
    assert [b.origin for _, b in journal.replay(0)] == [None] * 5
    await journal.close()


async def test_positions_outlast_the_segments_that_they_were_written_to(bench: Any) -> None:
    journal = bench.open(segment_size=4096)
    await put(bench, journal, range(3))
    for _ in range(100):
        await journal.append(Batch(bench.layout(range(50), None), 0, np.random.default_rng(1).random(50)))
    journal.set_cursor("store", journal.next_sequence)
    assert journal.trim() > 2
    await journal.close()
    for _ in range(3):  # each start begins a segment of its own once it writes
        bench.restart()
        journal = bench.open(segment_size=4096)
        assert journal.position(EDGE) == position(2)
        await journal.append(Batch(bench.layout(range(5)), 0, np.zeros(5)))
        journal.set_cursor("store", journal.next_sequence)
        journal.trim()
        await journal.close()
    assert len(bench.segments()) == 1


async def test_a_torn_tail_takes_position_and_batch_or_neither(bench: Any) -> None:
    journal = bench.open()
    await put(bench, journal, range(4))
    await journal.close()
    (path,) = bench.segments()
    whole = path.read_bytes()
    for size in range(len(whole), 24, -7):
        path.write_bytes(whole[:size])
        bench.restart()
        journal = bench.open()
        have = journal.position(EDGE)
        assert (have.sequence + 1 if have else 0) == journal.next_sequence
        await journal.close()


async def test_a_batch_that_is_not_the_next_is_refused_alone(bench: Any) -> None:
    journal = bench.open()
    await put(bench, journal, range(2))
    stale = batch(bench, 1, position(0))
    fine = batch(bench, 5, None, OTHER)
    outcomes = await asyncio.gather(
        *(journal.append(b) for b in (fine, stale, batch(bench, 2, position(1)))), return_exceptions=True
    )
    assert [type(o) for o in outcomes] == [int, OutOfOrder, int]
    assert (journal.position(EDGE), journal.position(OTHER)) == (position(2), position(5))
    await journal.close()


async def test_what_follows_a_failed_commit_is_refused_too(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metricsmith.journal.journal._COMMIT_SAMPLES", 5)  # a commit each
    journal = bench.open()
    await put(bench, journal, range(1))
    commit, failures = journal._segments.commit, [DiskFull("full")]

    def failing(batches: Any) -> int:
        if failures:
            raise failures.pop()
        return commit(batches)

    monkeypatch.setattr(journal._segments, "commit", failing)
    first, second = batch(bench, 1, position(0)), batch(bench, 2, position(1))
    outcomes = await asyncio.gather(*map(journal.append, (first, second)), return_exceptions=True)
    assert [type(o) for o in outcomes] == [DiskFull, OutOfOrder]
    assert journal.position(EDGE) == position(0)
    await put(bench, journal, range(1, 3))
    assert journal.position(EDGE) == position(2)
    await journal.close()


async def test_the_producer_that_was_silent_longest_is_forgotten(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metricsmith.journal.origins.MAX_PRODUCERS", 2)
    journal = bench.open()
    for number, who in enumerate((EDGE, OTHER, b"n" * 16)):
        at = Position(7, 1, 1, number)
        await journal.append(replace(batch(bench, 1, None), origin=Origin(who, None, at)))
    assert [journal.position(who) is None for who in (EDGE, OTHER, b"n" * 16)] == [True, False, False]
    await journal.close()
