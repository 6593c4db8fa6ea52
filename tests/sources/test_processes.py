"""What processes push is emitted as totals, which go on over restarts of the agent."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from pydantic import ValidationError

from metricsmith.errors import DiskFull
from metricsmith.sdk import Counter, Gauge, Histogram, Registry
from metricsmith.sdk.processes import Sharing
from metricsmith.sources.processes import ProcessesSource

JOBS = 'jobs_total{instance="h", job="shop"}'


@pytest.fixture
def address() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="ms-") as folder:
        yield f"{folder}/s"


@pytest.fixture
def worker(address: str) -> Iterator[Worker]:
    made = Worker(address)
    yield made
    made.sharing._disconnect()


class Worker:
    """A process that shares."""

    def __init__(self, address: str) -> None:
        registry = Registry()
        self.jobs = Counter("jobs_total", "Jobs.", registry=registry)
        self.busy = Gauge("busy", "Busy.", registry=registry, multiprocess_mode="livesum")
        self.seconds = Histogram("wait_seconds", "Time.", unit="seconds", buckets=(1,), registry=registry)
        self.sharing = Sharing(registry, address, interval_s=1, service="shop", instance="h")

    async def push(self) -> bool:
        return await asyncio.to_thread(self.sharing.flush)


@pytest.fixture
def agent(address, context, recorder, clock):
    """Runs the source; yields a function that returns what it emits at its next interval."""

    @asynccontextmanager
    async def running() -> AsyncIterator[object]:
        source = ProcessesSource(ProcessesSource.Config(address=address), context)
        stop = asyncio.Event()
        task = asyncio.create_task(source.run(recorder.emit, stop))

        async def reading():
            await clock.sleeping()
            clock.advance(clock.next_wake_s())
            return await recorder.batch()

        await clock.sleeping()
        yield reading
        stop.set()
        await task
        recorder.last = await recorder.batch()

    return running


async def test_totals_and_what_is_known_of_them(agent, worker, recorder):
    worker.jobs.inc(3)
    worker.busy.set(2)
    worker.seconds.observe(0.5)
    async with agent() as reading:
        assert await worker.push()
        batch = await reading()
        found = recorder.read(batch)
        assert found[JOBS] == 3
        assert found['busy{instance="h", job="shop"}'] == 2
        assert found['wait_seconds_bucket{instance="h", job="shop", le="1.0"}'] == 1
        known = batch.layout.metadata
        assert (known["jobs_total"].type, known["jobs_total"].help) == ("counter", "Jobs.")
        assert (known["wait_seconds"].type, known["wait_seconds"].unit) == ("histogram", "seconds")
        assert (await reading()).layout is batch.layout
        worker.sharing._disconnect()
        assert await worker.push()  # a push in another connection
        worker.sharing._disconnect()
        while (found := recorder.read(await reading())).get('busy{instance="h", job="shop"}') == 2:
            pass
        assert found['busy{instance="h", job="shop"}'] == "stale"
        assert found[JOBS] == 3


async def test_counters_go_on_over_a_restart(agent, worker, recorder):
    worker.jobs.inc(3)
    async with agent():
        assert await worker.push()
    worker.jobs.inc(4)
    assert not await worker.push()
    async with agent() as reading:
        assert recorder.read(await reading())[JOBS] == 3
        assert await worker.push()
        worker.jobs.inc(1)
        assert await worker.push()
    assert recorder.read(recorder.last)[JOBS] == 8


async def test_a_full_disk(agent, worker, recorder, context, monkeypatch):
    """What cannot be kept is not acknowledged, and comes again."""

    def refuse(*_):
        raise DiskFull("no space left")

    async with agent() as reading:
        assert await worker.push()
        worker.jobs.inc(3)
        with monkeypatch.context() as patched:
            patched.setattr(context.state, "commit", refuse)
            assert not await worker.push()
            assert not await worker.push()
        recorder.refuse = DiskFull("no space left")
        await reading()
        recorder.refuse = None
        assert await worker.push()
        assert recorder.read(await reading())[JOBS] == 3
    value = context.telemetry.value
    assert value("metricsmith_source_failures_total", source=context.name, reason="disk_full") == 1
    assert value("metricsmith_processes_problems_total", source=context.name, reason="not_kept") >= 1


async def test_an_address_in_use(agent, worker, recorder, context, clock, address):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(address)
        other.listen()
        async with agent() as reading:
            assert len(await reading()) == 0
            other.close()
            await reading()
            await clock.sleeping()
            worker.jobs.inc()
            assert await worker.push()
            assert recorder.read(await reading())[JOBS] == 1
    assert (
        context.telemetry.value("metricsmith_source_failures_total", source=context.name, reason="listen")
        >= 1
    )


async def test_what_is_not_taken_is_counted(agent, worker, context, address):
    async with agent() as reading:
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(address)
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while await asyncio.to_thread(stranger.recv, 4096):
                pass
        assert await worker.push()
        connected = "metricsmith_processes_connected", {"source": context.name}
        assert context.telemetry.registry.get_sample_value(*connected) == 1
        await reading()
    problems = "metricsmith_processes_problems_total"
    assert context.telemetry.value(problems, source=context.name, reason="too_large") == 1


def test_an_address_that_others_could_reach_is_refused():
    with pytest.raises(ValidationError, match="loopback"):
        ProcessesSource.Config(address="tcp://0.0.0.0:9486")
