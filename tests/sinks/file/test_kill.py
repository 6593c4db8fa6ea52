"""A writer that is killed at any moment loses nothing of what it acknowledged, and writes nothing twice."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

NOON = 1_763_726_400_000
SERIES = 40

VICTIM = f"""
import asyncio, os, random, sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from metricsmith.contracts import Context, Delivery
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.runtime.state import StateFile
from metricsmith.sinks.file.sink import FileSink
from metricsmith.testing.clock import FakeClock

folder, form, compression, life = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "True", int(sys.argv[4])
table, clock, chance = SeriesTable(), FakeClock({NOON}), random.Random(life)
ids = table.intern_many(b"m%d\\xffjob\\xfeshop" % i for i in range({SERIES}))
layout = Layout(ids, "shop")

def batch(n):
    # Sequence n is the same in each life. Some have times of their own, over two hours.
    if n % 7:
        return Batch(layout, {NOON} + n * 10_000, np.full({SERIES}, float(n)))
    times = {NOON} + n * 10_000 - np.arange({SERIES}) * 200_003
    return Batch(Layout(ids), times, np.full({SERIES}, float(n)))

async def main():
    state = StateFile(folder / "state.sqlite")
    journal = SimpleNamespace(life=life, begun_at=1 << 60)
    context = Context("out", table, Telemetry(clock), clock, state.of("out"), journal)
    settings = dict(path=str(folder / "out"), format=form, compression=compression, rotation="hourly",
                    max_file_size=20_000)
    sink = FileSink(FileSink.Config(**settings), context)
    cursor = folder / "cursor"
    n = int(cursor.read_text()) if cursor.exists() else 0
    end = int(sys.argv[5])
    while n < end:
        count = min(chance.randint(1, 4), end - n)
        await sink.send(Delivery(range(n, n + count), [batch(i) for i in range(n, n + count)]))
        n += count
        clock.advance(10 * count)
        os.write(1, b"%d\\n" % n)
        if chance.random() < 0.2:  # the engine's cursor follows, now and then
            cursor.with_suffix(".new").write_text(str(n))
            cursor.with_suffix(".new").rename(cursor)
    if end < 10**9:  # the last life: hours pass, all files are finished
        clock.advance(10**6)
        await sink.send(Delivery([end], [batch(end + 10**6)]))
        await sink.close()
asyncio.run(main())
"""


def _live(folder: Path, form: str, compression: bool, life: int, end: int, acknowledged: int) -> int:
    """Run until `acknowledged` batches are, and kill; return how many were in the end."""
    arguments = [str(folder), form, str(compression), str(life), str(end)]
    victim = subprocess.Popen([sys.executable, "-c", VICTIM, *arguments], stdout=subprocess.PIPE)
    assert victim.stdout is not None
    last = 0
    for line in victim.stdout:
        last = int(line)
        if last >= acknowledged:
            break
    if end == 10**9:
        victim.kill()
    rest = victim.stdout.read().split(b"\n")[:-1]
    victim.stdout.close()
    status = victim.wait()
    assert status == (-9 if end == 10**9 else 0)
    return max([last, *map(int, rest)])


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(3000)])])
@pytest.mark.parametrize(("form", "compression"), [("json", False), ("csv", True), ("parquet", True)])
def test_kill(tmp_path: Path, new_folder: Any, form: str, compression: bool, kills: int) -> None:
    chance, done = random.Random(kills), 0
    for life in range(kills):
        # At once, too: in the middle of putting in order what the life before left.
        done = max(done, _live(tmp_path, form, compression, life, 10**9, done + chance.randint(0, 60)))
    end = done + 10
    _live(tmp_path, form, compression, kills, end, end)
    folder = new_folder(tmp_path / "out")
    for late in folder.path.glob("*.current.*"):
        late.unlink()  # the sample that made the hours pass
    counted = Counter((int(name[1:]), value) for name, _, value in folder.found())
    assert counted == {(series, float(n)): 1 for series in range(SERIES) for n in range(end)}
    times = {(name, value): time for name, time, value in folder.found()}
    assert all(
        time == NOON + value * 10_000 - (0 if value % 7 else int(name[1:]) * 200_003)
        for (name, value), time in times.items()
    )
    assert folder.names("*.tmp") == []
