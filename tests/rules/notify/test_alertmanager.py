"""Beside a real Alertmanager: it has the alerts as they are here, and is told again when it was away."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import aiohttp
import pytest

from metricsmith.model.clock import SystemClock
from metricsmith.model.state import MemoryState
from metricsmith.model.telemetry import Telemetry
from metricsmith.rules.notify.settings import NotifySettings


@pytest.fixture
def clock() -> SystemClock:
    """The Alertmanager has the machine's clock, so that we have it too."""
    return SystemClock()


@pytest.fixture
def office(office, clock):
    office.state, office.clock, office.telemetry = MemoryState(), clock, Telemetry(clock)
    return office


def settings(url: str) -> NotifySettings:
    return NotifySettings.model_validate({"alertmanagers": [{"url": url}]})


async def alerts(url: str, count: int, **params: str) -> list[Any]:
    """Return what an Alertmanager has, when it has so many."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:  # nobody is told when an alert has come in
            async with session.get(f"{url}/api/v2/alerts", params=params) as answer:
                found = await answer.json()
            if len(found) == count:
                return sorted(found, key=lambda alert: alert["labels"]["alertname"])
            await asyncio.sleep(0.02)


async def test_it_has_alerts_as_they_are_here(office, alert, alertmanager, clock) -> None:
    options = {"external_labels": {"dc": "a", "host": "not this"}, "external_url": "http://me.example:9480/"}
    notifier = office.notifier(settings(alertmanager.url), **options)
    began = clock.now_ms() // 1000 * 1000 - 90_000
    told = alert("HighCpu", host="b-01", severity="page", empty="", starts_ms=began)
    async with office.running(notifier):
        office.tell(notifier, told)
        (found,) = await alerts(alertmanager.url, 1)
        assert found["labels"] == {"alertname": "HighCpu", "host": "b-01", "severity": "page", "dc": "a"}
        assert found["annotations"] == {"message": "CPU usage is above 80%"}
        assert _ms(found["startsAt"]) == began and _ms(found["endsAt"]) == told.ends_at_ms
        assert found["generatorURL"] == "http://me.example:9480/graph?g0.expr=cpu%20%3E%2080&g0.tab=1"
        assert found["status"]["state"] == "active"
        office.tell(notifier, alert("HighCpu", resolved=True, host="b-01", severity="page", starts_ms=began))
        assert await alerts(alertmanager.url, 0) == []
    assert notifier.status()[0].delivered_alerts == 2 and not office.waiting()


async def test_one_bad_alert_of_many_is_found(office, alert, alertmanager) -> None:
    notifier = office.notifier(settings(alertmanager.url))
    many = [alert(f"A{n:03}", **({"no name": "x"} if n == 77 else {})) for n in range(150)]
    async with office.running(notifier):
        office.tell(notifier, *many)
        found = await alerts(alertmanager.url, 149)
        assert "A077" not in {a["labels"]["alertname"] for a in found}
    (refused,) = notifier.refused()
    assert refused.payload["labels"]["alertname"] == "A077" and "no name" in refused.reason


async def test_it_is_told_when_it_comes_back(office, alert, start_alertmanager) -> None:
    with start_alertmanager() as server:
        url = server.url
    notifier = office.notifier(settings(url))
    async with office.running(notifier):
        office.tell(notifier, alert("While it was away"))
    assert office.waiting(), "it waits over our restart, and over its own"
    with start_alertmanager() as server:
        async with office.running(office.notifier(settings(url))):
            (found,) = await alerts(server.url, 1)
    assert found["labels"]["alertname"] == "While it was away" and not office.waiting()


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
