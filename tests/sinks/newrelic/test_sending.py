"""Whatever New Relic answers, each point gets there once, or is told with the reason why not."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from metricsmith.contracts import Context
from metricsmith.delivery.line import Limits, Line
from metricsmith.delivery.quarantine import Quarantine
from metricsmith.errors import Rejected, RetryLater, TooLarge
from metricsmith.journal import Journal, JournalConfig
from metricsmith.model.batch import event_batch
from metricsmith.model.events import Event
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.sinks.newrelic.sink import NewRelicSink
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.newrelic_server import Fault, NewRelicServer, newrelic_server
from metricsmith.testing.programs import LIMIT_S
from metricsmith.testing.services import free_port

SERIES, ROUNDS = 60, 20
Make = Callable[..., NewRelicSink]


class Shipping:
    """A journal, a clock that a test moves, and the line from there to New Relic."""

    def __init__(self, folder: Path, here: Any, make: Make) -> None:
        self.clock, self.here, self._make, self.folder = FakeClock(), here, make, folder
        self.context = Context("far", here.series, here.telemetry, self.clock)
        self.journal = Journal(
            folder / "journal", here.series, here.telemetry, self.clock, JournalConfig(sync="never")
        )
        self.lines: list[Line] = []

    def start(self, far: NewRelicServer, batch_size: int = 50, **settings: Any) -> Line:
        reader = self.journal.reader("far")
        before = [batch for sequence, batch in self.journal.replay(0) if sequence < reader.cursor]
        sink = self._make(far, self.context, **{"timeout": "60s", **settings})
        limits, end = Limits(batch_size, 0, 3), lambda: self.journal.next_sequence
        quarantine = Quarantine(self.folder / "quarantine", self.here.series, self.clock)
        line = Line("newrelic", sink, reader, end, self.context, limits, quarantine, before=lambda: before)
        self.lines.append(line)
        line.start()
        return line

    async def caught_up(self) -> None:
        line = self.lines[-1]
        async with asyncio.timeout(LIMIT_S):
            while line.status().behind:
                await asyncio.sleep(0.002)
                self.clock.advance(0.2)

    async def counters(self, rounds: range) -> None:
        """Write rounds, in each of which every counter grows by one; and an event with each."""
        layout = self.here.layout(
            [{"__name__": "c_total", "n": str(n)} for n in range(SERIES)],
            c_total=Metadata(MetricType.COUNTER),
        )
        for number in rounds:
            now_ms = self.clock.now_ms() + number * 10
            await self.journal.append(self.here.batch(layout, now_ms, np.full(SERIES, float(number))))
            await self.journal.append(event_batch([Event(now_ms, f"round {number}", "test", {})], now_ms))


@pytest.fixture
async def shipping(here: Any, tmp_path: Path, sink_to: Make, far: NewRelicServer) -> AsyncIterator[Shipping]:
    found = Shipping(tmp_path, here, sink_to)
    far.now_ms = found.clock.now_ms
    yield found
    if found.lines:
        await found.lines[-1].stop()
    await found.journal.close()


def _grown(far: NewRelicServer) -> Counter[str]:
    """Return by how much each counter grew, over all counts."""
    total: Counter[str] = Counter()
    for point in far.named("c_total"):
        assert point.type == "count" and isinstance(point.value, float)
        total[point.attributes["n"]] += int(point.value)
    return total


def _at_random(share: float, fault: Fault) -> Callable[[int], Fault | None]:
    chance = random.Random(7)
    return lambda _: fault if chance.random() < share else None


@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault("status", 500),
        Fault("status", 429, retry_after="2"),
        Fault("reset"),
    ],
)
async def test_growth_and_events_get_there_once(
    far: NewRelicServer, shipping: Shipping, fault: Fault | None
) -> None:
    if fault is not None:
        far.fault = _at_random(0.4, fault)
    shipping.start(far)
    await shipping.counters(range(ROUNDS))
    await shipping.caught_up()
    assert _grown(far) == {str(n): ROUNDS - 1 for n in range(SERIES)}
    assert [event["summary"] for event in far.events] == [f"round {n}" for n in range(ROUNDS)]
    assert far.dropped == []
    for n in range(SERIES):
        spans = sorted((p.timestamp, p.interval_ms) for p in far.named("c_total", n=str(n)))
        assert all(at + (ms or 0) == then for (at, ms), (then, _) in pairwise(spans))


@pytest.mark.parametrize("fault", [Fault("dies"), Fault("slow", wait_s=0.4)], ids=["dies", "too late"])
async def test_one_that_takes_it_and_does_not_say_so_gets_the_same_again(
    far: NewRelicServer, shipping: Shipping, fault: Fault
) -> None:
    far.fault = _at_random(0.2, fault)
    shipping.start(far, timeout="300ms" if fault.kind == "slow" else "60s")
    await shipping.counters(range(ROUNDS))
    await shipping.caught_up()
    distinct = {(p.attributes["n"], p.timestamp, p.value) for p in far.named("c_total")}
    assert len(distinct) == SERIES * (ROUNDS - 1) < len(far.points)


async def test_one_that_is_down_gets_all_when_it_is_up(here: Any, shipping: Shipping) -> None:
    with newrelic_server(free_port()) as gone:
        port = gone.port
    line = shipping.start(gone)
    await shipping.counters(range(ROUNDS))
    for _ in range(50):
        await asyncio.sleep(0.001)
        shipping.clock.advance(1)
    while line.status().state != "retrying":  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)
    assert line.status().behind >= 2 * ROUNDS - 2
    with newrelic_server(port, now_ms=shipping.clock.now_ms) as back:
        await shipping.caught_up()
        assert _grown(back) == {str(n): ROUNDS - 1 for n in range(SERIES)}
        assert len(back.events) == ROUNDS


async def test_starts_and_stops_in_between_say_all_growth_once(
    far: NewRelicServer, shipping: Shipping
) -> None:
    for start in range(0, ROUNDS, 5):
        line = shipping.start(far)
        await shipping.counters(range(start, start + 3))
        await shipping.caught_up()
        await line.stop()
        await shipping.counters(range(start + 3, start + 5))  # nobody listens
    shipping.start(far)
    await shipping.caught_up()
    assert _grown(far) == {str(n): ROUNDS - 1 for n in range(SERIES)}
    assert len(far.events) == ROUNDS and far.dropped == []


async def test_requests_are_split_by_the_size_that_they_have(far: NewRelicServer, shipping: Shipping) -> None:
    noise = random.Random(1)
    labels = [{"__name__": "g", "text": f"{noise.randbytes(300).hex()}{n}"} for n in range(6000)]
    shipping.start(far, batch_size=10_000)
    now_ms = shipping.clock.now_ms()
    await shipping.journal.append(
        shipping.here.batch(shipping.here.layout(labels), now_ms, np.arange(6000.0))
    )
    await shipping.caught_up()
    assert sorted(p.value for p in far.points) == [float(n) for n in range(6000)]  # type: ignore[type-var]
    sizes = [request.body_bytes for request in far.requests]
    assert len(sizes) > 1 and max(sizes) <= 1_000_000
    assert {request.status for request in far.requests} == {202}


async def test_series_that_new_relic_would_drop_are_set_aside(
    far: NewRelicServer, shipping: Shipping
) -> None:
    labels = [
        {"__name__": "g"},
        {"__name__": "n" * 300},
        {"__name__": "h", **{f"l{i}": "x" for i in range(120)}},
    ]
    line = shipping.start(far)
    await shipping.journal.append(
        shipping.here.batch(shipping.here.layout(labels), shipping.clock.now_ms(), [1, 2, 3])
    )
    await shipping.caught_up()
    assert [p.name for p in far.points] == ["g"] and far.dropped == []
    assert (line.status().delivered_samples, line.status().dropped_samples) == (1, 2)
    (file,) = (shipping.folder / "quarantine").iterdir()
    assert "121 attributes" in json.loads(file.read_text())["reason"]


async def test_what_is_older_than_two_days_is_counted(far: NewRelicServer, shipping: Shipping) -> None:
    shipping.start(far)
    layout, now_ms = shipping.here.layout([{"__name__": "g"}]), shipping.clock.now_ms()
    for age_h in (49, 47):
        await shipping.journal.append(shipping.here.batch(layout, now_ms - age_h * 3_600_000, [age_h]))
    await shipping.caught_up()
    assert [p.value for p in far.points] == [47] and far.dropped == []
    dropped = "metricsmith_sink_dropped_samples_total"
    assert shipping.here.telemetry.value(dropped, sink="far", reason="too_old") == 1


async def test_without_an_account_events_stay_here(far: NewRelicServer, shipping: Shipping) -> None:
    shipping.start(far, account_id=None)
    await shipping.counters(range(2))
    await shipping.caught_up()
    assert far.events == [] and len(far.points) == SERIES


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (Fault("status", 400), Rejected, "400"),
        (Fault("status", 413), TooLarge, "413"),
        (Fault("status", 404), RetryLater, "address"),
        (Fault("status", 408), RetryLater, "408"),
        (Fault("status", 503), RetryLater, "503"),
        (Fault("status", 429, retry_after="7"), RetryLater, "429"),
        (Fault("slow", wait_s=1.0), RetryLater, "no answer within 0.3s"),
    ],
)
async def test_answers_mean_what_the_documentation_says(
    here: Any, far: NewRelicServer, sink_to: Make, fault: Fault, error: type[Exception], says: str
) -> None:
    far.fault = lambda number: fault
    sink = sink_to(far, here.context, timeout="300ms" if fault.kind == "slow" else "60s")
    gauge = here.delivery(here.batch(here.layout([{"__name__": "g"}]), far.now_ms(), [1]))
    with pytest.raises(error, match=says) as caught:
        await sink.send(gauge)
    if isinstance(caught.value, RetryLater) and fault.retry_after:
        assert caught.value.after_s == 7


async def test_a_wrong_key_waits_for_somebody_and_is_told_nowhere(
    here: Any, far: NewRelicServer, sink_to: Make, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text("wrong-secret\n")
    sink = sink_to(far, here.context, api_key=f"file:{file}")
    gauge = here.delivery(here.batch(here.layout([{"__name__": "g"}]), far.now_ms(), [1]))
    with pytest.raises(RetryLater, match="licence key of an account in region us") as caught:
        await sink.send(gauge)
    assert "wrong-secret" not in str(caught.value) + repr(sink._config)
    file.write_text("NRAK-ABCDEF\n")
    with pytest.raises(RetryLater, match="got a user key") as caught:
        await sink.send(gauge)
    assert "ABCDEF" not in str(caught.value)
    file.write_text(f"{far.key}\n")
    await sink.send(gauge)
    file.unlink()
    with pytest.raises(RetryLater, match="key cannot be read"):
        await sink.send(gauge)
    assert [p.value for p in far.points] == [1]


@pytest.mark.parametrize("page", ["<html>Please log in</html>", "", "OK"])
async def test_an_answer_of_something_else_is_no_delivery(
    here: Any, far: NewRelicServer, sink_to: Make, peer: Any, page: str
) -> None:
    peer.answer = lambda: web.Response(text=page)
    sink = sink_to(far, here.context, endpoint=peer.url)
    with pytest.raises(RetryLater, match="another service"):
        await sink.send(here.delivery(here.batch(here.layout([{"__name__": "g"}]), far.now_ms(), [1])))


async def test_growth_in_quarantine_is_not_sent_as_something_else(
    here: Any, far: NewRelicServer, sink_to: Make
) -> None:
    sink = sink_to(far, here.context)
    known = {"c_total": Metadata(MetricType.COUNTER), "h": Metadata(MetricType.HISTOGRAM)}
    names = ["c_total", "h_sum", "h_count", "g"]
    layout = here.layout([{"__name__": name} for name in names], **known)
    sink.prepare(here.batch(layout, far.now_ms(), [1, 1, 1, 1]))
    kept = here.layout([{"__name__": name} for name in ("c_total", "h", "g")])
    with pytest.raises(Rejected, match="cannot be sent again") as caught:
        await sink.send(here.delivery(here.batch(kept, far.now_ms(), [1, 2, 3])))
    assert list(caught.value.series) == kept.ids.tolist()[:2]
    assert [(p.name, p.value) for p in far.points] == [("g", 3)]
