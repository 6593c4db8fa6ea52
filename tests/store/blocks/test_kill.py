"""A process that is killed at any moment has kept exactly what its cursor says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WRITE_FOREVER = """
import sys
from pathlib import Path
import numpy as np
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.blocks import BlockConfig, BlockStore
from metricsmith.store.pieces import RaggedPiece

table = SeriesTable()
config = BlockConfig(window_ms=1000, max_blocks_per_window=2, row_group_rows=50)
store = BlockStore(Path(sys.argv[1]), table, Telemetry(), config)
store.open()
ids = table.intern_many([b"s%d" % n for n in range(20)])
while True:
    i = store.cursor
    times = np.tile([i % 100, 100 + i], 20).astype(np.int64)
    store.write([RaggedPiece(ids, np.arange(21) * 2, times, np.full(40, float(i)))], {}, i + 1)
    store.compact()
    print(store.cursor, flush=True)
"""


def kill_a_writer(folder: Path, after: int) -> int:
    """Start a writer, kill it when it has reported so many writes; return the last one reported."""
    command = [sys.executable, "-c", WRITE_FOREVER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        reported = [int(writer.stdout.readline()) for _ in range(after)]
        writer.kill()
    return reported[-1]


def check(tools, folder: Path, rounds: int) -> None:
    for number in range(rounds):
        acknowledged = kill_a_writer(folder, 1 + (number * 7) % 13)
        one = tools.Opened(folder)
        cursor = one.store.cursor
        assert cursor >= acknowledged
        writes = [
            {b"s%d" % n: {i % 100: float(i), 100 + i: float(i)} for n in range(20)} for i in range(cursor)
        ]
        assert tools.same(one.contents(), tools.expected(*writes))
        one.store.close()


def test_kills_at_some_moments(tools, memory):
    check(tools, Path(memory) / "killed", 3)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_kills_at_many_moments(tools, memory):
    check(tools, Path(memory) / "killed often", 200)
