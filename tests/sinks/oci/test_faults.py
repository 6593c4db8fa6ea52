"""Whatever the service does, each point gets there, or is set aside with the reason; the far end counts."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from metricsmith.contracts import Context
from metricsmith.errors import Rejected, RetryLater
from metricsmith.sinks.oci.rate import CallRate
from metricsmith.sinks.oci.sink import OciSink
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.oci_server import Fault, OciServer

SERIES, ROUNDS = 120, 20


async def _write(shipping: Any, rounds: range = range(ROUNDS)) -> set[tuple[str, int, float]]:
    """Write rounds of scrapes of the same series; return their points."""
    layout = shipping.here.layout([{"__name__": "m", "n": str(n)} for n in range(SERIES)])
    now_ms = shipping.clock.now_ms()
    for number in rounds:
        values = [float(n * 1000 + number) for n in range(SERIES)]
        await shipping.journal.append(shipping.here.batch(layout, now_ms - number, values))
    return {(str(n), now_ms - number, float(n * 1000 + number)) for number in rounds for n in range(SERIES)}


def _got(oci: OciServer) -> Counter[tuple[str, int, float]]:
    return Counter((p.dimensions[0][1], p.time_ms, p.value) for p in oci.points)


def _orders(oci: OciServer) -> set[tuple[int, ...]]:
    """Return the orders in which the rounds of series came."""
    came: dict[str, list[int]] = {}
    for point in oci.points:
        came.setdefault(point.dimensions[0][1], []).append(int(point.value) % 1000)
    return set(map(tuple, came.values()))


def _at_random(share: float, fault: Fault) -> Callable[[int], Fault | None]:
    chance = random.Random(7)
    return lambda _: fault if chance.random() < share else None


@pytest.mark.parametrize(
    ("share", "fault"),
    [
        (0.0, Fault()),
        (0.4, Fault(500, "InternalServerError")),
        (0.4, Fault()),
        (0.4, Fault(429, "TooManyRequests", headers=(("Retry-After", "2"),))),
        (0.1, Fault(401, "NotAuthenticated")),
    ],
)
async def test_every_point_gets_there_once(oci: OciServer, shipping: Any, share: float, fault: Fault) -> None:
    oci.fault = _at_random(share, fault)
    shipping.start()
    sent = await _write(shipping)
    await shipping.caught_up()
    assert _got(oci) == Counter(sent)
    assert oci.largest_call <= 50 and oci.problems == []
    assert _orders(oci) == {tuple(range(ROUNDS))}


@pytest.mark.parametrize(
    "fault",
    [Fault(0, taken=True), Fault(200, cut=True), Fault(200, wait=0.5)],
    ids=["dies", "breaks off", "answers too late"],
)
async def test_one_that_takes_them_and_does_not_say_so_gets_the_same_points_again(
    oci: OciServer, shipping: Any, fault: Fault
) -> None:
    oci.fault = _at_random(0.3, fault)
    shipping.start(timeout_ms=200 if fault.wait else 60_000)
    sent = await _write(shipping)
    await shipping.caught_up()
    got = _got(oci)
    assert set(got) == sent and got.total() > len(sent)


async def test_one_that_is_down_gets_all_when_it_is_up(oci: OciServer, shipping: Any) -> None:
    oci.stop()
    shipping.start()
    sent = await _write(shipping)
    for _ in range(50):
        await asyncio.sleep(0.001)
        shipping.clock.advance(1)
    while shipping.line.status().state != "retrying":  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)
    assert shipping.line.status().behind == ROUNDS
    oci.start()
    await shipping.caught_up()
    assert _got(oci) == Counter(sent)


async def test_starts_and_stops_in_between_lose_nothing(oci: OciServer, shipping: Any) -> None:
    oci.fault = _at_random(0.5, Fault(503))
    sent = set()
    for first in range(0, ROUNDS, 5):
        shipping.start()
        sent |= await _write(shipping, range(first, first + 5))
        await shipping.stop()
    shipping.start()
    await shipping.caught_up()
    assert set(_got(oci)) == sent


async def test_what_the_service_refuses_is_set_aside_and_only_that(oci: OciServer, shipping: Any) -> None:
    oci.refuse = lambda metric: "no such n" if metric["dimensions"]["n"] in ("7", "77") else ""
    shipping.start()
    sent = await _write(shipping)
    await shipping.caught_up()
    assert set(_got(oci)) == {point for point in sent if point[0] not in ("7", "77")}
    aside = shipping.quarantine.refusals()
    samples = [sample for each in aside for sample in shipping.quarantine.samples(each.id)[1]]
    kept = Counter((s["labels"]["n"], s["time_ms"]) for s in samples)
    refused = Counter((n, time_ms) for n, time_ms, _ in sent if n in ("7", "77"))
    assert kept <= refused and {n for n, _ in kept} == {"7", "77"}
    assert shipping.dropped("quarantined") == kept.total()
    assert shipping.dropped("refused_before") == refused.total() - kept.total()
    assert {each.reason for each in aside} == {"no such n"}


async def test_calls_that_are_refused_as_a_whole_lose_only_what_is_bad(oci: OciServer, shipping: Any) -> None:
    oci.refuse = lambda metric: "no such n" if int(metric["dimensions"]["n"]) >= 50 else ""
    shipping.start(batch_size=50, workers=1)
    sent = await _write(shipping, range(3))
    await shipping.caught_up()
    assert any(problem.startswith("400 no such n") for problem in oci.problems)
    assert set(_got(oci)) == {point for point in sent if int(point[0]) < 50}


async def test_what_is_too_old_for_the_service_is_counted(oci: OciServer, shipping: Any) -> None:
    oci.stop()
    shipping.start()
    await _write(shipping)
    while shipping.line.status().behind:
        await asyncio.sleep(0.002)
        shipping.clock.advance(60)
    assert shipping.dropped("too_old") == SERIES * ROUNDS


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When calls were let through; how long they are on their way is up to the machine."""
    at: list[float] = []
    take = CallRate.take

    async def note(rate: CallRate) -> None:
        await take(rate)
        at.append(rate._clock.monotonic())

    monkeypatch.setattr(CallRate, "take", note)
    return at


async def test_calls_stay_below_the_rate(oci: OciServer, shipping: Any, taken: list[float]) -> None:
    shipping.start(batch_size=50)
    await _write(shipping, range(60))
    await shipping.caught_up()
    assert len(taken) == oci.calls >= 150
    assert all(later - sooner > 0.99 for sooner, later in zip(taken, taken[50:], strict=False))


async def test_sinks_with_the_same_credentials_share_the_rate(
    oci: OciServer, settings: Callable[..., Any], here: Any, taken: list[float]
) -> None:
    clock = FakeClock()
    oci.now_ms = clock.now_ms
    context = Context("far", here.series, here.telemetry, clock)
    sinks = [OciSink(settings(namespace=name), context) for name in ("shop", "plant")]
    layout = here.layout([{"__name__": "m", "n": str(n)} for n in range(50)])
    deliveries = [here.delivery(here.batch(layout, clock.now_ms() - n, range(50))) for n in range(40)]
    sending = asyncio.gather(*(sink.send(each) for sink in sinks for each in deliveries))
    while not sending.done():
        await asyncio.sleep(0.002)
        clock.advance(0.1)
    assert len(taken) == oci.calls == 80
    assert all(later - sooner > 0.99 for sooner, later in zip(taken, taken[50:], strict=False))
    for sink in sinks:
        await sink.close()


async def test_a_backlog_goes_in_few_calls(oci: OciServer, shipping: Any) -> None:
    oci.stop()
    shipping.start(batch_size=5000)
    sent = await _write(shipping, range(40))
    await shipping.clock.sleeping()
    oci.start()
    await shipping.caught_up()
    assert _got(oci) == Counter(sent)
    assert oci.calls < 40 * SERIES / 50 / 4, "points of a stream go together"


async def test_calls_that_are_too_large_are_split(oci: OciServer, shipping: Any) -> None:
    wide = {f"{'l' * 240}{number}": "x" * 500 for number in range(19)}
    layout = shipping.here.layout([{"__name__": "m", "n": str(n), **wide} for n in range(50)])
    now_ms = shipping.clock.now_ms()
    oci.stop()
    shipping.start(batch_size=8000, workers=1)
    for number in range(151):
        await shipping.journal.append(shipping.here.batch(layout, now_ms + number, [number] * 50))
    await shipping.clock.sleeping()
    oci.start()
    await shipping.caught_up()
    assert {problem[:3] for problem in oci.problems} == {"413"}
    assert [len(values) for values in oci.streams().values()] == [151] * 50
    assert shipping.quarantine.refusals() == []


async def test_calls_that_were_answered_are_not_made_again(oci: OciServer, sink: Any, here: Any) -> None:
    layout = here.layout([{"__name__": "m", "n": str(n)} for n in range(500)])
    delivery = here.delivery(here.batch(layout, oci.now_ms(), range(500)))
    far = sink(worker_count=1)
    oci.refuse = lambda metric: "bad" if metric["dimensions"]["n"] == "7" else ""
    oci.fault = lambda number: Fault(503) if number == 6 else None
    with pytest.raises(RetryLater):
        await far.send(delivery)
    assert (len(oci.points), oci.calls) == (299, 7), "the first that fails is the last"
    with pytest.raises(Rejected, match="bad") as refusal:
        await far.send(delivery)
    assert refusal.value.series == (int(layout.ids[7]),)
    assert (len(oci.points), oci.calls) == (499, 11)
    oci.refuse = lambda metric: ""
    await far.send(delivery)
    assert oci.calls == 21, "what was told is forgotten"
