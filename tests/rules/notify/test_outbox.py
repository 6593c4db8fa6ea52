"""The outbox: at least once whatever happens, in order, bounded, and of use."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import DiskFull
from metricsmith.model.state import MemoryState
from metricsmith.rules.notify import waiting as waiting_module
from metricsmith.rules.notify.entries import Entry
from metricsmith.rules.notify.settings import NotifySettings
from metricsmith.rules.notify.waiting import Waiting
from metricsmith.runtime.state import StateFile


def settings(**given_) -> NotifySettings:
    return NotifySettings.model_validate(given_)


async def test_a_kill_between_commit_and_send_loses_nothing(tmp_path, office, receiver, alert) -> None:
    given_ = settings(webhook_url=receiver.url, alertmanagers=[{"url": receiver.url}])
    file = StateFile(tmp_path / "before" / "state.sqlite")
    office.state = file.of("rules")
    office.state.commit(office.notifier(given_).prepare([alert("A"), alert("B")]))
    # What a kill leaves now: nothing is released, and the file is not closed.
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    file.close()
    after = StateFile(tmp_path / "after" / "state.sqlite")
    office.state = after.of("rules")
    async with office.running(office.notifier(given_)):
        got = await receiver.requests(3)
    assert sorted(request.path for request in got) == ["/", "/", "/api/v2/alerts"]
    assert not office.waiting()
    after.close()


async def test_a_kill_between_send_and_forget_sends_the_same_again(office, receiver, alert) -> None:
    given_ = settings(webhook_url=receiver.url)
    kept = office.notifier(given_).prepare([alert("A")])
    for _ in range(2):
        office.state.commit(kept)
        async with office.running(office.notifier(given_)):
            await receiver.requests(1)
    first, second = receiver.got
    assert first.key == second.key and first.body == second.body


async def test_news_of_an_alert_take_the_place_of_older_ones(office, receiver, alert, clock) -> None:
    given_ = settings(alertmanagers=[{"url": receiver.url}])
    notifier = office.notifier(given_)
    began = clock.now_ms()
    office.tell(notifier, alert("A"), alert("B"))
    clock.advance(1)
    office.tell(notifier, alert("A", resolved=True, starts_ms=began))
    async with office.running(office.notifier(given_)), office.running(notifier):
        got = await receiver.requests(2)
    for request in got:  # of the one that goes on, and of the one after a restart
        ends = {a["labels"]["alertname"]: a["endsAt"] for a in request.body}
        assert ends["A"] == "2023-11-14T22:13:21Z" and len(request.body) == 2
    assert office.dropped("alertmanager-0", "replaced") == 2 and not office.waiting()


async def test_a_firing_alert_is_not_told_when_it_would_look_ended(office, receiver, alert, clock) -> None:
    given_ = settings(alertmanagers=[{"url": receiver.url}])
    office.tell(office.notifier(given_), alert("Old"))
    clock.advance(300)
    async with office.running(office.notifier(given_)) as notifier:
        office.tell(notifier, alert("New"))
        (got,) = await receiver.requests(1)
    assert [a["labels"]["alertname"] for a in got.body] == ["New"]
    assert office.dropped("alertmanager-0", "stale") == 1 and not office.waiting()


async def test_events_of_an_alert_stay_in_order(office, receiver, alert, clock) -> None:
    notifier = office.notifier(settings(webhook_url=receiver.url, send_resolved=True))
    receiver.answers = ["500"]
    async with office.running(notifier):
        began = clock.now_ms()
        office.tell(notifier, alert("A"))
        await clock.sleeping(2)
        office.tell(notifier, alert("A", resolved=True, starts_ms=began))
        clock.advance(2)
        office.tell(notifier, alert("A"))
        got = await receiver.requests(4)
    assert ["status" in request.body["alerts"][0] for request in got[1:]] == [False, True, False]


async def test_a_server_says_when_to_come_again(office, receiver, alert, clock) -> None:
    receiver.answers = ["429 77"]
    async with office.running(office.notifier(settings(webhook_url=receiver.url))) as notifier:
        office.tell(notifier, alert())
        await clock.sleeping(2)
        assert clock.next_wake_s() == 77
        assert notifier.status()[0].last_error == "got HTTP status 429"


@pytest.mark.parametrize("header", ["0", "-5", "Mon, 01 Jan 1990 00:00:00 GMT", "\tsoon", "9" * 400])
async def test_a_server_cannot_have_us_come_without_a_pause(office, receiver, alert, clock, header) -> None:
    receiver.answers = [f"503 {header.replace(' ', '_')}", f"503 {header.replace(' ', '_')}"]
    async with office.running(office.notifier(settings(webhook_url=receiver.url))) as notifier:
        office.tell(notifier, alert())
        for _ in range(2):
            await clock.sleeping(2)
            assert 0.5 <= clock.next_wake_s() <= 2
            clock.advance(clock.next_wake_s())
        await receiver.requests(3)


async def test_attempts_become_rarer(office, receiver, alert, clock, monkeypatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    receiver.answers = ["500"] * 9
    waits = []
    async with office.running(office.notifier(settings(webhook_url=receiver.url))) as notifier:
        office.tell(notifier, alert())
        for attempt in range(9):
            await receiver.requests(attempt + 1)
            await clock.sleeping(2)
            waits.append(clock.next_wake_s())
            clock.advance(waits[-1])
        await receiver.requests(10)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_one_destination_that_is_away_holds_up_no_other(office, receiver, alert) -> None:
    receiver.answers = []
    given_ = settings(webhook_url="http://127.0.0.1:1/", alertmanagers=[{"urls": [receiver.url]}])
    async with office.running(office.notifier(given_, workers=1)) as notifier:
        for number in range(5):
            office.tell(notifier, alert(n=str(number)))
        await receiver.until(lambda got: sum(len(request.body) for request in got) == 5)
        by_kind = {status.kind: status for status in notifier.status()}
    assert by_kind["webhook"].waiting and not by_kind["alertmanager"].waiting


async def test_too_many_make_room_for_the_newest(office, receiver, alert, monkeypatch) -> None:
    monkeypatch.setattr(waiting_module.Waiting.__init__, "__defaults__", (3, 1 << 20))
    notifier = office.notifier(settings(webhook_url=receiver.url))
    office.tell(notifier, *(alert(f"A{n}") for n in range(5)))
    assert office.dropped("webhook-0", "queue_full") == 2
    async with office.running(notifier):
        got = await receiver.requests(3)
    assert [request.body["alerts"][0]["name"] for request in got] == ["A2", "A3", "A4"]
    assert not office.waiting()


async def test_settings_change_while_alerts_wait(office, receiver, alert, clock) -> None:
    def of(*paths: str) -> NotifySettings:
        return settings(alertmanagers=[{"url": f"{receiver.url}/{path}"} for path in paths])

    notifier = office.notifier(of("stays", "goes"))
    office.tell(notifier, alert("A"))
    notifier.update(of("comes", "stays"))
    async with office.running(notifier):
        (got,) = await receiver.requests(1)
        assert got.path == "/stays/api/v2/alerts"
        office.tell(notifier, alert("B"))
        await receiver.until(lambda got: {"/comes/api/v2/alerts"} <= {g.path for g in got})
    assert office.dropped("alertmanager-1", "destination_gone") == 1
    assert "/goes/api/v2/alerts" not in {request.path for request in receiver.got}
    assert not office.waiting()


async def test_settings_change_while_it_runs(office, receiver, alert, clock) -> None:
    def of(path: str, **more) -> NotifySettings:
        return settings(webhook_url=f"{receiver.url}/{path}", **more)

    receiver.answers = ["500"]
    async with office.running(office.notifier(of("a"))) as notifier:
        office.tell(notifier, alert("A"))
        await clock.sleeping(2)
        notifier.update(of("a", timeout="5s"))  # the same destination: what waits goes on waiting
        clock.advance(1)
        _, again = await receiver.requests(2)
        assert (again.path, again.key) == ("/a", receiver.got[0].key)
        receiver.answers = ["500"]
        office.tell(notifier, alert("B"))
        await receiver.requests(3)
        await clock.sleeping(2)
        for path in ("b", "a", "b"):
            notifier.update(of(path))
        office.tell(notifier, alert("C"))
        got = await receiver.requests(4)
    assert [request.path for request in got] == ["/a", "/a", "/a", "/b"]
    assert office.dropped("webhook-0", "destination_gone") == 1 and not office.waiting()
    name = "metricsmith_notification_queue_length"
    assert [sample.labels for metric in office.telemetry.registry.collect() for sample in metric.samples
            if sample.name == name] == [{"destination": "webhook-1"}]  # fmt: skip


async def test_alertmanagers_come_and_go_in_files(office, receiver, alert, clock, tmp_path) -> None:
    file = tmp_path / "alertmanagers.json"
    host = receiver.url.removeprefix("http://")
    file.write_text(f'[{{"targets": ["{host}"]}}]')
    given_ = settings(alertmanagers=[{"file_sd": {"files": [str(file)]}, "path_prefix": "/am"}])
    # It waits from before the restart: who it is for is known only when the file has been read.
    before = office.notifier(given_)
    async with office.running(before):
        await clock.sleeping(2)
    office.tell(before, alert("A"))
    async with office.running(office.notifier(given_)) as notifier:
        (got,) = await receiver.requests(1)
        assert got.path == "/am/api/v2/alerts"
        file.write_text("[]")
        await clock.sleeping(2)
        clock.advance(5)
        await clock.sleeping(2)
        assert not notifier.status() and not office.tell(notifier, alert("B"))


async def test_damaged_entries_are_dropped_and_counted(office, receiver, alert) -> None:
    notifier = office.notifier(settings(webhook_url=receiver.url))
    office.tell(notifier, alert("A"))
    office.state.commit({"outbox/waiting/webhook-1/00-x": b"{", "outbox/told/webhook-1/x": b"[1]"})
    async with office.running(office.notifier(settings(webhook_url=receiver.url))):
        await receiver.requests(1)
    assert office.dropped("unknown", "damaged") == 2
    assert not office.waiting()


@pytest.mark.parametrize("seconds", [0.0, 90_000.0])
async def test_what_is_of_no_use_is_forgotten(office, receiver, alert, clock, seconds) -> None:
    """The end of an alert is remembered for a while; what waits for nobody, for a day."""
    given_ = settings(webhook_url=receiver.url, send_resolved=True)
    notifier = office.notifier(given_)
    office.tell(notifier, alert("A"), alert("R", webhook_url="http://127.0.0.1:1/gone"))
    office.tell(notifier, alert("A", resolved=True))
    clock.advance(seconds)
    async with office.running(office.notifier(given_)):
        await clock.sleeping(1)
        if not seconds:
            await receiver.requests(2)
    told = len(office.state.items("outbox/told/"))
    assert (told, len(office.waiting())) == ((2, 1) if not seconds else (0, 0))


class FullDisk(MemoryState):
    """A state that keeps nothing more while `full`."""

    full = True

    def commit(self, put: Mapping[str, bytes], delete: Iterable[str] = ()) -> None:
        if self.full:
            raise DiskFull("no space")
        super().commit(put, delete)


async def test_a_full_disk_holds_up_no_notification(office, receiver, alert, clock) -> None:
    office.state = FullDisk()
    async with office.running(office.notifier(settings(webhook_url=receiver.url))) as notifier:
        entries = notifier.prepare([alert("A")])
        notifier.release(entries)  # they could not be kept, and are sent all the same
        await receiver.requests(1)
        await clock.sleeping(2)
        office.state.full = False
        office.state.commit(entries)  # what was kept before the disk was full is forgotten when it has space
        clock.advance(clock.next_wake_s())
    assert not office.waiting()


slots = st.sampled_from("abc")
actions = st.one_of(
    st.tuples(st.just("add"), slots), st.tuples(st.just("take"), st.integers(1, 3)), st.just(("back", 0))
)


@given(st.lists(actions, max_size=30))
def test_of_what_waits_nothing_is_lost_or_told_twice(steps) -> None:
    waits, taken, gone = Waiting(max_entries=2, max_bytes=10_000), [], []
    added = []
    for time, (action, argument) in enumerate(steps):
        if action == "add":
            added.append(Entry("d", argument, time, time, 1, b"{}"))
            gone += waits.add(added[-1])
        elif action == "take":
            taken += waits.take(argument)
        else:
            gone += waits.put_back(taken)
            taken = []
    rest = waits.take(100)
    assert sorted(e.at_ms for e in [*rest, *taken, *(e for e, _ in gone)]) == [e.at_ms for e in added]
    assert waits.size_bytes == 0 and waits.oldest_ms() is None
    for entry, why in gone:
        if why == "replaced":
            assert any(newer.slot == entry.slot and newer.at_ms > entry.at_ms for newer in added)
