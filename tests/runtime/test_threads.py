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
    sources = "".join(
        f"- {{{{type: bus, name: in{n}, endpoint: 'tcp://127.0.0.1:{free_port()}'}}}}\n" for n in range(MANY)
    )
    sinks = "".join(
        f"- {{{{type: transfer, name: out{n}, endpoint: 'tcp://127.0.0.1:{free_port()}'}}}}\n"
        for n in range(8)
    )
    agent = agent_program(f"sources:\n{sources}sinks:\n{sinks}")
    agent.start()
    eventually(lambda: agent.ask("/-/ready").status == 200)
    for number in range(5):
        agent.push({"pushed": float(number)})
    eventually(lambda: agent.value("pushed") == 4)
    assert agent.stop() == 0
