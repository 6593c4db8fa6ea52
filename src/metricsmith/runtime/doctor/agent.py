"""The agent that runs with this configuration, if one does."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from metricsmith.config.load import Configuration
from metricsmith.store.datadir import holder
from metricsmith.store_contracts import StoreConfig

MAX_ANSWER_BYTES = 1 << 20


def data_folder(configuration: Configuration) -> Path:
    """Return the agent's data folder."""
    config = configuration.store.config
    assert isinstance(config, StoreConfig)
    return Path(config.path)


def agent_pid(configuration: Configuration) -> int | None:
    """Return the process that holds the data folder, None when none does or it cannot be seen."""
    try:
        held_by = holder(data_folder(configuration))
    except OSError:
        return None
    return int(held_by) if held_by is not None and held_by.isdigit() else None


def asked_ready(host: str, port: int, timeout_s: float) -> tuple[bool, str] | None:
    """Return what an agent answers to /ready: whether, and why not; None when it is no agent."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", "/ready")
        document = json.loads(connection.getresponse().read(MAX_ANSWER_BYTES))
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    if not isinstance(document, dict) or "checks" not in document:
        return None
    return bool(document.get("ready")), str(document.get("reason") or "")
