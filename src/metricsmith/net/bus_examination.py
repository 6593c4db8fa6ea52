"""Sockets of the bus before they are opened: keys, the address that is listened at, the other side."""

from __future__ import annotations

import os
from pathlib import Path

from metricsmith.model.findings import Findings
from metricsmith.net.bus_keys import read_keys
from metricsmith.net.bus_settings import SocketSettings
from metricsmith.net.listening import examine_listening
from metricsmith.net.reach import IS_IT_THERE, examine_port
from metricsmith.net.threads import in_thread

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TCP, _IPC = "tcp://", "ipc://"
_ANY = {"*": "0.0.0.0"}


async def examine_socket(settings: SocketSettings, findings: Findings) -> None:
    """Tell of keys and address; messages are neither sent nor received."""
    if settings.curve is not None:
        _examine_keys(settings.curve.secret_key_file, findings)
    if settings.endpoint.startswith(_IPC):
        _examine_path(settings, findings)
    elif settings.endpoint.startswith(_TCP):
        await _examine_tcp(settings, findings)


def _examine_keys(file: str, findings: Findings) -> None:
    try:
        read_keys(file)
    except (OSError, ValueError) as error:
        findings.problem("curve.secret_key_file", str(error), "our pair of keys")
    else:
        findings.ok("curve.secret_key_file", "a pair of keys")


async def _examine_tcp(settings: SocketSettings, findings: Findings) -> None:
    host, _, port = settings.endpoint.removeprefix(_TCP).rpartition(":")
    host, about = host.strip("[]"), settings.endpoint
    if not settings.bind:
        await examine_port(findings, about, host, int(port), IS_IT_THERE)
        return
    listened = "127.0.0.1" if host == "localhost" else _ANY.get(host, host)
    await in_thread("bus", lambda: examine_listening(findings, about, listened, int(port), "endpoint"))
    if settings.curve is None and listened not in _LOOPBACK:
        got = "it is reached from other machines, in clear and without authentication"
        findings.warning(about, got, "keys (`curve`)", "`metricsmith bus keys FILE` makes some")


def _examine_path(settings: SocketSettings, findings: Findings) -> None:
    path = Path(settings.endpoint.removeprefix(_IPC))
    if settings.bind:
        if path.parent.is_dir() and os.access(path.parent, os.W_OK):
            findings.ok(settings.endpoint, "its folder may be written to")
        else:
            got = f"{path.parent} is no folder that user {os.geteuid()} may write to"
            findings.problem(settings.endpoint, got, "a folder for the socket", "make it, or set endpoint")
    elif path.is_socket():
        findings.ok(settings.endpoint, "there is a socket")
    else:
        findings.warning(
            settings.endpoint, "nothing is there", "the socket of the side that binds", "is it running?"
        )
