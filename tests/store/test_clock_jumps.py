"""A clock that jumps back and forth for hours and years, at any moment, loses nothing that was accepted."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from metricsmith.testing.crash import victim

HOUR_MS = 3_600_000
JUMPS_MS = [hours * HOUR_MS for hours in (0, 0, -1, 1, -5, 7, -300, 300, -24 * 365, 24 * 365, 24 * 3650)]


async def jump_about(folder: Path, seed: int, steps: int) -> None:
    """Half an hour passes in each step; what the wall clock says of it is another thing."""
    chance = random.Random(seed)
    run = victim.Run(folder)
    wanted: victim.Samples = {}
    now_ms = victim.BEGIN_MS
    for number in range(steps):
        run.clock.advance(victim.STEP_MS / 2000)
        run.clock.set_wall(now_ms + chance.choice(JUMPS_MS))
        await run.accept(number)
        wanted |= victim.sent(number)
        run.upkeep()
        run.clock.set_wall(now_ms + chance.choice(JUMPS_MS))
        run.clock.advance(victim.STEP_MS / 2000)
        run.upkeep()
        now_ms += victim.STEP_MS
        if chance.random() < 0.1:
            await run.close()
            run = victim.Run(folder, now_ms)
            run.upkeep()
        kept = {at for at in wanted if at[1] >= now_ms - victim.RETENTION_MS}
        found = run.everything()
        assert kept <= found.keys(), f"step {number}: {len(kept - found.keys())} samples are gone"
        assert found.items() <= wanted.items()
    await run.close()
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("runs", "steps"), [(2, 30), pytest.param(40, 100, marks=[pytest.mark.soak, pytest.mark.timeout(3000)])]
)
def test_nothing_within_the_retention_is_lost(tmp_path: Path, runs: int, steps: int) -> None:
    for seed in range(runs):
        asyncio.run(jump_about(tmp_path / f"run{seed}", seed, steps))
