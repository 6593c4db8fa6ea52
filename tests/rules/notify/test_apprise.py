"""What people read in chats and mails."""

from __future__ import annotations

import asyncio
import threading

import pytest

from metricsmith.rules.notify.apprise_service import text_fields
from metricsmith.rules.notify.settings import NotifySettings


def test_a_message_says_what_where_and_since_when(alert) -> None:
    labels = '{host="b-01", severity="page"}'
    assert text_fields([alert("HighCpu", host="b-01", severity="page")]) == {
        "title": "[FIRING] HighCpu",
        "body": f"CPU usage is above 80%\nvalue 85.2, since 2023-11-14T22:13:20Z\n{labels}",
        "type": "failure",
    }


@pytest.mark.parametrize(
    ("severities", "kind"),
    [
        (["critical"], "failure"),
        (["Page"], "failure"),
        (["info", "critical"], "failure"),
        (["warning"], "warning"),
        (["info"], "info"),
        (["info", "warning"], "warning"),
        (["whatever"], "warning"),
        ([], "warning"),
    ],
)
def test_the_gravest_severity_decides_how_it_is_shown(alert, severities, kind) -> None:
    told = [alert(severity=severity) for severity in severities] or [alert()]
    assert text_fields(told)["type"] == kind


def test_many_alerts_are_counted_and_the_first_listed(alert) -> None:
    fields = text_fields([alert(f"A{n}", host=str(n)) for n in range(25)])
    assert fields["title"] == "[FIRING:25] A0, A1, A2 and 22 more"
    assert fields["body"].count("CPU usage") == 20 and fields["body"].endswith("… and 5 more")


def test_an_end_is_a_success(alert) -> None:
    fields = text_fields([alert(resolved=True, severity="critical")])
    assert fields["title"] == "[RESOLVED] HighCpu" and fields["type"] == "success"
    assert "value" not in fields["body"]


async def test_a_service_that_hangs_holds_one_thread(office, receiver, alert, clock) -> None:
    receiver.answers = ["slow"]
    url = receiver.url.replace("http://", "json://") + "?rto=20"
    given = NotifySettings.model_validate({"notify": [url], "timeout": "500ms"})
    async with office.running(office.notifier(given)) as notifier:
        office.tell(notifier, alert("A"))
        await receiver.requests(1)
        for _ in range(3):
            await clock.sleeping(2)
            assert notifier.status()[0].last_error == "no answer within 0.5s"
            assert sum(thread.name == "apprise" for thread in threading.enumerate()) == 1
            clock.advance(clock.next_wake_s())
            await asyncio.sleep(0)
        receiver.released.set()
        await office.all_told()
    assert len(receiver.got) > 1, "the answer came too late: it is told again"
