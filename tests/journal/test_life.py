"""Long random lives: appends, failing disks, readers, trimming, restarts, in any order."""

from __future__ import annotations

import asyncio
import errno
import os
import random

import numpy as np
import pytest

from metricsmith.errors import JournalError
from metricsmith.model.batch import Batch


class Life:
    """A journal, and beside it what must be true of it."""

    def __init__(self, bench, seed: int) -> None:
        self.bench = bench
        self.random = random.Random(seed)
        self.accepted: dict[int, float] = {}
        self.cursors = {"a": 0, "b": 0}
        self.store = 0
        self.mark = 0.0
        self.failing = False
        self.open()

    def open(self) -> None:
        self.journal = self.bench.open(segment_size=4096)
        self.journal.set_cursor("store", self.store)
        self.readers = {name: self.journal.reader(name) for name in self.cursors}
        assert {n: r.cursor for n, r in self.readers.items()} == self.cursors
        self.read = dict(self.cursors)

    async def append(self) -> None:
        async def one() -> None:
            self.mark += 1
            mark = self.mark
            start = self.random.randrange(50)
            layout = self.bench.layout(range(start, start + 60), self.random.choice([None, "x", "y"]))
            value = np.full(60, mark)
            value[1:] = np.random.default_rng(int(mark)).random(59)
            try:
                sequence = await self.journal.append(Batch(layout, int(mark), value))
            except JournalError:
                assert self.failing
            else:
                assert sequence not in self.accepted
                self.accepted[sequence] = mark

        await asyncio.gather(*(one() for _ in range(self.random.randrange(1, 6))))

    async def consume(self) -> None:
        name = self.random.choice(list(self.readers))
        if self.read[name] < self.journal.next_sequence:
            for sequence, batch in await self.readers[name].read(self.random.randrange(1, 500)):
                assert sequence == self.read[name]
                assert batch.value[0] == self.accepted[sequence]
                self.read[name] = sequence + 1
            if self.random.random() < 0.7 and not self.failing:
                await self.readers[name].commit(self.read[name])
                self.cursors[name] = self.read[name]

    async def trim(self) -> None:
        self.store = self.random.randint(self.store, self.journal.next_sequence)
        self.journal.set_cursor("store", self.store)
        self.journal.trim()

    async def check(self) -> None:
        needed = min(self.store, *self.cursors.values())
        found = {s: float(b.value[0]) for s, b in self.journal.replay(needed)}
        assert found == {s: m for s, m in self.accepted.items() if s >= needed}
        assert self.journal.size_bytes() == sum(p.stat().st_size for p in self.bench.segments())

    async def restart(self) -> None:
        self.failing = False
        await self.journal.close()
        self.bench.restart()
        self.open()


@pytest.mark.parametrize("seed", range(6))
async def test_every_promise_is_kept(bench, monkeypatch, seed):
    life = Life(bench, seed)
    write, sync = os.write, os.fdatasync
    system = random.Random(seed)

    def failing_write(fd: int, data: memoryview) -> int:
        if life.failing and system.random() < 0.5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[: system.randrange(1, 3000)] if life.failing else data)

    def failing_sync(fd: int) -> None:
        if life.failing and system.random() < 0.3:
            raise OSError(errno.EIO, "Input/output error")
        sync(fd)

    monkeypatch.setattr(os, "write", failing_write)
    monkeypatch.setattr(os, "fdatasync", failing_sync)
    steps = [life.append] * 6 + [life.consume] * 4 + [life.trim, life.check, life.restart]
    for _ in range(100):
        life.failing = life.random.random() < 0.3
        await life.random.choice(steps)()
    life.failing = False
    await life.check()
    assert len(life.accepted) > 50
    await life.journal.close()
    assert all(bench.damaged(r) == 0 for r in ("header", "payload", "undecodable", "cut", "missing"))
