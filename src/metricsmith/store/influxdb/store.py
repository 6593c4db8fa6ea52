"""An InfluxDB as a store: what `store_contracts.Delivered` asks of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from metricsmith.contracts import Context
from metricsmith.errors import MetricsmithError
from metricsmith.model.findings import Findings
from metricsmith.model.labels import decode_labels
from metricsmith.model.matchers import Matcher
from metricsmith.model.metadata import Metadata
from metricsmith.model.selection import Selection
from metricsmith.model.series import SeriesTable
from metricsmith.store.examination import examine_store
from metricsmith.store.index import SeriesIndex
from metricsmith.store.influxdb.pages import disk_bytes, policies, series_count
from metricsmith.store.influxdb.selecting import LAST_MS, Reader
from metricsmith.store.influxdb.server import NoDatabase, Server
from metricsmith.store.influxdb.settings import InfluxdbConfig
from metricsmith.store_contracts import Cardinality, StoreStatus
from metricsmith.wire.influxql import identifier
from metricsmith.wire.line_protocol_places import Places

T = TypeVar("T")
TIMEOUT_S = 120.0
SHORT_S = 5.0
RECENT_MS = 3_600_000


class InfluxdbStore:
    """Reads an InfluxDB by InfluxQL, from any thread; metadata are not kept there."""

    Config: ClassVar[type[InfluxdbConfig]] = InfluxdbConfig

    @classmethod
    async def examine(cls, config: InfluxdbConfig, context: Context, findings: Findings) -> None:
        """Ask the server."""
        await examine_store(cls(config, context), findings)

    def __init__(self, config: InfluxdbConfig, context: Context) -> None:
        self._config, self._clock = config, context.clock
        self._server = Server(config, context)
        self._places = Places(config.measurement)

    def written_by(self) -> tuple[str, Mapping[str, Any]]:
        """Return the sink that writes what this store reads: its type and settings."""
        return "influxdb", self._config.sink()

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        """Return all samples of the matching series in the closed range [start_ms, end_ms]."""
        return self._reader().select(matchers, start_ms, end_ms, limit)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[bytes]:
        """Return the sorted keys of matching series that have samples in the range."""
        return self._reader().series(matchers, start_ms, end_ms)

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the sorted label names of those series; without conditions, of all that there are."""
        if not matchers:
            return self._reader().label_names()
        return sorted({n for key in self.series(matchers, start_ms, end_ms) for n in decode_labels(key)})

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the sorted values of a label in those series; without conditions, in all that there are."""
        if not matchers:
            return self._reader().label_values(name)
        keys = self.series(matchers, start_ms, end_ms)
        return sorted({value for key in keys if (value := decode_labels(key).get(name))})

    def metadata(self) -> Mapping[str, Metadata]:
        """Return nothing: types and help are not kept in InfluxDB."""
        return {}

    def status(self) -> StoreStatus:
        """Return what the server tells of itself; where it is away, why."""
        detail, error, retention_ms = "", False, None
        series, size = None, None
        try:
            retention_ms = self._retention_ms()
            statement = f"SHOW SERIES CARDINALITY ON {self._database()}"
            series = self._short(statement, series_count, may_lack=True)
            size = self._short("SHOW STATS", lambda b: disk_bytes(b, self._config.database), may_lack=True)
        except NoDatabase:
            detail = f"the database {self._config.database} is not there yet; the first samples create it"
        except MetricsmithError as failure:
            detail, error = str(failure), True
        return StoreStatus(
            type="influxdb",
            status="error" if error else "connected",
            database=self._config.database,
            retention_ms=retention_ms,
            disk_usage_bytes=size,
            series=series,
            blocks=None,
            head_samples=None,
            last_sample_ms=None,
            detail=detail,
        )

    def cardinality(self, limit: int) -> Cardinality:
        """Return counts over the series of the last hour, of each kind the `limit` largest."""
        now_ms = self._clock.now_ms()
        table = SeriesTable()
        recent = table.intern_many(self.series([], now_ms - RECENT_MS, LAST_MS))
        found = SeriesIndex(table).cardinality(recent, limit)
        return replace(found, first_ms=now_ms - RECENT_MS, last_ms=now_ms)

    def close(self) -> None:
        """Close the connections; queries that run end."""
        self._server.close()

    def _reader(self) -> Reader:
        return Reader(self._server, self._config, self._places, self._clock, TIMEOUT_S)

    def _retention_ms(self) -> int | None:
        """Return how long the policy keeps points; None for ever, or where it is not there."""
        wanted = self._config.retention_policy
        found = self._short(f"SHOW RETENTION POLICIES ON {self._database()}", policies)
        ours = [policy for policy in found if (policy.name == wanted if wanted else policy.default)]
        return (ours[0].duration_ms or None) if ours else None

    def _database(self) -> str:
        return identifier(self._config.database)

    def _short(self, statement: str, decode: Callable[[bytes], T], may_lack: bool = False) -> T:
        return self._server.ask(statement, decode, timeout_s=SHORT_S, may_lack=may_lack)
