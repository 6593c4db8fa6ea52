"""A program that does all that the store and the journal do, and says on standard output what it promises.

`python -m metricsmith.testing.crash.victim FOLDER STEPS`, in simulated time: each step is half an hour, so
that some dozens of them flush, merge, compact, delete by request and by age, and trim the journal.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from metricsmith.contracts import Context
from metricsmith.journal import Journal, JournalConfig
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.selection import Selection
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.embedded import EmbeddedStore
from metricsmith.store.settings import EmbeddedConfig
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.crash.operations import SAID

BEGIN_MS = 1_700_006_400_000
"""A multiple of six hours: a window of that length begins."""
STEP_MS, HOUR_MS = 1_800_000, 3_600_000
RETENTION_MS = 240 * HOUR_MS
ROWS = 8
DELETED = 3
"""The row that is deleted by request, in all that was accepted before the middle of the run."""
Samples = dict[tuple[int, int], float]
"""Row and time to value."""


def sent(number: int) -> Samples:
    """Return the samples of a batch: now, long ago, or already there with another value."""
    now_ms = BEGIN_MS + number * STEP_MS
    at = {
        3: now_ms - RETENTION_MS + 5 * HOUR_MS + number,
        4: now_ms - 30 * HOUR_MS,
        5: now_ms - STEP_MS,
    }.get(number % 6, now_ms)
    return {(row, at): number + row / 16 for row in (*range(number % 3, ROWS), passing(number))}


def passing(number: int) -> int:
    """Return the row of a series that comes, and is gone after a few batches."""
    return 100 + number // 8


def accepted(numbers: set[int]) -> Samples:
    """Return what must be there when batches were accepted: later ones win."""
    return {at: value for number in sorted(numbers) for at, value in sent(number).items()}


def key(row: int) -> bytes:
    """Return the canonical key of a row."""
    return encode_labels({"__name__": "m", "row": str(row)})


@dataclass(slots=True)
class Run:
    """Store and journal of one folder."""

    folder: Path
    now_ms: int = BEGIN_MS
    clock: FakeClock = field(init=False)
    telemetry: Telemetry = field(init=False)
    table: SeriesTable = field(init=False)
    store: EmbeddedStore = field(init=False)
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self.clock = FakeClock(self.now_ms)
        self.telemetry, self.table = Telemetry(self.clock), SeriesTable()
        settings = {"path": str(self.folder), "retention": "10d", "head_age": "1h"}
        context = Context("store", self.table, self.telemetry, self.clock)
        self.store = EmbeddedStore(EmbeddedConfig.model_validate(settings), context)
        config = JournalConfig(segment_size=4096)
        self.journal = Journal(self.folder / "journal", self.table, self.telemetry, self.clock, config)
        self.journal.set_cursor("store", self.store.cursor())
        for sequence, batch in self.journal.replay(self.store.cursor()):
            self.store.apply(batch, sequence)

    def batch(self, number: int) -> Batch:
        """Return a batch by its number."""
        samples = sent(number)
        (at,) = {time_ms for _, time_ms in samples}
        layout = Layout(self.table.intern_many(key(row) for row, _ in samples), "target")
        return Batch(layout, at, np.array(list(samples.values())))

    async def accept(self, number: int) -> None:
        """Have a batch committed and readable."""
        batch = self.batch(number)
        self.store.apply(batch, await self.journal.append(batch))

    def upkeep(self) -> None:
        """Flush, merge and delete what is due, and wait for it."""
        for _ in range(2):
            self.store.tick(self.clock.now_ms())
            self.store._heads.wait_for_write(self.clock.now_ms())
            if (running := self.store._upkeep) is not None:
                running.exception()
                self.store.tick(self.clock.now_ms())
        self.journal.set_cursor("store", self.store.cursor())
        self.journal.trim()

    def delete(self) -> None:
        """Delete a row from all that was accepted by now."""
        while self.store.cursor() < self.store.applied:
            flush: Future[None] = self.store.begin_flush()
            flush.result()
        matchers = Matcher("row", MatchOp.EQ, str(DELETED))
        self.store.delete_series(((matchers,),), 0, 1 << 60)

    def everything(self) -> Samples:
        """Return all that can be read; nothing is there twice."""
        found: Samples = {}
        for name, times, values in _series_of(self.store.select([], 0, 1 << 60)):
            row = int(decode_labels(name)["row"])
            own = {(row, at): value for at, value in zip(times.tolist(), values.tolist(), strict=True)}
            assert len(own) == len(times) and own.keys().isdisjoint(found), f"{name!r} is there twice"
            found |= own
        return found

    async def close(self) -> None:
        """End without a flush."""
        await self.journal.close()
        self.store.close(flush=False)


def _series_of(found: Selection) -> Iterator[tuple[bytes, np.ndarray, np.ndarray]]:
    for group in found.matrices:
        for row, values in zip(group.rows.tolist(), group.values, strict=True):
            yield found.keys[row], group.times, values
    if (ragged := found.ragged) is not None:
        for n, row in enumerate(ragged.rows.tolist()):
            own = slice(int(ragged.offsets[n]), int(ragged.offsets[n + 1]))
            yield found.keys[row], ragged.times[own], ragged.values[own]


async def live(folder: Path, steps: int) -> None:
    """Accept, flush, compact and delete, saying what was promised."""
    run = Run(folder)
    for number in range(steps):
        await run.accept(number)
        _say(f"accepted {number}")
        run.clock.advance(STEP_MS / 1000)
        if number == steps // 2:
            _say(f"deleting {number}")
            run.delete()
            _say(f"deleted {number}")
        _say(f"now {run.clock.now_ms()}")
        run.upkeep()
    await run.close()


def _say(line: str) -> None:
    os.write(1, f"{SAID}{line}\n".encode())


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), int(sys.argv[2])))
