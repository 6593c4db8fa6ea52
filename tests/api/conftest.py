"""A running application over the real store and engine, and ways to ask it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
import uvicorn

from metricsmith.api.app import AgentStatus, ApiContext, ApiLimits, MetricsPage, create_app
from metricsmith.contracts import Context
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.promql.engine import Engine, EngineConfig
from metricsmith.store.embedded import EmbeddedStore
from metricsmith.store.settings import EmbeddedConfig
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.services import free_port

NOW_MS = 1_700_000_000_000


@dataclass
class Answer:
    """What the application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def data(self) -> Any:
        assert self.status == 200, self.body
        return self.json["data"]


@dataclass
class Api:
    """The application, called directly, without a socket."""

    context: ApiContext
    store: EmbeddedStore
    clock: FakeClock
    state: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.app = create_app(self.context)
        self.sequence = 0

    def write(
        self, series: Mapping[str, list[tuple[float, float]]], metadata: Mapping[str, Metadata] | None = None
    ) -> None:
        """Put samples into the store: PromQL-like `name|label=value` → [(seconds before now, value)]."""
        for text, samples in series.items():
            name, *pairs = text.split("|")
            labels = {"__name__": name} | dict(pair.split("=", 1) for pair in pairs)
            ids = self.context.series.intern_many([encode_labels(labels)])
            for ago_s, value in samples:
                import numpy as np

                batch = Batch(
                    Layout(ids.copy(), None, metadata or {}), NOW_MS - round(ago_s * 1000), np.array([value])
                )
                self.sequence += 1
                self.store.apply(batch, self.sequence)

    async def get(self, path: str, headers: Mapping[str, str] | None = None, **parameters: Any) -> Answer:
        query = urlencode(parameters, doseq=True).encode()
        return await self.call("GET", path, query=query, headers=headers)

    async def form(self, path: str, **parameters: Any) -> Answer:
        body = urlencode(parameters, doseq=True).encode()
        return await self.call("POST", path, body, {"content-type": "application/x-www-form-urlencoded"})

    async def post(self, path: str, document: Any) -> Answer:
        body = document if isinstance(document, bytes) else orjson.dumps(document)
        return await self.call("POST", path, body, {"content-type": "application/json"})

    async def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        query: bytes = b"",
    ) -> Answer:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query,
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in (headers or {}).items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 9480),
        }
        incoming = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            if not incoming:
                await asyncio.Event().wait()  # the client stays
            return incoming.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        answered = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        content = b"".join(m.get("body", b"") for m in sent[1:])
        if method != "HEAD" and "content-length" in answered:
            assert int(answered["content-length"]) == len(content)
        return Answer(sent[0]["status"], answered, content)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Serve the application on a free port; yields its address."""
        port = free_port()
        config = uvicorn.Config(self.app, host="127.0.0.1", port=port, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        sockets = [config.bind_socket()]
        sockets[0].listen(100)
        serving = asyncio.create_task(server._serve(sockets))
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        await serving
        for each in sockets:
            each.close()


@pytest.fixture
def make_api(tmp_path: Path) -> Any:
    """Return a function that makes an application over a store of its own."""
    made: list[EmbeddedStore] = []

    def make(**changes: Any) -> Api:
        clock, series = FakeClock(NOW_MS), SeriesTable()
        telemetry = Telemetry(clock)
        store = EmbeddedStore(
            EmbeddedConfig(path=str(tmp_path / f"store{len(made)}")),
            Context("store", series, telemetry, clock),
        )
        made.append(store)
        state: dict[str, Any] = {
            "accepted": 0,
            "not_ready": "",
            "page": MetricsPage(),
            "serving": True,
        }
        sequence = iter(range(1_000_000, 10**9))

        async def emit(batch: Batch) -> None:
            if "refuse" in state:
                raise state["refuse"]
            store.apply(batch, next(sequence))
            state["accepted"] += len(batch)

        async def reload() -> None:
            if "bad_config" in state:
                raise state["bad_config"]

        context = ApiContext(
            store=store,
            engine=Engine(store, EngineConfig(), clock),
            emit=emit,
            series=series,
            telemetry=telemetry,
            clock=clock,
            status=lambda: AgentStatus(
                "standalone", "<demo>", 9_000_000, state["accepted"], ("shop",), state["serving"]
            ),
            reload=reload,
            not_ready=lambda: state["not_ready"],
            metrics_page=lambda: state["page"],
            journal_bytes=lambda: 2 << 20,
            **{"limits": ApiLimits(), **changes},
        )
        return Api(context, store, clock, state)

    yield make
    for store in made:
        store.close(flush=False)


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    """An application with default limits over an empty store."""
    return make_api()


Call = Callable[..., Awaitable[Answer]]
