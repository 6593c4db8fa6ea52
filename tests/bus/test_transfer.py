"""What one agent's journal has gets into the other's, all of it, in order, and once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

from metricsmith.contracts import Delivery
from metricsmith.errors import RetryLater
from metricsmith.journal import JournalConfig
from metricsmith.model.batch import Batch, empty_batch, event_batch
from metricsmith.model.events import Event
from metricsmith.sources.transfer.sessions import Sessions

Ends = tuple[Any, Any]


async def test_all_arrives_once_over_restarts_of_either_side(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metricsmith.delivery.backoff.FIRST_WAIT_S", 0.05)
    edge, centre = ends
    edge.line()
    centre.receive()
    wanted = []
    for turn in range(12):
        for number in range(20):
            value = float(turn * 100 + number)
            await edge.put(["a", "b"] if number % 3 else ["c"], value)
            wanted += [("a", value), ("b", value)] if number % 3 else [("c", value)]
        if turn % 3 == 0:
            await centre.close()
            centre.receive()
        elif turn % 3 == 1:
            await edge.close()
            edge.line()
    await edge.put(["last"], 0)
    await centre.until(lambda: ("last", 0.0) in centre.samples())
    assert centre.samples() == [*wanted, ("last", 0.0)]


async def test_committed_and_not_acknowledged_is_not_taken_twice(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, centre = ends
    monkeypatch.setattr(Sessions, "_acknowledge", lambda *_: None)
    sink = edge.sender()
    centre.receive()
    sending = asyncio.create_task(sink.send(Delivery([0, 1], [edge.batch(0), edge.batch(1)])))
    await centre.until(lambda: len(centre.samples()) == 4)
    await centre.close()  # what it has committed nobody was told
    monkeypatch.undo()
    centre.receive()
    await sending
    await sink.send(Delivery([2], [edge.batch(2)]))
    assert [value for _, value in centre.samples()] == [0, 0, 1, 1, 2, 2]


async def test_a_producer_that_forgot_what_was_acknowledged_sends_nothing_twice(ends: Ends) -> None:
    edge, centre = ends
    centre.receive()
    edge.open()
    for value in range(2):
        await edge.put(["a", "b"], value)
    await edge.close()
    for _ in range(3):  # each time from the start, as after a kill before the cursor is kept
        sink = edge.sender()
        await sink.send(Delivery([0, 1], [edge.batch(v) for v in (0, 1)]))
        await edge.close()
    assert [value for _, value in centre.samples()] == [0, 0, 1, 1]
    await centre.close()


async def test_what_processors_give_with_time_is_new_in_each_run(ends: Ends) -> None:
    """It has the number of the batch before it; after a restart that batch comes again with other company."""
    edge, centre = ends
    centre.receive()
    edge.open()
    await edge.put(["a", "b"], 0)
    await edge.close()
    for values in ((0, 10, 11), (0, 20), (0, 30)):
        sink = edge.sender()
        await sink.send(Delivery([0] * len(values), [edge.batch(v) for v in values]))
        await edge.close()
    assert [value for _, value in centre.samples()][::2] == [0, 10, 11, 20, 30]


async def test_a_full_consumer_refuses_and_loses_nothing(ends: Ends) -> None:
    edge, centre = ends
    centre.receive()
    sink = edge.sender()
    centre.store.full = True
    delivery = Delivery([0, 1], [edge.batch(0), edge.batch(1)])
    for _ in range(2):
        with pytest.raises(RetryLater, match="full") as refused:
            await sink.send(delivery)
        assert (refused.value.reason, refused.value.after_s) == ("disk_full", 1.0)
    centre.store.full = False
    await sink.send(delivery)
    assert [value for _, value in centre.samples()] == [0, 0, 1, 1]


async def test_what_the_consumer_drops_is_done_with(ends: Ends) -> None:
    class Picky:
        def process(self, batch: Batch) -> Batch | None:
            if batch.value[0] == 1:
                return None
            if batch.value[0] == 2:
                raise RuntimeError("cannot")
            return Batch(batch.layout, batch.time_ms, batch.value * 10)

    edge, centre = ends
    centre.processors, centre.store.oldest_ms = [Picky()], 4
    centre.receive()
    sink = edge.sender()
    delivery = Delivery(range(6), [edge.batch(v) for v in range(6)])
    await sink.send(delivery)
    assert [value for _, value in centre.samples()] == [40, 40, 50, 50]
    lost = centre.telemetry.value("metricsmith_samples_dropped_total", component="centre", reason="defect")
    assert lost == 2


async def test_what_fails_for_another_defect_is_left_out_when_it_comes_again(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, centre = ends
    admit = centre.store.admit

    def admit_most(batch: Batch) -> Batch:
        if len(batch) and batch.value[0] == 2:
            raise RuntimeError("cannot")
        return admit(batch)

    monkeypatch.setattr(centre.store, "admit", admit_most)
    centre.receive()
    sink = edge.sender()
    delivery = Delivery(range(3), [edge.batch(v) for v in range(1, 4)])
    with pytest.raises(RetryLater) as refused:
        await sink.send(delivery)
    assert refused.value.reason == "defect"
    await sink.send(delivery)
    assert [value for _, value in centre.samples()] == [1, 1, 3, 3]


async def test_empty_batches_and_events_have_their_place(ends: Ends) -> None:
    edge, centre = ends
    centre.receive()
    sink = edge.sender()
    event = Event(5, "began", "deploy", {"by": "me", "n": 1.5, "ok": True})
    await sink.send(Delivery([0, 1, 2], [empty_batch(), event_batch([event], 5), edge.batch(1)]))
    assert [b.events for _, b in centre.journal.replay(0)] == [(), (event,), ()]
    assert centre.gaps("missing") == 0


async def test_numbers_that_are_missing_are_counted(ends: Ends) -> None:
    edge, centre = ends
    centre.receive()
    sink = edge.sender()
    await sink.send(Delivery([5], [edge.batch(0)]))  # the first that it hears of is no gap
    assert centre.gaps("missing") == 0
    await sink.send(Delivery([6, 10], [edge.batch(1), edge.batch(2)]))
    assert centre.gaps("missing") == 3


async def test_what_the_producers_journal_had_no_room_for_is_a_gap(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metricsmith.delivery.backoff.FIRST_WAIT_S", 0.05)
    edge, centre = ends
    edge.journal_settings = JournalConfig(sync="never", segment_size=4096, max_size=16384)
    line = edge.line()
    centre.receive()
    await edge.put(["first"], 0)
    await centre.until(lambda: len(centre.samples()) == 1)
    await centre.close()
    lost = 0
    for number in range(300):
        sequence = await edge.put(["a", "b"], float(number))
        edge.journal.set_cursor("store", sequence + 1)
        for each in await edge.journal.make_room():
            line.expired(each.begin, each.end, each.samples, each.events)
            lost += each.end - each.begin
    assert lost > 100 and line.status().dropped_samples == 2 * lost
    centre.receive()
    await centre.until(lambda: ("b", 299.0) in centre.samples())
    values = [value for name, value in centre.samples() if name == "a"]
    assert len(values) == 300 - lost and values == sorted(set(values))
    assert centre.gaps("missing") == lost


async def test_a_lost_data_directory_is_a_new_identity_and_a_gap(ends: Ends, tmp_path: Path) -> None:
    edge, centre = ends
    centre.receive()
    for turn in range(2):
        sink = edge.sender()
        await sink.send(Delivery([0], [edge.batch(turn)]))
        await edge.close()
        for file in edge.folder.glob("state.sqlite*"):
            file.unlink()
    assert [value for _, value in centre.samples()] == [0, 0, 1, 1]
    assert centre.gaps("new_identity") == 1
    await centre.close()


@pytest.mark.parametrize("starts_between", [0, 2])
async def test_numbers_given_twice_are_not_taken_for_delivered(ends: Ends, starts_between: int) -> None:
    """The producer's journal lost its tail: what it numbers anew is new, however often it starts."""
    edge, centre = ends
    centre.receive()
    sink = edge.sender()
    for value in range(4):
        await edge.put(["a", "b"], value)
    await sink.send(Delivery(range(4), [edge.batch(v) for v in range(4)]))
    await edge.close()
    for segment in (edge.folder / "journal").glob("*.journal"):
        segment.unlink()
    for _ in range(starts_between):  # it starts, writes, and does not reach the consumer
        edge.sender()._identity.keep()
        await edge.put(["a", "b"], 7)
        await edge.close()
    sink = edge.sender()
    await sink.send(Delivery([0, 1], [edge.batch(10), edge.batch(11)]))
    assert [value for _, value in centre.samples()] == [0, 0, 1, 1, 2, 2, 3, 3, 10, 10, 11, 11]
    assert centre.gaps("tail_lost") == 1
    renewals = edge.telemetry.value("metricsmith_transfer_renewals_total", sink="edge", reason="tail_lost")
    assert renewals == 1


async def test_what_is_left_of_a_lost_tail_is_not_sent_twice(ends: Ends) -> None:
    edge, centre = ends
    centre.receive()
    edge.open()
    for value in range(2):
        await edge.put(["a", "b"], value)
    (segment,) = (edge.folder / "journal").glob("*.journal")
    kept = segment.read_bytes()
    for value in range(2, 4):
        await edge.put(["a", "b"], value)
    await edge.close()
    sink = edge.sender()
    await sink.send(Delivery(range(4), [edge.batch(v) for v in range(4)]))
    await edge.close()
    segment.write_bytes(kept)
    sink = edge.sender()
    assert edge.journal.begun_at == 2
    await sink.send(Delivery([0], [edge.batch(0)]))
    await sink.send(Delivery([1, 2, 3], [edge.batch(v) for v in (1, 12, 13)]))
    assert [value for _, value in centre.samples()][::2] == [0, 1, 2, 3, 12, 13]


async def test_a_copy_of_a_data_directory_goes_on_under_its_own_name(ends: Ends) -> None:
    edge, centre = ends
    centre.receive()
    sink = edge.sender()
    await sink.send(Delivery([0], [edge.batch(0)]))
    copied = edge.state.of("part").items()
    for value in range(3):
        await edge.put(["a", "b"], value)
    await sink.send(Delivery([1], [edge.batch(1)]))
    await edge.close()
    sink = edge.sender()
    await sink.send(Delivery([2], [edge.batch(2)]))
    await sink.close()
    edge.state.of("part").commit(dict(copied))  # the copy knows nothing of the run that has gone on
    await edge.close()
    sink = edge.sender()
    await sink.send(Delivery([2], [edge.batch(20)]))
    assert [value for _, value in centre.samples()] == [0, 0, 1, 1, 2, 2, 20, 20]
    assert centre.gaps("unknown_life") == 1


async def test_what_the_other_side_cannot_read_is_set_aside_alone(ends: Ends) -> None:
    edge, centre = ends
    centre.receive()
    line = edge.line()
    for value in range(4):
        await edge.put(["a", "b"], value)
    await edge.put(["odd" * 40_000], 4)
    await edge.put(["a", "b"], 5)
    await centre.until(lambda: ("b", 5.0) in centre.samples())
    assert [value for _, value in centre.samples()] == [0, 0, 1, 1, 2, 2, 3, 3, 5, 5]
    await centre.until(lambda: line.status().dropped_samples == 1)  # told when all the others are delivered
    assert centre.gaps("missing") == 1


GARBAGE: list[list[bytes]] = [
    [b""],
    [b"H"],
    [b"H" * 42, b"", b""],
    [b"B\x01" + bytes(12), b"", b""],
    [b"B\x01" + bytes(12), bytes(12), b"\xf5mj1" + bytes(28)],
    [b"P\x01" + bytes(8)],
    [b"A\x01" + bytes(20)],
    [b"\xff" * 1000] * 50,
]


async def test_a_strangers_garbage_disturbs_nobody(ends: Ends, bare: Callable[..., Any]) -> None:
    edge, centre = ends
    centre.receive()
    sink = edge.sender()
    stranger = bare(zmq.DEALER, centre.settings["endpoint"])
    for value in range(20):
        for frames in GARBAGE:
            stranger.send_multipart(frames)
        await sink.send(Delivery([value], [edge.batch(value)]))
    assert [value for _, value in centre.samples()] == [float(v) for v in range(20) for _ in "ab"]
    sessions = centre.telemetry.value("metricsmith_transfer_sessions_total", source="centre")
    assert sessions == 1
    name, labels = "metricsmith_bus_messages_refused_total", {"source": "centre", "reason": "message"}
    await centre.until(lambda: centre.telemetry.value(name, **labels) > 0)


async def test_a_long_quiet_time_is_no_silence(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metricsmith.sinks.transfer.POLL_MS", 1)
    edge, centre = ends
    centre.receive()
    sink = edge.sender()
    await sink.send(Delivery([0], [edge.batch(0)]))
    sink._session.heard_at -= 3600
    acknowledge = Sessions._acknowledge
    monkeypatch.setattr(Sessions, "_acknowledge", lambda *_: (time.sleep(0.02), acknowledge(*_)))
    await sink.send(Delivery([1], [edge.batch(1)]))
    assert centre.telemetry.value("metricsmith_transfer_sessions_total", source="centre") == 1


async def test_a_consumer_that_is_away_is_told_of(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metricsmith.sinks.transfer.ANSWER_LIMIT_S", 0.1)
    edge, _ = ends
    sink = edge.sender()
    with pytest.raises(RetryLater, match="nobody answers"):
        await sink.send(Delivery([0], [edge.batch(0)]))
    await edge.close()
