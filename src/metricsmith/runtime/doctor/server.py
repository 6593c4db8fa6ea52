"""The agent's own HTTP server: its port, who may reach it, and how the agent is that listens there."""

from __future__ import annotations

import ipaddress

from metricsmith.config.settings import ServerSettings
from metricsmith.model.findings import Findings
from metricsmith.net.listening import examine_listening, holder_of
from metricsmith.runtime.doctor.agent import asked_ready

ABOUT = "server.listen"
READY_S = 4.0
"""Half of it at most is for an answer of the agent: another program may never give one."""


def examine_server(settings: ServerSettings, findings: Findings) -> None:
    """Tell of the port. Waits: call it in a thread."""
    host, port = settings.address()
    ready = asked_ready(*settings.local_address(), findings.within_s(READY_S) / 2) if port else None
    if ready is not None:
        _tell_agent(ready, port, findings)
    else:
        examine_listening(findings, ABOUT, host, port, ABOUT)
    if not _is_loopback(host):
        got = f"{settings.listen} is reached from other machines, without authentication"
        wanted = "loopback, or a proxy or firewall before it"
        findings.warning(ABOUT, got, wanted, "who reaches it may read, push, reload and empty quarantines")


def _tell_agent(ready: tuple[bool, str], port: int, findings: Findings) -> None:
    holder = holder_of(port)
    if findings.agent_pid is None or (holder is not None and holder != findings.agent_pid):
        got = f"another agent listens on port {port}: it is not the one that holds this data folder"
        findings.problem(ABOUT, got, "a free port", f"stop it, or set {ABOUT}")
        return
    is_ready, why = ready
    findings.ok(ABOUT, f"the agent that runs, process {findings.agent_pid}, listens on port {port}")
    if is_ready:
        findings.ok("/ready", "the agent is ready")
    else:
        findings.problem(
            "/ready", f"the agent is not ready: {why}", "ready", "see `metricsmith health --ready`"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
