"""A real Prometheus and an agent of ours with Prometheus 2's windows, holding the same series."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from metricsmith.testing import services
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.promql.duel import Client, Duel
from metricsmith.testing.promql.series import Dataset

# A small head: the older samples are in blocks when the queries come.
AGENT = """
server: {{listen: "127.0.0.1:{port}"}}
storage: {{path: "{data}", retention: 20y, head_bytes: 256KB}}
query: {{closed_windows: true}}
"""


@contextmanager
def duel(folder: Path, data: Dataset, lookback: str = "5m") -> Iterator[Duel]:
    """Run both servers until the block ends, with a data set in each.

    The lookback is a flag of theirs and a parameter of every query of ours.

    Raises:
        ServiceMissing: there is no Prometheus on this machine.
    """
    (folder / "agent").mkdir(parents=True)
    agent = AgentProgram(folder / "agent", AGENT)
    with services.prometheus(folder / "prometheus", "", f"--query.lookback-delta={lookback}") as prometheus:
        agent.start()
        try:
            parameters = {"lookback_delta": lookback}
            with closing(Client(prometheus.url)) as theirs, closing(Client(agent.url, parameters)) as ours:
                for body in data.write_requests():
                    eventually(partial(theirs.write, body))
                    eventually(partial(ours.write, body))
                yield Duel(theirs, ours)
        finally:
            agent.kill()
