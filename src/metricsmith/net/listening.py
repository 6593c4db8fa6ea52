"""Whether an address can be listened on: tried for a moment, and who has it where not."""

from __future__ import annotations

import errno
import os
import socket

import psutil

from metricsmith.model.findings import Findings

_FIRST_FREE_PORT = 1024


def holder_of(port: int) -> int | None:
    """Return the process that listens on a TCP port, None when none does or it is another user's."""
    try:
        found = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return None
    listening = (c for c in found if c.status == psutil.CONN_LISTEN)
    return next((c.pid for c in listening if getattr(c.laddr, "port", None) == port), None)


def named(pid: int | None) -> str:
    """Return a process for people."""
    if pid is None:
        return "a process that this user may not see"
    try:
        return f"process {pid} ({psutil.Process(pid).name()})"
    except psutil.Error:
        return f"process {pid}"


def examine_listening(findings: Findings, about: str, host: str, port: int, setting: str) -> None:
    """Tell whether we could listen there; the agent that runs with these settings may. For a thread."""
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    error = _tried(host, port)
    if error is None:
        findings.ok(about, f"{shown} is free")
        return
    if error.errno == errno.EADDRINUSE:
        holder = holder_of(port)
        if findings.agent_pid is not None and holder in (findings.agent_pid, None):
            surely = "" if holder else "surely "  # who holds ports is shown to their user and root only
            findings.ok(
                about, f"{shown} is {surely}used by the agent that runs, process {findings.agent_pid}"
            )
            return
        findings.problem(
            about, f"{shown} is used by {named(holder)}", "a free port", f"stop it, or set {setting}"
        )
    elif error.errno in (errno.EACCES, errno.EPERM):
        hint = (
            f"ports below {_FIRST_FREE_PORT} need root or CAP_NET_BIND_SERVICE"
            if 0 < port < _FIRST_FREE_PORT
            else f"set {setting}"
        )
        findings.problem(about, f"user {os.geteuid()} may not listen on {shown}", "a port that it may", hint)
    else:
        wanted = "an address of this machine"
        findings.problem(about, f"{shown}: {error.strerror or error}", wanted, f"check {setting}")


def _tried(host: str, port: int) -> OSError | None:
    """Bind for a moment, as servers of ours do; return why not."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        return error
    return None
