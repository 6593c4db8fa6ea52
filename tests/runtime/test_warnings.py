"""`/status` warns of what somebody must mend, and says how; and stops when it is mended."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from metricsmith.rules.notify.line import DestinationStatus
from metricsmith.runtime import warnings
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.services import free_port

Make = Callable[..., AgentProgram]
ALERTS = """
rules: {{{{interval: 100ms}}}}
service: {{{{interval: 100ms}}}}
alerts:
  webhook_url: "http://127.0.0.1:{port}/HUSH"
  rules: [{{{{name: hot, metric: heat, threshold: 1, operator: ">"}}}}]
"""


def _destination(**changes: Any) -> DestinationStatus:
    told = {"name": "w", "kind": "webhook", "address": "http://hooks", "waiting": 0, "waiting_bytes": 0}
    told |= {"oldest_ms": None, "delivered_alerts": 0, "last_success_ms": None, "last_error": ""}
    return DestinationStatus(**{**told, **changes})


def test_destinations_that_are_told_are_no_warning() -> None:
    away = _destination(last_error="cannot connect:\n refused", waiting=3)
    assert list(warnings.of_destinations([_destination()])) == []
    (told,) = warnings.of_destinations([_destination(), away])
    assert told.startswith("alerts do not reach webhook http://hooks (cannot connect: refused; 3 wait ")


def test_a_webhook_that_nobody_answers_is_a_warning(agent_program: Make) -> None:
    port = free_port()
    agent = agent_program(ALERTS.format(port=port))
    agent.start()
    agent.push({"heat": 5.0})
    (told,) = eventually(lambda: [w for w in agent.get("/status")["warnings"] if "alerts do not reach" in w])
    assert f"http://127.0.0.1:{port} (" in told and "HUSH" not in told


def test_a_signal_to_reload_what_cannot_be_is_a_warning_until_one_succeeds(agent_program: Make) -> None:
    agent = agent_program()
    agent.start()
    good = agent.config_file.read_text()
    agent.config_file.write_text(good + "nonsense: 1\n")
    agent.send(signal.SIGHUP)
    (told,) = eventually(lambda: agent.get("/status")["warnings"])
    assert (
        told.startswith("the configuration was not reloaded, the old one is in use (") and "nonsense" in told
    )
    agent.config_file.write_text(good)
    agent.send(signal.SIGHUP)
    eventually(lambda: agent.get("/status")["warnings"] == [])
