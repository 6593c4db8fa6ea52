"""A running application over the real store and engine, and ways to ask it."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import orjson
import pytest
import uvicorn

from metricsmith.api.app import AgentStatus, ApiContext, MetricsPage, create_app
from metricsmith.contracts import Context, Delivery
from metricsmith.delivery.desk import Desk
from metricsmith.delivery.quarantine import Quarantine
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.left_out import LeftOut
from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.promql.engine import Engine, EngineConfig
from metricsmith.store.embedded import EmbeddedStore
from metricsmith.store.settings import EmbeddedConfig
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.services import Server, free_port
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request

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
            ids = self.context.series.intern_many([series_key(text)])
            for ago_s, value in samples:
                batch = Batch(
                    Layout(ids.copy(), None, metadata or {}), NOW_MS - round(ago_s * 1000), np.array([value])
                )
                self.sequence += 1
                self.store.apply(batch, self.sequence)

    def end(self, series: Mapping[str, float]) -> None:
        """Put staleness markers into the store: series → seconds before now."""
        for text, ago_s in series.items():
            ids = self.context.series.intern_many([series_key(text)])
            marker = np.array([np.nan]), np.array([True])
            self.sequence += 1
            self.store.apply(
                Batch(Layout(ids.copy(), None, {}), NOW_MS - round(ago_s * 1000), *marker), self.sequence
            )

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


@dataclass
class Peer:
    """A real server that is asked the same."""

    url: str

    def ask(self, path: str, parameters: Mapping[str, Any]) -> tuple[int, Any]:
        """Return status and JSON document of a GET under /api/v1."""
        status, _, body = self.send("GET", f"/api/v1/{path}?{urlencode(parameters, doseq=True)}")
        return status, orjson.loads(body)

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        request = urllib.request.Request(self.url + path, body, dict(headers or {}), method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def write(self, series: Mapping[str, list[tuple[float, float]]], now_ms: int = NOW_MS) -> None:
        """Remote-write samples, given as to `Api.write`; a value with the stale bits is a marker."""
        samples = [sample for each in series.values() for sample in each]
        body = encode_write_request(
            [encode_series_labels(series_key(text)) for text in series],
            [len(each) for each in series.values()],
            np.array([now_ms - round(ago_s * 1000) for ago_s, _ in samples], dtype=np.int64),
            np.array([value for _, value in samples]),
        )
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        status, _, text = self.send("POST", "/api/v1/write", body, headers)
        assert status in (204, 400), text  # 400: another test has sent them before


@pytest.fixture(scope="session")
def make_peer() -> Callable[[str], Peer]:
    """Return what asks a server of another address."""
    return Peer


@pytest.fixture
def peer(prometheus: Server) -> Peer:
    """The real Prometheus."""
    return Peer(prometheus.url)


def series_key(text: str) -> bytes:
    """Return the key of a series written as `name|label=value`."""
    name, *pairs = text.split("|")
    return encode_labels({"__name__": name} | dict(pair.split("=", 1) for pair in pairs))


@pytest.fixture
def make_api(tmp_path: Path) -> Any:
    """Return a function that makes an application over a store of its own."""
    made: list[EmbeddedStore] = []

    def make(query: EngineConfig | None = None, **changes: Any) -> Api:
        clock, series = FakeClock(NOW_MS), SeriesTable()
        telemetry = Telemetry(clock)
        store = EmbeddedStore(
            EmbeddedConfig(path=str(tmp_path / f"store{len(made)}")),
            Context("store", series, telemetry, clock),
        )
        made.append(store)
        state: dict[str, Any] = {
            "accepted": 0,
            "limited": 0,  # samples said to be left out at limits on series
            "not_ready": "",
            "page": MetricsPage(),
            "serving": True,
        }
        sequence = iter(range(1_000_000, 10**9))

        async def emit(batch: Batch) -> LeftOut:
            if "refuse" in state:
                raise state["refuse"]
            kept = store.admit(batch)
            store.apply(kept, next(sequence))
            state["accepted"] += len(kept)
            return LeftOut(len(batch) - len(kept), state["limited"])

        async def reload() -> None:
            if "bad_config" in state:
                raise state["bad_config"]

        defaults: dict[str, Any] = {
            "store": store,
            "status": lambda: AgentStatus(
                "standalone", "<demo>", 9_000_000, state["accepted"], ("shop",), state["serving"]
            ),
            "not_ready": lambda: state["not_ready"],
            "metrics_page": lambda: state["page"],
            "journal_bytes": lambda: 2 << 20,
        }
        context = ApiContext(
            engine=Engine(store, query, clock),
            emit=emit,
            series=series,
            telemetry=telemetry,
            clock=clock,
            reload=reload,
            **{**defaults, **changes},
        )
        return Api(context, store, clock, state)

    yield make
    for store in made:
        store.close(flush=False)


class Willing:
    """A line of delivery that takes all."""

    async def send_now(self, delivery: Delivery) -> str:
        return ""

    def forget_refused(self) -> None:
        pass


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A sink `far`, that has refused something twice."""
    series, clock = SeriesTable(), FakeClock()
    quarantine = Quarantine(tmp_path / "quarantine", series, clock)
    layout = Layout(series.intern_many([b"x"]))
    for _ in range(2):
        quarantine.put("far", Delivery([0], [Batch(layout, clock.now_ms(), np.ones(1))]), "because")
    lines: Any = {"far": Willing()}
    return Desk(lines, quarantine, Context("sinks", series, Telemetry(), clock))


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    """An application with default limits over an empty store."""
    return make_api()


Call = Callable[..., Awaitable[Answer]]
