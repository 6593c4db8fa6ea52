"""What a store on another server tells of itself, as a finding."""

from __future__ import annotations

from metricsmith.model.findings import Findings
from metricsmith.store_contracts import StoreStatus


def examine_status(findings: Findings, status: StoreStatus) -> None:
    """Tell whether the server answers our questions."""
    if status.status == "error":
        findings.problem(
            status.database, status.detail, "answers to queries", "check storage.url and its login"
        )
    elif status.detail:
        findings.warning(status.database, status.detail)
    else:
        findings.ok(status.database, "answers queries")
