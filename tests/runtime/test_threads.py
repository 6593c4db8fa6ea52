"""What waits takes no thread from others: many receivers and sinks leave an agent quick."""

from __future__ import annotations

from collections.abc import Callable

from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.services import free_port

MANY = 40
"""More than the common executor has threads on any machine that runs tests."""


def test_many_receivers_and_sinks_that_wait_leave_the_agent_quick(
    agent_program: Callable[..., AgentProgram],
) -> None:
    ports = set[int]()
    while len(ports) < MANY + 8:  # each is left to chance: two may be the same
        ports.add(free_port())
    places = [f"tcp://127.0.0.1:{port}" for port in ports]
    sources = "".join(
        f"- {{{{type: bus, name: in{n}, endpoint: '{place}'}}}}\n" for n, place in enumerate(places[8:])
    )
    sinks = "".join(
        f"- {{{{type: transfer, name: out{n}, endpoint: '{place}'}}}}\n" for n, place in enumerate(places[:8])
    )
    agent = agent_program(f"sources:\n{sources}sinks:\n{sinks}")
    agent.start()
    eventually(lambda: agent.ask("/-/ready").status == 200)
    for number in range(5):
        agent.push({"pushed": float(number)})
    eventually(lambda: agent.value("pushed") == 4)
    assert agent.stop() == 0
