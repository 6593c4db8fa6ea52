"""Blocks and functions, sync and async: timed, their exceptions counted, those under way counted."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from metricsmith.sdk import Counter, Gauge, Histogram, Policy, Registry, Summary
from metricsmith.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves."""
    return FakeClock()


@pytest.fixture
def registry(clock: FakeClock) -> Registry:
    """A registry with that clock."""
    return Registry(policy=Policy(clock=clock))


@pytest.mark.parametrize("kind", [Histogram, Summary, Gauge])
async def test_time_of_blocks_and_functions(
    kind: type[Histogram], clock: FakeClock, registry: Registry
) -> None:
    metric = kind("m", "M.", registry=registry)
    name = "m" if kind is Gauge else "m_sum"

    @metric.time()
    def work(seconds: float, *, fail: bool = False) -> str:
        """Work."""
        clock.advance(seconds)
        if fail:
            raise RuntimeError
        return "done"

    @metric.time()
    async def wait(seconds: float) -> str:
        """Wait."""
        await clock.sleep(seconds)
        return "waited"

    expected = [2.0]
    with metric.time() as timer:
        clock.advance(2)
    assert timer.duration == 2.0
    assert registry.get_sample_value(name) == 2.0
    assert work(3) == "done"
    expected.append(3.0)
    with pytest.raises(RuntimeError):
        work(4, fail=True)
    expected.append(4.0)
    both = asyncio.gather(wait(5), wait(7))
    await clock.sleeping(2)
    clock.advance(5)
    await clock.sleeping(1)
    await asyncio.sleep(0)
    clock.advance(2)
    assert await both == ["waited", "waited"]
    expected += [5.0, 7.0]
    assert registry.get_sample_value(name) == (7.0 if kind is Gauge else sum(expected))
    assert (work.__name__, work.__doc__, wait.__name__) == ("work", "Work.", "wait")
    assert list(inspect.signature(work).parameters) == ["seconds", "fail"]
    assert inspect.iscoroutinefunction(wait)


def test_a_function_that_calls_itself_is_timed_each_time(clock: FakeClock, registry: Registry) -> None:
    histogram = Histogram("h", "H.", registry=registry)

    @histogram.time()
    def down(n: int) -> None:
        clock.advance(1)
        if n:
            down(n - 1)

    down(2)
    assert registry.get_sample_value("h_count") == 3
    assert registry.get_sample_value("h_sum") == 1 + 2 + 3


def test_labels_may_be_known_only_at_the_end(clock: FakeClock, registry: Registry) -> None:
    histogram = Histogram("h", "H.", ["status"], registry=registry)
    with histogram.time() as timer:
        clock.advance(1)
        timer.labels(status="500")
    assert registry.get_sample_value("h_sum", {"status": "500"}) == 1


async def test_exceptions_are_counted_and_pass(registry: Registry) -> None:
    counter = Counter("c", "C.", registry=registry)

    @counter.count_exceptions((KeyError, ValueError))
    def fail(error: type[Exception]) -> None:
        raise error

    @counter.count_exceptions()
    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise OSError

    for error in (KeyError, ValueError, TypeError):
        with pytest.raises(error):
            fail(error)
    with pytest.raises(OSError):
        await fail_later()
    with pytest.raises(asyncio.CancelledError), counter.count_exceptions():
        raise asyncio.CancelledError
    assert registry.get_sample_value("c_total") == 3


async def test_those_under_way_are_counted(clock: FakeClock, registry: Registry) -> None:
    gauge = Gauge("g", "G.", registry=registry)

    @gauge.track_inprogress()
    async def work() -> None:
        await clock.sleep(1)

    tasks = [asyncio.ensure_future(work()) for _ in range(3)]
    await clock.sleeping(3)
    assert registry.get_sample_value("g") == 3
    tasks[0].cancel()
    await asyncio.gather(tasks[0], return_exceptions=True)
    assert registry.get_sample_value("g") == 2
    clock.advance(1)
    await asyncio.gather(*tasks[1:])
    assert registry.get_sample_value("g") == 0


def test_what_wraps_a_metric_with_labels_needs_them(registry: Registry) -> None:
    gauge = Gauge("g", "G.", ["a"], registry=registry)
    counter = Counter("c", "C.", ["a"], registry=registry)
    for wrong in (gauge.track_inprogress, counter.count_exceptions):
        with pytest.raises(ValueError, match="missing label values"):
            wrong()
