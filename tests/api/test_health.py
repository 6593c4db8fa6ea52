"""Probes: the status code is for machines, what is wrong and its reason for people."""

from __future__ import annotations

from typing import Any

import pytest

from metricsmith.model.health import Check

FINE = Check("journal")
AWAY = Check("storage", False, "connection refused")
ENDED = Check("sink oci", False, "its task has ended", live=False)


@pytest.mark.parametrize(
    ("checks", "health", "ready", "reason"),
    [
        ([FINE], 200, 200, None),
        ([FINE, AWAY], 200, 503, "storage: connection refused"),
        ([FINE, ENDED], 503, 503, "sink oci: its task has ended"),
        ([AWAY, ENDED], 503, 503, "storage: connection refused; sink oci: its task has ended"),
    ],
)
async def test_what_mends_by_itself_is_no_reason_for_a_restart(
    make_api: Any, checks: list[Check], health: int, ready: int, reason: str | None
) -> None:
    async def found() -> list[Check]:
        return checks

    api = make_api(checks=found)
    for path, status in (("/health", health), ("/ready", ready)):
        answer = await api.get(path)
        assert answer.status == status
        assert answer.json["status"] == ("unhealthy" if reason else "healthy")
        assert answer.json["ready"] == (reason is None)
        assert answer.json.get("reason") == reason
        told = [(each["name"], each["ok"], each.get("reason", "")) for each in answer.json["checks"]]
        assert told == [(each.name, each.ok, each.reason) for each in checks]
    text = await api.get("/-/ready")
    assert text.status == ready and (reason or "is ready").encode() in text.body
    assert (await api.get("/-/healthy")).status == 200
