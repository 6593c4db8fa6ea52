"""The typed settings: one model per section of the configuration file.

Field descriptions become the reference page `docs/reference/configuration.md`.
"""

from __future__ import annotations

import socket
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from metricsmith.contracts import PartConfig
from metricsmith.journal.config import JournalConfig
from metricsmith.model.settings_types import DurationMs, FilePattern, HostName, Secret, SizeBytes
from metricsmith.model.wording import one_of
from metricsmith.net.bus_settings import Curve, Endpoint
from metricsmith.net.kafka_bus import ConsumedBus
from metricsmith.net.settings import Access
from metricsmith.packs import pack_names
from metricsmith.rules.notify.settings import NotifySettings
from metricsmith.rules.thresholds import ThresholdRule
from metricsmith.sources.bus.collection import CollectionSettings
from metricsmith.store.settings import EmbeddedConfig
from metricsmith.wire.otlp.settings import OtlpSettings
from metricsmith.wire.sample_files.settings import Compression

MINUTE_MS = 60_000
DAY_MS = 86_400_000


class Mode(StrEnum):
    """Presets of sources and sinks; the program is the same."""

    STANDALONE = "standalone"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class LogLevel(StrEnum):
    """From most to least talkative."""

    TRACE = "trace"
    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class ServiceSettings(PartConfig):
    """What this agent is."""

    type: Mode = Field(
        Mode.STANDALONE,
        description="Preset of sources and sinks; consumer when the file has a `bus` section.",
    )
    name: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        max_length=200,
        description="Name of this agent: its `instance` label.",
    )
    interval: DurationMs = Field(
        10_000, ge=100, le=DAY_MS, description="Interval of collectors that set none."
    )
    batch_size: int = Field(
        100, ge=1, le=1_000_000, description="Messages per delivery; `performance.batch_size` wins."
    )


class LoggingSettings(PartConfig):
    """How the agent logs, to standard error."""

    level: LogLevel = Field(LogLevel.INFO, description="Least severe level that is logged.")
    format: Literal["text", "json"] = Field(
        "text", description="One readable line, or one JSON object, per record."
    )


class BusSettings(PartConfig):
    """The message bus that agents share: where a producer sends and a consumer receives."""

    driver: Literal["zmq", "kafka"] = Field(
        "zmq", description="ZeroMQ at `endpoint`, or a Kafka topic at `kafka`, which several consumers share."
    )
    kafka: ConsumedBus = Field(
        default_factory=lambda: ConsumedBus(), description="Cluster, topic and consumer group."
    )
    endpoint: Endpoint = Field("tcp://localhost:11001", description="Address of the bus.")
    topics: tuple[str, ...] = Field(
        ("metrics.*",),
        min_length=1,
        max_length=1000,
        description="Topics a consumer listens to; `*` matches across dots.",
    )
    bind: bool | None = Field(
        None,
        description="Listen at the address instead of connecting; default: consumers listen, producers"
        " connect. false for both where a forwarder stands between.",
    )
    ack_endpoint: Endpoint | None = Field(
        None,
        description="Address of the acknowledged transfer between agents, such as `tcp://HOST:11002`: nothing"
        " is lost or double. A producer then sends there instead of `endpoint`, a consumer listens at both.",
    )
    curve: Curve | None = Field(None, description="Keys for authentication and encryption.")


class StorageSettings(EmbeddedConfig, Access):
    """Where samples are kept. It takes the settings of all types: the chosen one checks and uses its own."""

    type: str = Field("embedded", description="`embedded`, `influxdb`, `prometheus` or `file`.")
    url: str | None = Field(None, description="Address of the server (influxdb, prometheus).")
    write_url: str | None = Field(
        None, description="Address for remote write where it is another than that of the server (prometheus)."
    )
    headers: dict[str, Secret] = Field(
        default_factory=dict, max_length=100, description="Headers of every request (prometheus)."
    )
    database: str | None = Field(None, description="Database name (influxdb).")
    username: str | None = Field(None, description="User (influxdb, prometheus).")
    password: Secret | None = Field(
        None, description="Password; `${ENV}` or `file:PATH` keep it out of the file."
    )
    precision: Literal["ns", "us", "ms", "s"] = Field(
        "s", description="Precision of written timestamps (influxdb)."
    )
    measurement: str | None = Field(
        None, description="Measurement of a series, default `{service}_metrics` (influxdb)."
    )
    retention_policy: str | None = Field(None, description="Retention policy of the database (influxdb).")
    token: Secret | None = Field(None, description="Token instead of user and password (influxdb).")
    job_name: str | None = Field(None, description="`job` label of pushed samples (prometheus).")
    scrape_interval: DurationMs | None = Field(None, description="Interval of the push (prometheus).")
    push: bool = Field(True, description="false when the server scrapes instead (prometheus).")
    metrics_path: str = Field("/metrics", description="Where the server can scrape instead (prometheus).")
    format: Literal["json", "csv", "parquet"] = Field("json", description="File format (file).")
    rotation: Literal["hourly", "daily", "none"] = Field(
        "daily", description="When a new file is begun (file)."
    )
    compression: Compression = Field(
        False, description="true is gzip for JSON and CSV, zstd for Parquet (file)."
    )


class AlertSettings(NotifySettings):
    """Threshold rules, and who is told of alerts."""

    enabled: bool = Field(True, description="false switches all alerting off; rules still record.")
    rules: tuple[ThresholdRule, ...] = Field((), max_length=10_000, description="The rules.")


class PerformanceSettings(PartConfig):
    """Delivery to sinks; never the journal's commit."""

    batch_size: int | None = Field(None, ge=1, le=1_000_000, description="Samples per delivery.")
    flush_interval: DurationMs = Field(10_000, ge=10, description="Longest wait before a delivery.")
    worker_count: int = Field(4, ge=1, le=64, description="Concurrent sends.")
    buffer_size: int = Field(
        20_000,
        ge=1,
        le=100_000_000,
        description="Samples that each sink holds in memory: those that are sent, and those that wait for a"
        " full batch. A batch that is larger counts as full.",
    )
    compression: bool = Field(
        True, description="Compress what is sent, where the destination takes it either way."
    )
    allowed_lag: DurationMs | None = Field(
        None,
        ge=1000,
        description="The agent is not ready (`/ready`) while samples have waited longer for a sink.",
    )


class RuleSettings(PartConfig):
    """Recording and alerting rules."""

    packs: tuple[str, ...] = Field(
        (), max_length=100, description="Packs of rules that come with metricsmith, such as `kafka`."
    )
    files: tuple[FilePattern, ...] = Field(
        (),
        max_length=1000,
        description="Rule files or globs, in Prometheus' format; relative ones stand beside this file.",
    )
    interval: DurationMs = Field(
        MINUTE_MS, ge=100, le=DAY_MS, description="How often groups that set no interval are evaluated."
    )
    query_offset: DurationMs | None = Field(
        None,
        ge=0,
        le=DAY_MS,
        description="Groups that set none are evaluated as of that long ago; default 0 where samples are kept"
        " here, else the time until the store's sink has written them, and 4s.",
    )
    concurrency: int = Field(2, ge=1, le=64, description="Groups that are evaluated at once.")
    no_data: Literal["keep", "fire", "resolve"] = Field(
        "keep",
        description="What happens to an alert whose series have no samples any more, where its rule does"
        " not say; Prometheus' way is `resolve`.",
    )
    resend_delay: DurationMs = Field(
        MINUTE_MS, ge=1000, le=DAY_MS, description="A firing alert is told again after that long."
    )
    outage_tolerance: DurationMs = Field(
        60 * MINUTE_MS, ge=0, description="Pending alerts outlast a stop of the agent that is no longer."
    )
    grace: DurationMs = Field(
        MINUTE_MS,
        ge=0,
        le=DAY_MS,
        description="After a stop longer than `query.lookback`, evaluation begins that long after the start:"
        " sources deliver first.",
    )
    external_labels: dict[str, str] = Field(
        default_factory=dict, max_length=100, description="Labels that every alert that is sent has."
    )
    external_url: str = Field(
        "",
        max_length=2000,
        description="Address of this agent as people reach it, for links in alerts; default that of"
        " `server.listen`.",
    )

    @field_validator("packs")
    @classmethod
    def _known_packs(cls, packs: tuple[str, ...]) -> tuple[str, ...]:
        known = pack_names()
        if unknown := [pack for pack in packs if pack not in known]:
            raise ValueError(f"got {unknown[0]}, wanted {one_of(known)}")
        return packs


class MetricsPageSettings(PartConfig):
    """What `/metrics` shows besides the agent's own metrics."""

    collected: bool = Field(False, description="Show the last value of every collected series too.")
    prefix: str = Field(
        "",
        pattern=r"^[a-zA-Z0-9_:]*$",
        max_length=100,
        description="Put before the names of collected metrics.",
    )
    host_label: str | None = Field(
        None, max_length=200, description="Value of a `host` label on collected metrics."
    )


class QuerySettings(PartConfig):
    """Limits of PromQL queries."""

    lookback: DurationMs = Field(5 * MINUTE_MS, ge=1, description="How far an instant selector looks back.")
    timeout: DurationMs = Field(
        2 * MINUTE_MS, ge=1, description="Longest time of one query, its wait for a thread included."
    )
    max_samples: int = Field(50_000_000, ge=1, description="Most samples one query may read or hold.")
    max_series: int = Field(1_000_000, ge=1, description="Most series one query may read.")
    max_points: int = Field(10_000_000, ge=1, description="Most values in one answer.")
    max_concurrent: int = Field(4, ge=1, le=1000, description="Queries that run at once.")
    max_queued: int = Field(200, ge=0, le=100_000, description="Queries that wait; more are refused.")
    log_slower_than: DurationMs | None = Field(
        10_000, ge=0, description="Log queries that take longer; `0` logs all, `null` none."
    )
    closed_windows: bool = Field(
        False, description="Windows include the sample at their start, as in Prometheus 2."
    )
    experimental: bool = Field(
        True, description="Allow functions and modifiers that Prometheus 3 calls experimental."
    )


class LimitSettings(PartConfig):
    """How many different series are taken in. Beyond that new ones are refused, and known ones go on."""

    series: int = Field(10_000_000, ge=1, description="Most series of all sources together.")
    series_per_source: int = Field(
        2_000_000,
        ge=1,
        description="Most series of one source; what is pushed over HTTP is the source `api`.",
    )
    sources: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        max_length=10_000,
        description="Most series of single sources, by name, instead of `series_per_source`.",
    )
    expiry: DurationMs = Field(
        60 * MINUTE_MS,
        ge=1000,
        le=30 * DAY_MS,
        description="A series that did not come for this time, or twice as long at most, gives its place to"
        " another.",
    )


class ServerSettings(PartConfig):
    """The HTTP server."""

    listen: str = Field("127.0.0.1:9480", description="Address and port; loopback unless told otherwise.")
    metrics: MetricsPageSettings = Field(
        default_factory=MetricsPageSettings, description="The `/metrics` page."
    )
    max_body: SizeBytes = Field(
        32 << 20, ge=1024, description="Largest request body, before and after decompression."
    )

    allowed_hosts: tuple[HostName, ...] = Field(
        (),
        max_length=1000,
        description="Names by which browsers may ask besides addresses, `localhost` and this machine's name,"
        " such as that of a reverse proxy: `metrics.example.com`, `*.example.com`, or `*` for all.",
    )
    admin_api: bool = Field(
        False,
        description="Serve /api/v1/admin/tsdb, by which whoever reaches the agent makes snapshots and deletes"
        " series.",
    )

    @field_validator("listen")
    @classmethod
    def _address(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535 or "/" in host:
            raise ValueError(f'got "{value}", wanted HOST:PORT such as 127.0.0.1:9480')
        return value

    def address(self) -> tuple[str, int]:
        """Return host and port; an empty host means all interfaces."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]") or "0.0.0.0", int(port)

    def local_address(self) -> tuple[str, int]:
        """Return host and port by which programs of this machine reach it."""
        host, port = self.address()
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port

    def local_url(self) -> str:
        """Return the address by which programs of this machine reach it, as a URL.

        >>> ServerSettings(listen=":9480").local_url(), ServerSettings(listen="[::]:80").local_url()
        ('http://127.0.0.1:9480', 'http://[::1]:80')
        """
        host, port = self.local_address()
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Settings(PartConfig):
    """The whole configuration. `sources`, `processors` and `sinks` hold each part's own settings."""

    service: ServiceSettings = Field(default_factory=lambda: ServiceSettings())
    logging: LoggingSettings = Field(default_factory=lambda: LoggingSettings())
    server: ServerSettings = Field(default_factory=lambda: ServerSettings())
    storage: StorageSettings = Field(default_factory=lambda: StorageSettings())
    journal: JournalConfig = Field(default_factory=lambda: JournalConfig())
    query: QuerySettings = Field(default_factory=lambda: QuerySettings())
    limits: LimitSettings = Field(default_factory=lambda: LimitSettings())
    # As they stand in the file, secrets included: not for a log.
    sources: tuple[Any, ...] = Field(
        (), repr=False, max_length=10_000, description="Where samples come from."
    )
    processors: tuple[Any, ...] = Field(
        (), repr=False, max_length=1000, description="What is done to every batch, in order."
    )
    sinks: tuple[Any, ...] = Field(
        (), repr=False, max_length=1000, description="Where samples are shipped to."
    )
    rules: RuleSettings = Field(default_factory=lambda: RuleSettings())
    bus: BusSettings | None = Field(None, description="The message bus.")
    collection: CollectionSettings = Field(default_factory=lambda: CollectionSettings())
    alerts: AlertSettings = Field(default_factory=lambda: AlertSettings())
    performance: PerformanceSettings = Field(default_factory=lambda: PerformanceSettings())
    otlp: OtlpSettings = Field(default_factory=lambda: OtlpSettings())
