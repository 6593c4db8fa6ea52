"""A receiver that answers as it is told to, notifiers over any state, and notifications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from metricsmith.contracts import Context, State
from metricsmith.model.series import SeriesTable
from metricsmith.model.state import MemoryState
from metricsmith.model.telemetry import Telemetry
from metricsmith.rules.model import AlertingRule, Notification
from metricsmith.rules.notify.notifier import Notifier
from metricsmith.rules.notify.settings import NotifySettings
from metricsmith.runtime.state import StateFile
from metricsmith.testing.clock import FakeClock


@dataclass(frozen=True)
class Got:
    """A request that came in."""

    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def key(self) -> str:
        return self.headers["Idempotency-Key"]


@dataclass
class Receiver:
    """Answers requests by a list of words, and well when the list has come to its end."""

    url: str = ""
    answers: list[str] = field(default_factory=list)
    got: list[Got] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def requests(self, count: int) -> list[Got]:
        """Return the first requests as soon as there are so many."""
        async with self._more:
            await self._more.wait_for(lambda: len(self.got) >= count)
        return self.got[:count]

    async def until(self, there: Callable[[list[Got]], bool]) -> list[Got]:
        """Return the requests as soon as they fulfil a condition."""
        async with self._more:
            await self._more.wait_for(lambda: there(self.got))
        return self.got

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        async with self._more:
            self.got.append(Got(request.path, request.headers.copy(), body))
            self._more.notify_all()
        return await self._answer(request, self.answers.pop(0) if self.answers else "200")

    async def _answer(self, request: web.Request, answer: str) -> web.StreamResponse:
        assert request.transport is not None
        match answer.split():
            case ["reset"]:
                request.transport.abort()
            case ["garbage"]:
                request.transport.write(b"\0\1 this is no HTTP\r\n\r\n")  # type: ignore[attr-defined]
                request.transport.close()
            case ["redirect"]:
                return web.Response(status=307, headers={"Location": "/elsewhere"})
            case ["slow"]:
                await self.released.wait()
            case ["endless", status]:
                return await _endless(request, int(status))
            case [status, wait]:
                return web.Response(status=int(status), headers={"Retry-After": wait.replace("_", " ")})
            case [status]:
                return web.Response(status=int(status), text="as told")
        return web.Response()


async def _endless(request: web.Request, status: int) -> web.StreamResponse:
    response = web.StreamResponse(status=status)
    await response.prepare(request)
    try:
        while True:
            await response.write(b"x" * 65536)
    except ConnectionError:
        return response


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A server on loopback that takes every POST."""
    found = Receiver()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/{path:.*}", found.handle)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    found.released.set()
    await runner.cleanup()


@dataclass
class Office:
    """Makes notifiers one after another over the same state, as restarts do."""

    state: State
    clock: Any
    telemetry: Telemetry

    def notifier(self, settings: NotifySettings, **options: Any) -> Notifier:
        context = Context("alerts", SeriesTable(), self.telemetry, self.clock, self.state)
        return Notifier(settings, context, **options)

    def tell(self, notifier: Notifier, *notifications: Notification) -> Mapping[str, bytes]:
        """Do what the evaluation of rules does; return what was kept."""
        entries = notifier.prepare(notifications)
        self.state.commit(entries)
        notifier.release(entries)
        return entries

    @asynccontextmanager
    async def running(self, notifier: Notifier) -> AsyncIterator[Notifier]:
        stop = asyncio.Event()
        task = asyncio.create_task(notifier.run(stop))
        try:
            yield notifier
        finally:
            stop.set()
            await task

    async def pass_time(self) -> None:
        """Let everybody who waits for a while wait no longer: the one who tidies up, and a retry."""
        while True:
            await self.clock.sleeping(2)
            self.clock.advance(self.clock.next_wake_s())
            await asyncio.sleep(0)

    async def all_told(self) -> None:
        """Let time pass until nothing waits: on a busy machine a good answer may be too late as well."""
        passing = asyncio.create_task(self.pass_time())
        while self.waiting():  # noqa: ASYNC110 the state tells nobody when it changes
            await asyncio.sleep(0)
        passing.cancel()

    def waiting(self) -> list[str]:
        """The keys that wait in the state."""
        return [key for key, _ in self.state.items("outbox/waiting/")]

    def dropped(self, destination: str, reason: str) -> float:
        name = "metricsmith_notifications_dropped_total"
        return self.telemetry.value(name, destination=destination, reason=reason)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def office(clock: FakeClock) -> Office:
    return Office(MemoryState(), clock, Telemetry(clock))


@pytest.fixture
def office_on_disk(tmp_path: Path, clock: FakeClock) -> Iterator[Office]:
    file = StateFile(tmp_path / "state.sqlite")
    yield Office(file.of("rules"), clock, Telemetry(clock))
    file.close()


Tell = Callable[..., Notification]


@pytest.fixture
def alert(clock: FakeClock) -> Tell:
    """Make notifications: of an alert that fires now, unless told otherwise."""

    def make(
        name: str = "HighCpu",
        *,
        resolved: bool = False,
        starts_ms: int | None = None,
        value: float = 85.2,
        threshold: float | None = 80.0,
        webhook_url: str | None = None,
        annotations: Mapping[str, str] | None = None,
        **labels: str,
    ) -> Notification:
        now_ms = clock.now_ms()
        rule = AlertingRule(name, "cpu > 80", webhook_url=webhook_url, threshold=threshold)
        return Notification(
            rule,
            {"alertname": name, **labels},
            {"message": "CPU usage is above 80%"} if annotations is None else annotations,
            value,
            resolved,
            now_ms if starts_ms is None else starts_ms,
            now_ms if resolved else now_ms + 240_000,
            now_ms,
            threshold=threshold,
        )

    return make
