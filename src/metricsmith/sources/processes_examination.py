"""The processes source before it runs: its socket can be made, or its port listened on."""

from __future__ import annotations

from pathlib import Path

from metricsmith.model.findings import Findings
from metricsmith.model.folder_examination import examine_folder
from metricsmith.net.listening import examine_listening
from metricsmith.net.threads import in_thread
from metricsmith.sdk.processes import default_address
from metricsmith.sources.processes import ProcessesConfig

_TCP = "tcp://"


async def examine(config: ProcessesConfig, findings: Findings) -> None:
    """Tell of the folder or the port."""
    address = config.address or default_address()
    await in_thread("processes", lambda: _examine(address, findings))


def _examine(address: str, findings: Findings) -> None:
    if address.startswith(_TCP):
        host, _, port = address.removeprefix(_TCP).rpartition(":")
        host = "127.0.0.1" if host == "localhost" else host.strip("[]")
        examine_listening(findings, address, host, int(port), "address")
        return
    path = Path(address)
    examine_folder(findings, path.parent, "address")
    if path.exists() and not path.is_socket():
        findings.problem(
            address, "it is no socket", "no file, or a socket of this user", "remove it, or set address"
        )
