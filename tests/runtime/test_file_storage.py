"""An agent whose storage is files: the example of the seed's document, and kills at any moment."""

from __future__ import annotations

import gzip
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from metricsmith.testing.programs import AgentProgram, eventually

Make = Callable[..., AgentProgram]
METRICS = 20
SEED = """server: {{listen: "127.0.0.1:{port}"}}
storage:
  type: "file"
  path: "{data}"
  format: "json"  # json, csv, parquet
  rotation: "daily"
  compression: true
"""
OTHER = """server: {{listen: "127.0.0.1:{port}"}}
storage: {{type: file, path: "{data}", format: parquet, rotation: hourly, max_file_size: 100KB}}
performance: {{flush_interval: 50ms}}
"""


def _written(folder: Path) -> Counter[tuple[str, int]]:
    """Return how often each pushed sample stands in the files, by name and time."""
    found: Counter[tuple[str, int]] = Counter()
    for path in folder.glob("metrics-*.json.gz"):
        for line in gzip.decompress(path.read_bytes()).decode().splitlines():
            each = json.loads(line)
            if each["name"].startswith("pushed_"):
                found[each["name"], int(each["value"])] += 1
    for path in folder.glob("metrics-*.parquet"):
        asked = f"SELECT name, value::BIGINT FROM '{path}' WHERE name LIKE 'pushed_%'"
        found.update(duckdb.sql(asked).fetchall())
    return found


class Pusher:
    """Pushes until the agent is gone; a sample's value is its number."""

    def __init__(self, agent: AgentProgram) -> None:
        self._agent, self._base_ms = agent, (int(time.time()) - 3600) * 1000
        self.sent = 0
        self.accepted: set[int] = set()

    def push(self) -> bool:
        number, self.sent = self.sent, self.sent + 1
        try:
            answer = self._agent.push({f"pushed_{i}": number for i in range(METRICS)}, self._base_ms + number)
        except OSError:
            return False
        assert answer.status in (201, 503), answer.text
        if answer.status == 201:
            self.accepted.add(number)
        return True

    def until_it_is_gone(self) -> None:
        while self.push():
            pass


LONG = [pytest.mark.soak, pytest.mark.timeout(3000)]


@pytest.mark.parametrize(
    ("config", "kills"),
    [
        pytest.param(SEED, 2, id="seed"),
        pytest.param(SEED, 100, id="seed-100", marks=LONG),
        pytest.param(OTHER, 100, id="parquet-100", marks=LONG),
    ],
)
def test_kill(agent_program: Make, config: str, kills: int) -> None:
    chance = random.Random(kills)
    agent = agent_program(base=config)
    pusher = Pusher(agent)
    for _ in range(kills):
        agent.start()
        pushing = threading.Thread(target=pusher.until_it_is_gone)
        pushing.start()
        enough = len(pusher.accepted) + chance.randint(1, 200)
        eventually(lambda: len(pusher.accepted) >= enough)  # noqa: B023 - it is asked in this round only
        agent.kill()
        pushing.join()
    agent.start()
    eventually(lambda: agent.get("/storage/status")["writing"]["behind_batches"] == 0)
    for name in ("pushed_0", f"pushed_{METRICS - 1}"):
        numbers = [int(value) for _, value in agent.samples(name)]
        assert numbers == sorted(set(numbers)), "a sample is there twice"
        assert pusher.accepted <= set(numbers), "an accepted sample is lost"
        assert max(numbers) < pusher.sent
    agent.stop()
    written = _written(agent.data)
    assert set(written.values()) <= {1}, "a sample is written twice"
    if config == SEED:
        wanted = {(f"pushed_{i}", number) for i in range(METRICS) for number in pusher.accepted}
        assert wanted <= written.keys()


def test_the_seeds_example(agent_program: Make, seed_002: str) -> None:
    """It stands in the document as here; it starts and answers PromQL, REST and status."""
    start = seed_002.index('  type: "file"')
    example = seed_002[start : seed_002.index("```", start)]
    expected = SEED[SEED.index('  type: "file"') :].replace("{data}", "/var/lib/plantd/metrics")
    assert example == expected
    agent = agent_program(base=SEED)
    agent.start()
    pusher = Pusher(agent)
    assert pusher.push()
    eventually(lambda: agent.get("/storage/status")["last_metric"] is not None)
    eventually(lambda: agent.samples("pushed_3") != [])
    status = agent.get("/storage/status")
    assert (status["type"], status["status"], status["retention"]) == ("file", "connected", "30d")
    assert status["database"] == str(agent.data)
    assert status["disk_usage_bytes"] > 0
    found = agent.get("/api/v1/metrics", metric="pushed_3", start=str(int(time.time()) - 7200))
    assert [each["metrics"] for each in found["metrics"]] == [{"pushed_3": 0.0}]
    agent.stop()
