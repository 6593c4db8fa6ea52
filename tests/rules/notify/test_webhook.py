"""What webhooks are posted: exactly the documented fields, each alert once, together where it is said so."""

from __future__ import annotations

import pytest

from metricsmith.model.state import MemoryState
from metricsmith.rules.notify.settings import NotifySettings


def settings(**given) -> NotifySettings:
    return NotifySettings.model_validate(given)


async def posted(office, receiver, notifications, **given):
    """Return the bodies that a webhook is posted for one evaluation."""
    office.state = MemoryState()
    receiver.got.clear()
    notifier = office.notifier(settings(webhook_url=receiver.url, **given))
    office.tell(notifier, *notifications)
    count = len(office.waiting())
    async with office.running(notifier):
        return [got.body for got in await receiver.requests(count)]


async def test_the_payload_is_as_documented(office, receiver, alert, clock) -> None:
    clock.set_wall(1_704_110_400_000)
    told = alert(
        "high_cpu_usage",
        service="org.plantd.Broker",
        severity="warning",
        environment="production",
        host="broker-01",
        annotations={"message": "CPU usage is above 80% for 5 minutes"},
    )
    assert await posted(office, receiver, [told]) == [
        {
            "alerts": [
                {
                    "name": "high_cpu_usage",
                    "service": "org.plantd.Broker",
                    "severity": "warning",
                    "message": "CPU usage is above 80% for 5 minutes",
                    "value": 85.2,
                    "threshold": 80,
                    "timestamp": "2024-01-01T12:00:00Z",
                    "tags": {"environment": "production", "host": "broker-01"},
                }
            ]
        }
    ]
    assert receiver.got[0].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("given", "field", "wanted"),
    [
        ({"value": float("nan")}, "value", "NaN"),
        ({"value": float("inf")}, "value", "+Inf"),
        ({"threshold": float("-inf")}, "threshold", "-Inf"),
        ({"threshold": None}, "threshold", None),
        ({}, "severity", "warning"),
        ({}, "service", ""),
        ({"annotations": {"summary": "s", "description": "d"}}, "message", "s"),
        ({"annotations": {}}, "message", "cpu > 80"),
        ({"a": "1", "service": "x", "severity": "page"}, "tags", {"a": "1"}),
    ],
)
async def test_fields(office, receiver, alert, given, field, wanted) -> None:
    ((body),) = await posted(office, receiver, [alert(**given)])
    (fields,) = body["alerts"]
    assert fields[field] == wanted and "status" not in fields


async def test_one_that_ended_says_so_and_when(office, receiver, alert, clock) -> None:
    notifier = office.notifier(settings(webhook_url=receiver.url, send_resolved=True))
    began = clock.now_ms()
    async with office.running(notifier):
        office.tell(notifier, alert(host="a"))
        await receiver.requests(1)
        clock.advance(1.5)
        office.tell(notifier, alert(host="a", resolved=True, starts_ms=began))
        _, got = await receiver.requests(2)
        clock.advance(60)  # the rules tell of an end for a while
        assert not office.tell(notifier, alert(host="a", resolved=True, starts_ms=began))
        assert not office.tell(notifier, alert(host="never told of", resolved=True, starts_ms=began))
    (fields,) = got.body["alerts"]
    assert fields["status"] == "resolved" and fields["timestamp"] == "2023-11-14T22:13:21.500Z"


async def test_alerts_of_one_evaluation_come_together(office, receiver, alert) -> None:
    told = [alert("A", host="1"), alert("B", host="1"), alert("A", host="2")]

    def names(bodies):
        return [[f"{a['name']}{a['tags']['host']}" for a in body["alerts"]] for body in bodies]

    assert names(await posted(office, receiver, told)) == [["A1", "A2"], ["B1"]]
    assert names(await posted(office, receiver, told, group_by=[])) == [["A1", "B1", "A2"]]
    assert names(await posted(office, receiver, told, group_by=["alertname", "host"])) == [
        ["A1"],
        ["B1"],
        ["A2"],
    ]


async def test_a_rule_can_have_a_webhook_of_its_own(office, receiver, alert) -> None:
    notifier = office.notifier(settings(webhook_url=f"{receiver.url}/all"))
    async with office.running(notifier):
        office.tell(notifier, alert("Mine", webhook_url=f"{receiver.url}/mine"), alert("Common"))
        got = await receiver.requests(2)
    assert {request.path: request.body["alerts"][0]["name"] for request in got} == {
        "/mine": "Mine",
        "/all": "Common",
    }


async def test_what_a_rule_posts_outlasts_a_restart(office, receiver, alert) -> None:
    told = alert("Mine", webhook_url=f"{receiver.url}/mine")
    office.tell(office.notifier(settings()), told)
    after = office.notifier(settings())
    async with office.running(after):
        assert len(office.waiting()) == 1
        office.tell(after, told)  # rules tell again of what fires; that it was told is known
        (got,) = await receiver.requests(1)
        assert got.path == "/mine" and len(after.status()) == 1
    assert not office.waiting() and len(receiver.got) == 1


async def test_an_alert_is_posted_once_and_again_now_and_then(office_on_disk, receiver, alert, clock) -> None:
    given = settings(webhook_url=receiver.url, repeat_interval="1h")
    began, times = clock.now_ms(), []
    for _ in range(130):  # a restart before each evaluation: it makes no difference
        async with office_on_disk.running(office_on_disk.notifier(given)) as notifier:
            known = len(receiver.got)
            if office_on_disk.tell(notifier, alert(starts_ms=began, value=float(len(times)))):
                await receiver.requests(known + 1)
                times.append((clock.now_ms() - began) // 60_000)
        clock.advance(60)
    assert times == [0, 60, 120]
    office_on_disk.tell(notifier, alert(starts_ms=clock.now_ms()))
    assert len(office_on_disk.waiting()) == 1, "an alert that begins anew is news"


async def test_an_endless_answer_is_not_read(office, receiver, alert, clock) -> None:
    receiver.answers = ["endless 200", "endless 400"]
    notifier = office.notifier(settings(webhook_url=receiver.url))
    async with office.running(notifier):
        office.tell(notifier, alert("A"), alert("B"))
        await receiver.requests(2)
    (refused,) = notifier.refused()
    assert refused.reason.startswith("400 xxx") and len(refused.reason) < 400
    assert not office.waiting()


async def test_what_is_refused_for_good_can_be_looked_at(office, receiver, alert) -> None:
    receiver.answers = ["400", "200"]
    given = settings(webhook_url=receiver.url)
    async with office.running(office.notifier(given)) as notifier:
        office.tell(notifier, alert("Bad"), alert("Good"))
        await receiver.requests(2)
    assert not office.waiting() and office.dropped("webhook-0", "refused") == 1
    (refused,) = office.notifier(given).refused()
    assert refused.reason == "400 as told" and refused.payload["alerts"][0]["name"] == "Bad"
    (status,) = notifier.status()
    assert status.delivered_alerts == 1 and status.last_error == ""


async def test_a_clock_that_is_set_back_repeats_nothing(office, receiver, alert, clock) -> None:
    notifier = office.notifier(settings(webhook_url=receiver.url, repeat_interval="1h"))
    began = clock.now_ms()
    assert office.tell(notifier, alert(starts_ms=began))
    clock.set_wall(began - 60_000)
    assert not office.tell(notifier, alert(starts_ms=began))
    clock.set_wall(began - 86_400_000)  # it was a day ahead: do not be silent for a day
    assert office.tell(notifier, alert(starts_ms=began))


@pytest.mark.parametrize("whose", ["configuration", "rule"])
async def test_an_alertmanager_is_no_webhook(office, alert, whose) -> None:
    url = "http://alertmanager:9093/api/v1/alerts"
    notifier = office.notifier(settings(webhook_url=url if whose == "configuration" else None))
    told = alert(webhook_url=url if whose == "rule" else None)
    assert not office.tell(notifier, told) and not notifier.status()
    assert office.dropped("webhook", "not_a_webhook") == 1
