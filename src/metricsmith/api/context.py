"""What the API needs of the agent. The runtime fills it in; the API changes nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from metricsmith.delivery.desk import Desk
from metricsmith.delivery.status import SinkStatus
from metricsmith.model.arrays import F64
from metricsmith.model.batch import Batch
from metricsmith.model.clock import Clock
from metricsmith.model.health import Check
from metricsmith.model.host_names import AllowedHosts
from metricsmith.model.left_out import LeftOut
from metricsmith.model.matchers import Matcher
from metricsmith.model.metadata import Metadata
from metricsmith.model.rules import GroupView
from metricsmith.model.series import SeriesTable
from metricsmith.model.targets import PoolStatus
from metricsmith.model.telemetry import Telemetry
from metricsmith.promql.engine import Engine
from metricsmith.rules.backfill import BackfillAnswer, BackfillRequest
from metricsmith.rules.notify.line import DestinationStatus
from metricsmith.rules.notify.refused import Refused
from metricsmith.sources.bus.recent import RecentMessage
from metricsmith.sources.bus.seen import SeenTopic
from metricsmith.sources.pushgateway.source import PushgatewaySource
from metricsmith.store_contracts import QueryEngine, Readable
from metricsmith.wire.otlp.settings import OtlpSettings

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Replay:
    """How far the replay of the journal is: sequence numbers, and Prometheus' word for the state."""

    first: int = 0
    end: int = 0
    current: int = 0
    state: Literal["waiting", "in progress", "done"] = "done"


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """What `/status` and Prometheus' status API show of the agent.

    `serving` is false while the journal is replayed and while the agent stops:
    answers would be incomplete then, so queries and pushes are refused.
    `config_ms` is when the configuration was taken, `reload_failed_ms` when a
    newer one was last refused, None when none was since. `warnings` are what
    somebody should look into although the agent works. `storage` is the sink
    that writes the store, where one does, and `last_sample_ms` the newest time accepted.
    """

    mode: str
    name: str
    uptime_ms: int
    samples_accepted: int
    sources: tuple[str, ...] = ()
    serving: bool = True
    config_ms: int = 0
    reload_failed_ms: int | None = None
    replay: Replay = Replay()
    warnings: tuple[str, ...] = ()
    sinks: tuple[SinkStatus, ...] = ()
    storage: SinkStatus | None = None
    last_sample_ms: int | None = None


class LastSamples(Protocol):
    """The last value of every series that passes. From any thread."""

    def since(self, start_ms: int) -> tuple[list[bytes], F64]:
        """Return keys and values of the series that have not ended, and have a sample since a time."""
        ...

    def metadata(self) -> Mapping[str, Metadata]:
        """Return what is known of their families."""
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of the store: a folder under `snapshots/` of the data directory, and what is in it."""

    name: str
    path: str
    blocks: int
    samples: int
    bytes: int


class StoreAdmin(Protocol):
    """What operators can have done to a store of this machine."""

    async def snapshot(self, skip_head: bool) -> Snapshot:
        """Make a snapshot of what was accepted before; with `skip_head`, of what is in blocks.

        Raises:
            DiskFull: recent samples cannot be written; there is none.
            StoreError: there is none.
        """
        ...

    async def delete_series(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> int:
        """Delete what was accepted before, in the closed range; return of how many series.

        Raises:
            DiskFull: recent samples cannot be written; nothing is deleted.
            StoreError: nothing is deleted.
        """
        ...


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """What `/metrics` shows besides the agent's own metrics."""

    collected: bool = False
    prefix: str = ""
    host_label: str | None = None


@dataclass(frozen=True, slots=True)
class ApiLimits:
    """Bounds on requests.

    `max_bodies_bytes` is for all bodies that are held at one time, `max_answers_bytes`
    for all answers until they are read; `max_age_ms` is the store's retention: older
    samples would not be kept. `query_timeout_s` counts from arrival; queries that
    took `log_slower_than_s` are logged, none when it is None. Samples older
    than `lookback_ms` are not of the present.
    """

    max_body_bytes: int = 32 << 20
    max_bodies_bytes: int = 256 << 20
    max_answers_bytes: int = 256 << 20
    max_steps: int = 11_000
    max_age_ms: int = 30 * DAY_MS
    max_ahead_ms: int = 600_000
    concurrent_queries: int = 4
    queued_queries: int = 200
    query_timeout_s: float = 120.0
    log_slower_than_s: float | None = 10.0
    lookback_ms: int = 300_000


async def _no_checks() -> Sequence[Check]:
    return ()


async def _no_backfill(request: BackfillRequest) -> BackfillAnswer:
    return BackfillAnswer(0, 0, None)


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The agent as the API sees it.

    `emit` is for what is pushed to the API, and tells what of it is left out. `not_ready`
    returns why the agent cannot serve yet or now, and an empty text when it can,
    `checks` what a probe is told besides. `reload` raises
    `ConfigError` with every problem when the new configuration cannot be used.
    `metrics_page` is asked at each request, so that a reload changes it.
    `journal_bytes` returns what the journal takes on disk beside the store, `pools`
    the targets of each source that scrapes, `pushgateway` who keeps pushed groups,
    `topics` those seen on the bus, None without a bus, `bus_messages` the last after a
    number, `rule_groups` the rules with their alerts,
    `server` evaluates the expressions of clients where the store is a server that does,
    `last` has the last values where the store is elsewhere, which `metrics_path` shows, too,
    `destinations` who is told of alerts, `refused` what they refused,
    `sinks` what people can do with sinks, `admin` what operators can do to a store of this
    machine, if `admin_allowed`, `settings` the configuration as plain data
    without secrets, `hosts` by which names the agent may be asked.
    """

    store: Readable
    engine: Engine
    emit: Callable[[Batch], Awaitable[LeftOut]]
    series: SeriesTable
    telemetry: Telemetry
    clock: Clock
    status: Callable[[], AgentStatus]
    reload: Callable[[], Awaitable[None]]
    not_ready: Callable[[], str]
    checks: Callable[[], Awaitable[Sequence[Check]]] = _no_checks
    metrics_page: Callable[[], MetricsPage] = MetricsPage
    journal_bytes: Callable[[], int] = int
    pools: Callable[[], Sequence[PoolStatus]] = tuple
    pushgateway: Callable[[], PushgatewaySource | None] = lambda: None
    topics: Callable[[], Sequence[SeenTopic] | None] = tuple
    bus_messages: Callable[[int | None], tuple[int, Sequence[RecentMessage]]] = lambda after: (after or 0, ())
    rule_groups: Callable[[], Sequence[GroupView]] = tuple
    backfill: Callable[[BackfillRequest], Awaitable[BackfillAnswer]] = _no_backfill
    destinations: Callable[[], Sequence[DestinationStatus]] = tuple
    refused: Callable[[], Sequence[Refused]] = tuple
    server: QueryEngine | None = None
    last: LastSamples | None = None
    metrics_path: str = "/metrics"
    sinks: Desk | None = None
    admin: StoreAdmin | None = None
    admin_allowed: bool = False
    settings: Callable[[], Mapping[str, Any]] = dict
    hosts: AllowedHosts = field(default_factory=lambda: AllowedHosts("127.0.0.1"))
    limits: ApiLimits = field(default_factory=ApiLimits)
    otlp: OtlpSettings = field(default_factory=OtlpSettings)
