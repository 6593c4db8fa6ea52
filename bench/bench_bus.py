"""One producer to one consumer, both durable agents: samples/s by acknowledged transfer and as JSON.

Beside each the same bytes by a loop of bare pyzmq between two processes, which neither reads nor keeps
them. What the transfer counts is committed in the consumer's journal and acknowledged; JSON has no
acknowledgement, and what counts is what the consumer has accepted.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zmq

from common import EMPTY_AGENT, AgentProgram, table, usage, workspace
from metricsmith.config import load_file
from metricsmith.contracts import Emit
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.runtime.agent import Agent
from metricsmith.testing.programs import eventually
from metricsmith.testing.services import free_port
from metricsmith.wire.bus import MessageEncoder
from metricsmith.wire.frames.encode import FrameEncoder

STREAMS, SERVICES, METRICS = 20, 50, 20
ROUNDS = {"transfer": 400, "bus": 60}
PER_BATCH = SERVICES * METRICS
BARE_LEAST_BYTES = 200 << 20


def batches(series: SeriesTable, rounds: int) -> Iterator[Batch]:
    """Yield a batch of each stream in each round, a second apart: counters and gauges."""
    layouts = [
        Layout(
            series.intern_many(
                encode_labels({"__name__": f"metric_{m}", "service": f"service-{s}", "zone": f"z{stream}"})
                for s in range(SERVICES)
                for m in range(METRICS)
            ),
            f"stream-{stream}",
        )
        for stream in range(STREAMS)
    ]
    base_ms = int(time.time() - 3600) * 1000
    chance = np.random.default_rng(1)
    gauges = chance.uniform(0, 1000, PER_BATCH).round(3)
    for number in range(rounds):
        for layout in layouts:
            values = np.where(np.arange(PER_BATCH) % 2, gauges + number, np.arange(PER_BATCH) * number)
            yield Batch(layout, base_ms + number * 1000, values)


class Producing:
    """An agent in this process that is given batches as fast as it takes them."""

    def __init__(self, folder: Path, kind: str, address: str) -> None:
        self.kind, self.rounds = kind, ROUNDS[kind]
        folder.mkdir()
        file = folder / "producer.yaml"
        file.write_text(
            f"service: {{type: producer, name: edge}}\nstorage: {{path: '{folder / 'data'}'}}\n"
            f"bus: {{{address}}}\nsources: [{{type: self, interval: 1h}}]\n"
            "collection: {system_metrics: false, application_metrics: false}\n"
        )
        self.agent = Agent(load_file(file, {}))

    async def run(self) -> float:
        """Return the seconds from the first batch to the last one's delivery."""
        await self.agent.start(asyncio.Event())
        emit = self.agent.pipeline.emit_for("load")
        ready = next(batches(self.agent.series, 1))
        if self.kind == "bus":  # nothing is lost once the consumer has subscribed
            unheard, sink = "metricsmith_bus_messages_unheard_total", {"sink": "bus"}
            before = -1.0
            while self.agent.telemetry.value(unheard, **sink) != before:
                before = self.agent.telemetry.value(unheard, **sink)
                await emit(ready)
                await asyncio.sleep(0.5)
        await emit(ready)
        await self._until_behind(0)
        began = time.perf_counter()
        await self._feed(emit)
        await self._until_behind(0)
        return time.perf_counter() - began

    async def _feed(self, emit: Emit) -> None:
        """Hand batches on, a round of all streams side by side, no faster than they are delivered."""
        waiting: list[Batch] = []
        for batch in batches(self.agent.series, self.rounds):
            waiting.append(batch)
            if len(waiting) == 4 * STREAMS:
                await asyncio.gather(*map(emit, waiting))
                waiting.clear()
                await self._until_behind(20 * STREAMS)
        await asyncio.gather(*map(emit, waiting))

    async def _until_behind(self, most: int) -> None:
        while sum(status.behind for status in self.agent.sinks.statuses()) > most:  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def agents(folder: Path, kind: str) -> tuple[float, float]:
    """Return samples/s between two agents, and the consumer's CPU seconds a million samples."""
    port, other = free_port(), free_port()
    key = "ack_endpoint" if kind == "transfer" else "endpoint"
    bus = f"{key}: 'tcp://127.0.0.1:{port}'"
    # The consumer always listens for JSON too; elsewhere than where the transfer comes.
    both = bus if kind == "bus" else f"{bus}, endpoint: 'tcp://127.0.0.1:{other}'"
    config = f"{EMPTY_AGENT}service: {{{{type: consumer, name: centre}}}}\nbus: {{{{{both}}}}}\n"
    (folder / "consumer").mkdir()
    consumer = AgentProgram(folder / "consumer", config)
    consumer.start()
    assert consumer.process is not None
    producing = Producing(folder / "producer", kind, bus)
    samples = producing.rounds * STREAMS * PER_BATCH

    async def measure() -> float:
        before = consumer.own("metricsmith_push_samples_total", protocol=kind)
        used.append(usage(pid).cpu_s)
        spent = await producing.run()
        began = time.perf_counter()
        wanted = before + samples
        await asyncio.to_thread(
            eventually, lambda: consumer.own("metricsmith_push_samples_total", protocol=kind) >= wanted
        )
        spent += time.perf_counter() - began
        used.append(usage(pid).cpu_s)
        await producing.agent.stop()
        return spent

    pid, used = consumer.process.pid, list[float]()
    try:
        spent = asyncio.run(measure())
    finally:
        consumer.kill()
    return samples / spent, (used[1] - used[0]) / samples * 1e6


def messages(kind: str) -> list[list[bytes]]:
    """Return what goes over the wire, for a few rounds."""
    series = SeriesTable()
    found = list(batches(series, 10))
    if kind == "bus":
        encoder = MessageEncoder(series, "edge")
        return [list(message) for batch in found for message in encoder.messages(batch)]
    frames, packed = FrameEncoder(0, series, object()), []
    for number, batch in enumerate(found):
        packed += frames.encode(batch, number)
    body = b"".join(packed)
    return [[body[at : at + (1 << 20)]] for at in range(0, len(body), 1 << 20)]


def bare(kind: str) -> float:
    """Return samples/s of the same bytes by bare pyzmq, two processes, the last message answered."""
    port, sent = free_port(), messages(kind)
    repeats = BARE_LEAST_BYTES // sum(len(f) for m in sent for f in m) // (1 if kind == "transfer" else 4) + 1
    count = len(sent) * repeats
    taking = multiprocessing.get_context("spawn").Process(target=take, args=(port, count))
    taking.start()
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(f"tcp://127.0.0.1:{port}")
    socket.send(b"ready?")
    socket.recv()
    began = time.perf_counter()
    for _ in range(repeats):
        for message in sent:
            socket.send_multipart(message)
    socket.recv()
    spent = time.perf_counter() - began
    taking.join()
    socket.close()
    context.term()
    return repeats * 10 * STREAMS * PER_BATCH / spent


def take(port: int, count: int) -> None:
    """Take messages and answer the first and the last."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.bind(f"tcp://127.0.0.1:{port}")
    socket.recv()
    socket.send(b"ready")
    for _ in range(count):
        socket.recv_multipart()
    socket.send(b"done")
    socket.close()
    context.term()


def main() -> None:
    """Print one table."""
    logging.basicConfig(level=logging.WARNING)
    rows = []
    for kind, form in (("transfer", "acknowledged frames"), ("bus", "JSON")):
        with workspace() as folder:
            ours, cpu = agents(folder, kind)
        peer = bare(kind)
        rows.append((form, f"{ours:,.0f}", f"{peer:,.0f}", ours / peer, cpu))
    table(
        f"Producer to consumer, batches of {PER_BATCH:,} samples",
        ("form", "samples/s", "bare pyzmq, not kept", "ratio", "consumer CPU s a million"),
        rows,
    )


if __name__ == "__main__":
    main()
