"""What a store on another server tells of itself, as a finding."""

from __future__ import annotations

from typing import Protocol

from metricsmith.model.findings import Findings
from metricsmith.net.threads import in_thread
from metricsmith.store_contracts import StoreStatus


class Asked(Protocol):
    """What is asked of a store on another server."""

    def status(self) -> StoreStatus:
        """Return the state for people and pages."""
        ...

    def close(self) -> None:
        """Let go of the server."""
        ...


async def examine_store(store: Asked, findings: Findings) -> None:
    """Tell whether the server answers our questions; the store, which is for this alone, is closed."""
    try:
        status = await in_thread("store", store.status)
    finally:
        await in_thread("store", store.close)
    if status.status == "error":
        findings.problem(
            status.database, status.detail, "answers to queries", "check storage.url and its login"
        )
    elif status.detail:
        findings.warning(status.database, status.detail)
    else:
        findings.ok(status.database, "answers queries")
