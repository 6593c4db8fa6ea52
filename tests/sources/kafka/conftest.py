"""A real Kafka to write to and commit on, rounds of an observer, and a source that runs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.structs import OffsetAndMetadata, TopicPartition

from metricsmith.contracts import Context
from metricsmith.model.batch import Batch
from metricsmith.model.clock import SystemClock
from metricsmith.model.series import SeriesTable
from metricsmith.model.state import MemoryState
from metricsmith.model.telemetry import Telemetry
from metricsmith.sources.kafka.client import Client
from metricsmith.sources.kafka.observer import Observer
from metricsmith.sources.kafka.settings import KafkaConfig
from metricsmith.sources.kafka.sheets import cluster_sheet
from metricsmith.sources.kafka.source import KafkaSource
from metricsmith.sources.name_filter import Filter
from metricsmith.testing import kafka as real

Samples = dict[tuple[str, ...], float]
LIMIT_S = 60.0


class Live:
    """A cluster, and means to make topics, to write and to commit."""

    def __init__(self, cluster: real.Cluster) -> None:
        self.cluster, self.bootstrap = cluster, cluster.bootstrap()
        self.admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)

    def reconnect(self) -> None:
        """Make the admin client anew: it asks a group's first coordinator for ever."""
        self.admin.close()
        self.admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)

    def create(self, topic: str, partitions: int = 1, copies: int = 1, **configs: str) -> str:
        """Make a topic; `_` in names of settings stands for a dot."""
        named = {key.replace("_", "."): value for key, value in configs.items()}
        self.admin.create_topics(
            {topic: {"num_partitions": partitions, "replication_factor": copies, "configs": named}}
        )
        return topic

    def write(
        self, topic: str, values: int | list[bytes | None], partition: int = 0, **settings: Any
    ) -> None:
        """Write values, or so many."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all", **settings)
        try:
            for value in [b"x"] * values if isinstance(values, int) else values:
                producer.send(topic, key=b"k", value=value, partition=partition)
            producer.flush()
        finally:
            producer.close()

    def commit(self, group: str, topic: str, *offsets: int) -> None:
        """Commit; a coordinator that has just started refuses for a moment."""
        wanted = {TopicPartition(topic, n): OffsetAndMetadata(o, "", -1) for n, o in enumerate(offsets)}
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(Exception):
                told = self.admin.alter_group_offsets(group, wanted)
                if all(error is None or error.__name__ == "NoError" for error in told.values()):
                    return
            time.sleep(0.05)
        raise AssertionError(f"{group} could not commit")


class Watch:
    """Rounds of an observer, each a minute after the last."""

    def __init__(self, bootstrap: str, pattern: str, **settings: Any) -> None:
        chosen = {"timeout": "30s", **settings}
        self.config = KafkaConfig(
            bootstrap_servers=bootstrap,
            topics=Filter(include=pattern),
            groups=Filter(include=pattern),
            **chosen,
        )
        self.now_ms = 1_700_000_000_000
        self.state = MemoryState()
        self.observer = Observer(self.config, self.state, lambda: self.now_ms)
        self.client = Client(self.config)

    def round(self, configs: dict[str, dict[str, str]] | None = None, after_ms: int = 60_000) -> Samples:
        self.now_ms += after_ms
        self.client.begin_round()
        self.observer.read(self.client)
        sheet = cluster_sheet(self.observer.view, configs or {})
        assert len(set(sheet.keys)) == len(sheet.keys)
        return dict(zip(sheet.keys, sheet.values, strict=True))

    @staticmethod
    def reason(samples: Samples, group: str, topic: str, partition: int = 0) -> str:
        """The reason that samples give for a pair's lag."""
        at = ("kafka_consumergroup_lag_state", group, topic, str(partition))
        [found] = [key[4] for key in samples if key[:4] == at]
        return found


class Running:
    """A source in an event loop: what it has emitted last, by name and labels other than job and instance.

    `checks` are shown every batch; what they find wrong is kept in `wrong`.
    """

    def __init__(self, config: KafkaConfig, state: MemoryState) -> None:
        self.telemetry, self.table = Telemetry(), SeriesTable()
        self.context = Context("k", self.table, self.telemetry, SystemClock(), state)
        self.source = KafkaSource(config, self.context)
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self.ended: set[tuple[str, frozenset[tuple[str, str]]]] = set()
        self.checks: list[Callable[[dict[tuple[str, frozenset[tuple[str, str]]], float]], list[str]]] = []
        self.wrong: list[str] = []
        self._emitted, self._stop = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self.source.run(self._emit, self._stop))

    async def _emit(self, batch: Batch) -> None:
        now: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for series, value, stale in zip(batch.layout.ids, batch.value, batch.stales(), strict=True):
            labels = dict(self.table.labels(int(series)))
            assert (labels.pop("job"), labels.pop("instance")) == ("k", "test")
            key = (labels.pop("__name__"), frozenset(labels.items()))
            if stale:
                self.ended.add(key)
                self.samples.pop(key, None)
            else:
                self.samples[key] = now[key] = float(value)
        for check in self.checks:
            self.wrong += check(now)
        self._emitted.set()

    def value(self, name: str, **labels: str) -> float | None:
        """The last value of a series, None when there is none."""
        return self.samples.get((name, frozenset(labels.items())))

    async def until(self, true: Callable[[], bool]) -> None:
        """Return when something has become true by what was emitted."""
        async with asyncio.timeout(LIMIT_S):
            while not true():
                self._emitted.clear()
                await self._emitted.wait()

    async def stop(self) -> None:
        """End the source."""
        self._stop.set()
        await asyncio.wait_for(self._task, LIMIT_S)


@pytest.fixture
def live(kafka: real.Cluster) -> Iterator[Live]:
    """The broker of the session; name topics and groups after your test."""
    made = Live(kafka)
    yield made
    made.admin.close()


@pytest.fixture
def live_cluster(kafka_cluster: real.Cluster) -> Iterator[Live]:
    """Three brokers, to be killed and restarted."""
    made = Live(kafka_cluster)
    yield made
    made.admin.close()


@pytest.fixture
def watch(request: pytest.FixtureRequest) -> Iterator[Callable[..., Watch]]:
    """Begin to watch topics and groups by a pattern: on the session's broker unless `bootstrap` is given."""
    with contextlib.ExitStack() as stack:

        def start(pattern: str, bootstrap: str | None = None, **settings: Any) -> Watch:
            servers = bootstrap or request.getfixturevalue("kafka").bootstrap()
            made = Watch(servers, pattern, **settings)
            stack.callback(made.client.close)
            return made

        yield start


@pytest.fixture
async def run() -> Any:
    """Start a source with settings; it ends with the test."""
    started: list[Running] = []

    def start(state: MemoryState | None = None, **settings: Any) -> Running:
        started.append(Running(KafkaConfig(instance="test", **settings), state or MemoryState()))
        return started[-1]

    yield start
    await asyncio.gather(*(each.stop() for each in started))
    for thread in threading.enumerate():  # what waits for a silent broker must not reach into another test
        if thread.name.startswith("kafka-k"):
            await asyncio.to_thread(thread.join, LIMIT_S)


class SilentServer:
    """A server that takes connections and never says a word; `heard` is set once it was spoken to."""

    def __init__(self) -> None:
        self.address, self.heard = "", asyncio.Event()

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            self.heard.set()
        writer.close()


@pytest.fixture
async def silent_server() -> Any:
    made = SilentServer()
    server = await asyncio.start_server(made.hear, "127.0.0.1", 0)
    made.address = "{}:{}".format(*server.sockets[0].getsockname())
    yield made
    server.close()
