"""What is older than the retention is deleted, by a clock that does not jump."""

from __future__ import annotations

from typing import Any

import pytest

NOON = 1_763_726_400_000
HOUR, DAY = 3_600_000, 86_400_000


async def test_files_older_than_retention_are_deleted(folder: Any, numbered: Any) -> None:
    sink = folder.begin(rotation="daily", retention="36h")
    (folder.path).mkdir()
    (folder.path / "notes-20200101-000001.json").write_text("somebody else's")
    for n in range(5):
        await sink.send(numbered(n, folder.batch(NOON + n * DAY, [n])))
        folder.clock.advance(86_400)
    assert folder.names("*") == [
        "metrics-20251124-000001.json",
        "metrics-20251125-000001.current.json",
        "metrics.position",
        "notes-20200101-000001.json",
    ]
    assert folder.telemetry.value("metricsmith_sink_files_deleted_total", sink="out") == 3
    await sink.close()


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_clock_that_jumps_ahead_deletes_nothing(folder: Any, numbered: Any, restarted: bool) -> None:
    folder.settings = {"rotation": "daily", "retention": "48h"}
    sink = folder.begin()
    for n in range(2):
        await sink.send(numbered(n, folder.batch(NOON + n * DAY, [n])))
        folder.clock.advance(86_400)
    if restarted:
        await sink.close()
        sink = folder.begin()
    folder.clock.set_wall(NOON + 400 * DAY)
    for n in range(2, 6):
        folder.clock.advance(3600)
        await sink.send(numbered(n, folder.batch(NOON + 400 * DAY, [n])))
    assert "metrics-20251121-000001.json" in folder.names()
    folder.clock.set_wall(NOON + 2 * DAY + 4 * HOUR)
    folder.clock.advance(10 * 3600)
    await sink.send(numbered(6, folder.batch(NOON + 2 * DAY, [6])))
    # How long nothing ran only that clock tells, so after a start it is in doubt for a day.
    assert ("metrics-20251121-000001.json" in folder.names()) is restarted
    await sink.close()
