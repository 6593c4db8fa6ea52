"""What people do to a sink of files: try it, send again what was refused, take its position away."""

from __future__ import annotations

from typing import Any

import pytest

from metricsmith.errors import RetryLater

NOON = 1_763_726_400_000


@pytest.mark.parametrize("before", [0, 2])
async def test_it_is_written_beside_the_journal(folder: Any, numbered: Any, before: int) -> None:
    sink = folder.begin()
    for n in range(before):
        await sink.send(numbered(n, folder.batch(NOON + n, [n])))
    said = await sink.send_aside(numbered(0, folder.batch(NOON + 50, [50]), folder.batch(NOON + 51, [51])))
    assert said.startswith(f"it is in {folder.path}, where ") and said.endswith("are free")
    wanted = [("a", NOON + n, float(n)) for n in [*range(before), 50, 51]]
    assert folder.found() == wanted
    await sink.close()
    sink = folder.begin()  # the agent was killed before it knew that those were delivered
    await sink.send(numbered(0, *(folder.batch(NOON + n, [n]) for n in range(3))))
    assert sorted(folder.found()) == sorted([*wanted, *(("a", NOON + n, float(n)) for n in range(before, 3))])
    await sink.close()


async def test_parquet_takes_it_before_anything_else(folder: Any, numbered: Any) -> None:
    sink = folder.begin(format="parquet")
    await sink.send_aside(numbered(0, folder.batch(NOON, [1])))
    folder.clock.advance(2 * 86_400)
    await sink.send(numbered(0, folder.batch(NOON + 1, [2])))
    assert folder.found() == [("a", NOON, 1.0), ("a", NOON + 1, 2.0)]
    await sink.close()


async def test_a_folder_that_cannot_be_made_is_told(folder: Any, numbered: Any) -> None:
    folder.path.write_text("no folder")
    sink = folder.begin()
    with pytest.raises(RetryLater, match="out: File exists"):
        await sink.send_aside(numbered(0, folder.batch(NOON, [1])))
    await sink.close()


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_position_that_somebody_takes_away_is_noted_again(
    folder: Any, numbered: Any, replaced: bool
) -> None:
    sink = folder.begin()
    await sink.send(numbered(0, folder.batch(NOON, [0])))
    position = folder.path / "metrics.position"
    old = position.read_bytes()
    await sink.send(numbered(1, folder.batch(NOON + 1, [1])))
    position.unlink()
    if replaced:  # as an editor or a backup does
        position.write_bytes(old)
    await sink.send(numbered(2, folder.batch(NOON + 2, [2])))
    await sink.close()
    sink = folder.begin()
    await sink.send(numbered(3, folder.batch(NOON + 3, [3])))
    assert [value for *_, value in folder.found()] == [0, 1, 2, 3]
    assert folder.repaired("no_position") == 0
    await sink.close()
