"""What is true of every destination: it is told, whatever it does first, and nobody sees its secrets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from metricsmith.rules.notify.settings import NotifySettings

SECRET = "t0ps3cret"
SHORT_MS, LONG_MS = 300, 60_000


@dataclass(frozen=True)
class Case:
    """A kind of destination: its settings for a receiver and a time, and the names of alerts in a body."""

    kind: str
    settings: Callable[..., NotifySettings]
    names: Callable[[Any], list[str]]
    every_time: bool = False


def settings(**given: Any) -> NotifySettings:
    return NotifySettings.model_validate(given)


def json_url(url: str, limit_ms: int) -> str:
    return url.replace("http://", f"json://user:{SECRET}@") + f"?rto={limit_ms / 1500:g}"


CASES = [
    Case(
        "alertmanager",
        lambda url, ms=LONG_MS: settings(alertmanagers=[{"url": url, "timeout": f"{ms}ms"}]),
        lambda body: [alert["labels"]["alertname"] for alert in body],
        every_time=True,
    ),
    Case(
        "webhook",
        lambda url, ms=LONG_MS: settings(webhook_url=f"{url}/{SECRET}", timeout=f"{ms}ms"),
        lambda body: [alert["name"] for alert in body["alerts"]],
    ),
    Case(
        "apprise",
        lambda url, ms=LONG_MS: settings(notify=[json_url(url, ms)], timeout=f"{ms}ms"),
        lambda body: [body["title"].rpartition(" ")[2]],
    ),
]


@pytest.fixture(params=CASES, ids=lambda case: case.kind)
def case(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_is_told_of_an_alert_that_fires(office, receiver, alert, case) -> None:
    async with office.running(office.notifier(case.settings(receiver.url))) as notifier:
        office.tell(notifier, alert("HighCpu"))
        (got,) = await receiver.requests(1)
        assert case.names(got.body) == ["HighCpu"]
    assert not office.waiting()


@pytest.mark.parametrize("trouble", ["500", "503", "429 7", "408", "reset", "garbage", "redirect", "slow"])
async def test_trouble_delays_and_loses_nothing(office, receiver, alert, case, trouble) -> None:
    receiver.answers = [trouble, trouble]
    given = case.settings(receiver.url, SHORT_MS if trouble == "slow" else LONG_MS)
    async with office.running(office.notifier(given)) as notifier:
        office.tell(notifier, alert("HighCpu"))
        await office.all_told()
        got = receiver.got
    assert len(got) >= 3
    assert [case.names(request.body) for request in got] == [["HighCpu"]] * len(got)
    assert len({request.headers.get("Idempotency-Key") for request in got}) == 1
    if case.kind != "apprise":  # whose services follow redirects
        assert len({request.path for request in got}) == 1
    assert not office.waiting()


async def test_waits_for_the_next_start(office, receiver, alert, case) -> None:
    office.tell(office.notifier(case.settings(receiver.url)), alert("HighCpu"))
    assert len(office.waiting()) == 1
    async with office.running(office.notifier(case.settings(receiver.url))):
        (got,) = await receiver.requests(1)
    assert case.names(got.body) == ["HighCpu"] and not office.waiting()


async def test_ends_are_told_if_wanted(office, receiver, alert, case, clock) -> None:
    for wanted in (False, True):
        given = case.settings(receiver.url).model_copy(update={"send_resolved": wanted})
        receiver.got.clear()
        async with office.running(office.notifier(given)) as notifier:
            name = f"Wanted{wanted}"
            office.tell(notifier, alert(name))
            await receiver.requests(1)
            clock.advance(1)
            office.tell(notifier, alert(name, resolved=True, starts_ms=clock.now_ms() - 1000))
            office.tell(notifier, alert("Marker", run=name))
            got = await receiver.until(lambda got: "Marker" in case.names(got[-1].body))
        told = [told for request in got for told in case.names(request.body)]
        assert told[0] == name and (name in told[1:]) == (wanted or case.every_time)


async def test_secrets_are_nowhere_to_be_seen(office, receiver, alert, case, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answers = ["500", "401"]
    given = case.settings(receiver.url)
    async with office.running(office.notifier(given)) as notifier:
        passing = asyncio.create_task(office.pass_time())
        office.tell(notifier, alert("HighCpu"))
        await receiver.requests(2)
        shown = f"{notifier.status()} {notifier.refused()} {given} {given!r} {given.model_dump_json()}"
        passing.cancel()
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("metricsmith")]
    assert ours, "trouble is logged"
    assert SECRET not in shown + "".join(ours) and SECRET not in str(office.state.items())
    assert not [record for record in caplog.records if record.name.startswith("apprise")]
