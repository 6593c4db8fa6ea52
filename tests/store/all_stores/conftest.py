"""An agent over each store in turn; what it keeps is away from what other tests keep."""

from __future__ import annotations

import asyncio
import math
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio

from metricsmith.config import load_text
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.matchers import Matcher
from metricsmith.runtime.service import Service
from metricsmith.testing.gate import Gate
from metricsmith.testing.programs import eventually
from metricsmith.testing.services import free_port

MINUTE = 60_000
Samples = Mapping[bytes, Mapping[int, float | None]]
"""Values by time by series; None is a staleness marker."""


@dataclass(frozen=True)
class Kind:
    """A store, and where it differs from ours on purpose or by its nature."""

    type: str
    server: str = ""
    settings: str = ""
    lacks: frozenset[str] = frozenset()
    """What it cannot keep or answer: "nan", "infinite", "digits", "lines", "extrapolation"."""


KINDS = {
    "embedded": Kind("embedded"),
    "prometheus": Kind("prometheus", "prometheus", "scrape_interval: 100ms"),
    # It keeps decimal numbers of one magnitude, no NaN, and its `rate` knows no window edges.
    "victoria_metrics": Kind(
        "prometheus",
        "victoria_metrics",
        "scrape_interval: 100ms",
        frozenset({"nan", "digits", "extrapolation"}),
    ),
    # Its numbers are finite, its tags of one line.
    "influxdb": Kind("influxdb", "influxdb", "precision: ms", frozenset({"nan", "infinite", "lines"})),
    "file": Kind("file"),
}


@dataclass
class Stored:
    """An agent over a store."""

    kind: Kind
    service: Service
    url: str
    gate: Gate | None
    server: str
    http: aiohttp.ClientSession
    _streams: dict[frozenset[bytes], Layout] = field(default_factory=dict)

    async def send(self, samples: Samples) -> None:
        """Have samples accepted, one batch for each time, as sources send them."""
        agent = self.service.agent
        emit = agent.pipeline.emit_for("test")
        for time_ms in sorted({time_ms for row in samples.values() for time_ms in row}):
            row = {key: values[time_ms] for key, values in samples.items() if time_ms in values}
            ids = np.array([agent.series.intern(key) for key in row], np.uint32)
            layout = self._streams.setdefault(frozenset(row), Layout(ids))
            value = np.array([math.nan if v is None else v for v in row.values()])
            stale = np.array([v is None for v in row.values()])
            await emit(Batch(layout, time_ms, value, stale if stale.any() else None))

    async def written(self) -> None:
        """Return when all that was accepted can be read."""
        line = self.service.agent.sinks.storage_status
        await asyncio.to_thread(eventually, lambda: (now := line()) is None or not now.behind)
        if self.server == "victoria_metrics":
            await asyncio.to_thread(_get, f"{self.url}/internal/force_flush")

    async def keep(self, samples: Samples) -> None:
        """Send samples, and return when they can be read."""
        await self.send(samples)
        await self.written()

    async def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Any:
        """Return the selection of the store."""
        return await asyncio.to_thread(self.service.agent.store.select, matchers, start_ms, end_ms)

    async def ask(self, path: str, **parameters: object) -> tuple[int, Any]:
        """Return status and JSON of a page of the agent."""
        port = self.service.agent.configuration.settings.server.address()[1]
        address = f"http://127.0.0.1:{port}{path}"
        async with self.http.get(address, params={k: str(v) for k, v in parameters.items()}) as answer:
            text = await answer.text()
            return answer.status, await answer.json() if "json" in answer.content_type else text


def _get(url: str) -> None:
    with urllib.request.urlopen(url, timeout=60) as answer:
        answer.read()


@asynccontextmanager
async def _running(kind: Kind, url: str, folder: Path) -> AsyncIterator[Stored]:
    """Run an agent over a store; what it keeps is away from what those in other folders keep."""
    gate = Gate(url) if url else None
    settings = [f"type: {kind.type}", f"path: '{folder}'", kind.settings]
    if gate is not None:
        await gate.open()
        settings.append(f"url: 'http://127.0.0.1:{gate.port}'")
    settings += [f"database: 'as_{folder.name}'"] if kind.type == "influxdb" else []
    text = (
        f"server: {{listen: '127.0.0.1:{free_port()}'}}\n"
        f"storage: {{{', '.join(filter(None, settings))}}}\n"
        "performance: {flush_interval: 20ms}\n"
        "sources: [{type: self, interval: 1h}]\n"  # only what tests send is on its way
    )
    service = Service(load_text(text, "", {}))
    running = asyncio.create_task(service.run())
    await asyncio.wait_for(service.agent.started.wait(), 60)
    try:
        async with aiohttp.ClientSession() as http:
            yield Stored(kind, service, url, gate, kind.server, http)
    finally:
        service.request_stop()
        await running
        if gate is not None:
            await gate.shut()


@pytest.fixture(scope="module", params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each store in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def url(name: str, request: pytest.FixtureRequest) -> str:
    """The address of the store's server; empty without one."""
    server = KINDS[name].server
    return str(request.getfixturevalue(server).url) if server else ""


@pytest.fixture
def start(name: str, url: str, tmp_path: Path) -> Callable[[], Any]:
    """Start an agent of the test's own over the store; another goes on with what it kept."""
    return lambda: _running(KINDS[name], url, tmp_path)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stored(name: str, url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stored]:
    """An agent over each store in turn; each test has metrics of its own there."""
    async with _running(KINDS[name], url, tmp_path_factory.mktemp(name)) as found:
        yield found


@pytest.fixture
def base_ms(stored: Stored) -> int:
    """A whole minute of which all stores still take samples, and half an hour after it is past."""
    return (stored.service.agent.clock.now_ms() - 31 * MINUTE) // MINUTE * MINUTE
