"""Files that people edit, replace, copy in and take away: a query finds what is in them now."""

from __future__ import annotations

import shutil
from typing import Any

NOON = 1_763_726_400_000
LINE = '{"time":"2025-11-20T00:00:0%d.000Z","name":"foo","labels":{},"value":%d}\n'


def _all(agent: Any, lab: Any) -> dict[bytes, dict[int, float | None]]:
    found: dict[bytes, dict[int, float | None]] = lab.as_dict(agent.store.select([], 0, 1 << 60))
    return found


def _values(agent: Any, lab: Any) -> list[float | None]:
    return sorted(value for row in _all(agent, lab).values() for value in row.values())


async def test_a_finished_file_that_somebody_edits(new_agent: Any, lab: Any, tmp_path: Any) -> None:
    agent = new_agent(tmp_path, {"format": "json"})
    file = tmp_path / "metrics-20251120-000001.json"
    file.write_text(LINE % (1, 1) + LINE % (2, 2))
    assert _values(agent, lab) == [1, 2]
    file.write_text(LINE % (0, 0) + LINE % (1, 5) + LINE % (2, 2))
    assert _values(agent, lab) == [0, 2, 5]
    file.write_text(LINE % (2, 7))
    assert _values(agent, lab) == [7]


async def test_a_file_that_is_asked_for_while_it_is_copied_in(
    new_agent: Any, lab: Any, tmp_path: Any
) -> None:
    agent = new_agent(tmp_path, {"format": "json"})
    file, whole = tmp_path / "metrics-20251120-000001.json", "".join(LINE % (i, i) for i in range(6))
    file.write_text("no sample\n" + whole[:100])
    assert _values(agent, lab) == [0]
    assert "line 1" in agent.store.status().detail
    file.write_text(whole)
    assert _values(agent, lab) == [0, 1, 2, 3, 4, 5]
    assert agent.store.status().detail == ""


async def test_a_parquet_file_that_another_takes_the_place_of(
    new_agent: Any, lab: Any, tmp_path: Any
) -> None:
    agents = [new_agent(tmp_path / name, {"format": "parquet", "retention": "3650d"}) for name in "ab"]
    for n, agent in enumerate(agents):
        agent.path.mkdir()
        await agent.send(*(((0,), i, (10.0 * n + i,)) for i in range(2 + n)))
        await agent.end_the_day()
        assert len(_values(agent, lab)) == 3 + n
    name = "metrics-20251121-000001.parquet"
    (agents[0].path / name).write_bytes(b"no parquet")
    assert _values(agents[0], lab) == [99]
    shutil.copy(agents[1].path / name, agents[0].path / name)
    assert _values(agents[0], lab) == [10, 11, 12, 99]
    assert agents[0].store.status().detail == ""


async def test_a_current_file_that_somebody_removes(agent: Any, lab: Any) -> None:
    await agent.send(((0,), 0, (1.0,)))
    assert _values(agent, lab) == [1]
    (file,) = agent.path.glob("*.current.*")
    file.unlink()
    await agent.send(((1, 2, 3), 5, (1.0, 2.0, 3.0)))
    assert _values(agent, lab) == [1, 2, 3]
    assert agent.store.status().detail == ""


async def test_what_is_left_of_a_current_file_that_somebody_cut(
    new_agent: Any, lab: Any, tmp_path: Any
) -> None:
    agent = new_agent(tmp_path, {"format": "json"})
    for i in range(4):
        await agent.send(((0,), i, (float(i),)))
    (file,) = agent.path.glob("*.current.*")
    file.write_bytes(b"".join(file.read_bytes().splitlines(True)[:2]))
    for _ in range(2):
        await agent.send(((0,), 9, (9.0,)))
        assert _values(agent, lab) == [0, 1, 9]
        await agent.sink.close()
        agent = agent.next_life()
