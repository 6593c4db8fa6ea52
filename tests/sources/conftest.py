"""Real loopback servers, a clock that stands still, and a recorder of what a source emits."""

from __future__ import annotations

import asyncio
import math
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from metricsmith.contracts import Context
from metricsmith.model.batch import Batch
from metricsmith.model.labels import format_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sources.scrape import ScrapeSource
from metricsmith.testing.clock import FakeClock

WAIT_S = 60.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Recorder:
    """Takes batches as the journal would; `refuse` is raised instead while it is set."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._batches: asyncio.Queue[Batch] = asyncio.Queue()
        self.refuse: Exception | None = None

    async def emit(self, batch: Batch) -> None:
        once = len(set(batch.layout.ids.tolist())) == len(batch)
        assert once or batch.layout.stream is None, "a stream's batch names each series once"
        await self._batches.put(batch)
        if self.refuse is not None:
            raise self.refuse

    async def batch(self) -> Batch:
        return await asyncio.wait_for(self._batches.get(), WAIT_S)

    def waiting(self) -> int:
        return self._batches.qsize()

    def read(self, batch: Batch) -> dict[str, Any]:
        """Series text → value, or "stale"; a NaN is "nan", so that readings can be compared."""
        values: list[Any] = ["nan" if math.isnan(v) else v for v in batch.value.tolist()]
        named = [format_labels(self._context.series.labels(i)) for i in batch.layout.ids.tolist()]
        return {
            name: "stale" if stale else value
            for name, value, stale in zip(named, values, batch.stales().tolist(), strict=True)
        }


class Scraping:
    """A running scrape source, its clock in the test's hand."""

    def __init__(self, source: ScrapeSource, context: Context, clock: FakeClock, recorder: Recorder) -> None:
        self.source = source
        self.context = context
        self.clock = clock
        self.recorder = recorder

    async def due(self, sleepers: int = 1) -> None:
        """Wait until everything rests, then move to the next due time."""
        await asyncio.wait_for(self.clock.sleeping(sleepers), WAIT_S)
        self.clock.advance(self.clock.next_wake_s())

    async def batch(self, sleepers: int = 1) -> Batch:
        """Let the next scrape happen and return its batch."""
        await self.due(sleepers)
        return await self.recorder.batch()

    async def reading(self, sleepers: int = 1) -> dict[str, Any]:
        """Let the next scrape happen and return what it emitted, as text."""
        return self.recorder.read(await self.batch(sleepers))

    def counted(self, name: str, **labels: str) -> float:
        return self.context.telemetry.value(name, **labels)

    def failures(self, reason: str) -> float:
        return self.counted("metricsmith_scrape_failures_total", source="shop", reason=reason)


@pytest.fixture
def clock() -> FakeClock:
    # Not at a multiple of anything: no target is due the moment it is started.
    return FakeClock(1_700_000_000_037)


@pytest.fixture
def context(clock: FakeClock) -> Context:
    return Context("shop", SeriesTable(), Telemetry(clock), clock)


@pytest.fixture
def recorder(context: Context) -> Recorder:
    return Recorder(context)


Scrape = Callable[..., Any]


@pytest.fixture
def scraping(context: Context, clock: FakeClock, recorder: Recorder) -> Scrape:
    """Run a scrape source with the given settings within a block."""

    @asynccontextmanager
    async def run(**settings: Any) -> AsyncIterator[Scraping]:
        stop = asyncio.Event()
        source = ScrapeSource(ScrapeSource.Config.model_validate(settings), context)
        task = asyncio.create_task(source.run(recorder.emit, stop))
        try:
            yield Scraping(source, context, clock, recorder)
        finally:
            stop.set()
            await asyncio.wait_for(task, WAIT_S)

    return run


Serve = Callable[..., Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve a text, or whatever a handler answers, on every path; return the address."""
    runners: list[web.AppRunner] = []

    async def start(answer: str | Handler, tls: ssl.SSLContext | None = None) -> str:
        async def handle(request: web.Request) -> web.StreamResponse:
            return web.Response(text=answer) if isinstance(answer, str) else await answer(request)

        app = web.Application()
        app.router.add_get("/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        scheme = "https" if tls else "http"
        return f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


@dataclass(frozen=True)
class Authority:
    """Certificates for `shop.test` (not for 127.0.0.1), and one for a client."""

    ca: Path
    cert: Path
    key: Path


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("tls")
    found = Authority(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]

    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=folder)

    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", found.ca, "-subj", "/CN=test authority")
    openssl("req", *curve[:-2], "-keyout", found.key, "-out", "request.pem", "-subj", "/CN=shop.test")
    (folder / "names").write_text("subjectAltName=DNS:shop.test\n")
    openssl(
        *("x509", "-req", "-in", "request.pem", "-CA", found.ca, "-CAkey", "ca.key", "-CAcreateserial"),
        *("-days", "2", "-extfile", "names", "-out", found.cert),
    )
    return found
