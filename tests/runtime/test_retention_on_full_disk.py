"""On a disk without a free byte old blocks are deleted all the same, and that is what makes room again."""

from __future__ import annotations

from typing import Any

import pytest

from metricsmith.errors import DiskFull
from metricsmith.testing.crash.victim import BEGIN_MS, RETENTION_MS, Run, sent


def deleted(run: Run) -> float:
    return run.telemetry.value("metricsmith_store_blocks_deleted_total", reason="retention")


async def test_retention_makes_room(tmp_path: Any, small_disk: Any) -> None:
    disk = small_disk(tmp_path / "disk", "2m")
    run = Run(tmp_path / "disk" / "data")
    accepted = {}
    for number in range(24):
        await run.accept(number)
        accepted |= sent(number)
        run.clock.advance(1800)
        run.upkeep()
    blocks = run.store.status().blocks
    disk.fill()
    with pytest.raises(DiskFull, match="No space left"):
        for number in range(24, 300):
            await run.accept(number)
            accepted |= sent(number)
    run.upkeep()
    young = {at: value for at, value in accepted.items() if at[1] >= run.clock.now_ms() - RETENTION_MS}
    assert run.everything() == young, "queries go on"
    before = deleted(run)
    run.clock.advance(RETENTION_MS / 1000)
    run.upkeep()
    assert deleted(run) > before
    assert (run.store.status().blocks or 0) < (blocks or 0)
    await run.accept(900)
    assert all(at >= BEGIN_MS for _, at in run.everything())
    await run.close()
    again = Run(tmp_path / "disk" / "data", run.clock.now_ms())
    assert sent(900).items() <= again.everything().items()
    assert again.telemetry.value("metricsmith_store_blocks_set_aside_total", reason="damaged") == 0
    await again.close()
