"""Targets that are slow, dead or hostile cost nobody else a scrape, and the agent no memory."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack

from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.services import free_port
from metricsmith.testing.targets import Target, endless, gzip_bomb, running_target, silent, trickling

Make = Callable[..., AgentProgram]
BAD = {"silent": silent, "trickling": trickling, "endless": endless, "bomb": gzip_bomb}
WATCHED_MS = 3500


def test_bad_targets_do_not_disturb_a_good_one(agent_program: Make, target: Target) -> None:
    target.text = "a 1\n"
    with ExitStack() as stack:
        bad = {name: stack.enter_context(running_target("", behave)) for name, behave in BAD.items()}
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0)))  # connects and never accepts
        sources = [target.source("good", "100ms"), *(t.source(name, "1s") for name, t in bad.items())]
        sources.append(Target(free_port()).source("dead", "1s"))
        sources.append(Target(deaf.getsockname()[1]).source("deaf", "1s"))
        agent = agent_program(f"sources:\n{''.join(sources)}")
        agent.start()
        began = eventually(lambda: agent.samples("a"))[0][0]
        eventually(lambda: agent.samples("a")[-1][0] >= began + WATCHED_MS)
        for name in (*BAD, "dead", "deaf"):
            eventually(lambda n=name: agent.query(f'up{{job="{n}"}} == 0'))
            eventually(lambda n=name: failures(agent, n) >= 2)
        # One that is waited for would make the good one as rare as itself, however busy the machine is.
        tried = max(failures(agent, name) for name in BAD)
        assert len(agent.samples('up{job="good"}')) >= 4 * tried
        eventually(lambda: agent.query('up{job="good"} == 1'))
        assert agent.own("metricsmith_resident_memory_bytes") < 400 << 20
        assert agent.query("flood") == [], "nothing of a body that was cut off is kept"


def failures(agent: AgentProgram, source: str) -> float:
    """Those of all reasons: on a busy machine the first one may be another than the later ones."""
    lines = agent.ask("/metrics").text.splitlines()
    name, label = "metricsmith_scrape_failures_total{", f'source="{source}"'
    return sum(float(each.rpartition(" ")[2]) for each in lines if each.startswith(name) and label in each)
