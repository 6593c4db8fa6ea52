"""One-shot readings of a Kafka cluster: what the `kafka` source reads, without an agent around it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from metricsmith.contracts import Context
from metricsmith.model.clock import SystemClock
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sources.kafka.admin import Trouble
from metricsmith.sources.kafka.client import Client, KafkaUnavailable
from metricsmith.sources.kafka.metrics import Sheet
from metricsmith.sources.kafka.observer import Observer
from metricsmith.sources.kafka.parts import ClusterPart, ConfigsPart, LogDirsPart
from metricsmith.sources.kafka.scan import Budget
from metricsmith.sources.kafka.settings import KafkaConfig
from metricsmith.sources.kafka.tombstone_counts import Mode, TombstoneCount
from metricsmith.sources.kafka.tombstone_part import tombstones_sheet
from metricsmith.sources.kafka.tombstones import TombstoneScan

Progress = Callable[[float, float], None]
"""Told how much is done, of how much."""
READINGS = 6
"""So many readings of an observation: a trend with an interval needs four."""
LEAST_SPACING_S = 1.0
_SOURCE_LOG = logging.getLogger("metricsmith.sources.kafka")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The samples of one reading, by metric name and label values in the declared order."""

    time_ms: int
    values: Mapping[tuple[str, ...], float]

    def of(self, name: str) -> Iterator[tuple[tuple[str, ...], float]]:
        """Yield label values and value of each sample of a metric."""
        return ((key[1:], value) for key, value in self.values.items() if key[0] == name)

    def with_tombstones(self, counts: Sequence[TombstoneCount]) -> Snapshot:
        """Return the snapshot with the results of a check."""
        return Snapshot(self.time_ms, {**self.values, **_values([tombstones_sheet(counts)])})


class KafkaSession:
    """A connection to one cluster that reads when asked; readings add up to a history while it lasts.

    `remarks` are the troubles since they were last taken: what could not be read, and why.
    """

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._context = Context("kafka", SeriesTable(), Telemetry(), SystemClock())
        self._client: Client | None = None
        self._remarks: dict[str, None] = {}
        now_ms = self._context.clock.now_ms
        self._observer = observer = Observer(config, self._context.state, now_ms)
        self._configs = ConfigsPart(config, observer, self._trouble)
        self._log_dirs = LogDirsPart(config, observer, self._trouble, now_ms)
        self._cluster = ClusterPart(config, observer, self._configs, self._trouble, self._log_dirs)

    def take_remarks(self) -> list[str]:
        """Return the troubles since the last call, each once."""
        taken, self._remarks = list(self._remarks), {}
        return taken

    def topics(self) -> frozenset[str]:
        """Return the topics that the last reading looked at."""
        return frozenset(self._observer.topics())

    def groups(self) -> frozenset[str]:
        """Return the groups that the last reading looked at."""
        return frozenset(self._observer.view.groups)

    def read(self, sizes: bool = False) -> Snapshot:
        """Return what is true now; with `sizes` also topic settings and sizes on disk.

        Raises:
            KafkaUnavailable: no broker answers.
            OSError, ValueError: certificates or secrets cannot be read.
        """
        client = self._connected()
        self._cluster.read(client)
        view = self._observer.view
        if not view.up:
            self.close()
            self.take_remarks()  # the error tells them
            raise KafkaUnavailable("; ".join(trouble.message for trouble in view.troubles))
        if sizes:
            self._configs.read(client)
            self._log_dirs.read(client)
        sheets = [self._cluster.sheet(), self._configs.sheet(), self._log_dirs.sheet()]
        return Snapshot(view.time_ms, _values(sheets))

    def observe(
        self, seconds: float, progress: Progress, readings: int = READINGS, sizes: bool = False
    ) -> list[Snapshot]:
        """Return readings spread over a time, the first at once: two at least, but one for 0 seconds.

        Raises:
            As `read`.
        """
        begin = time.monotonic()
        spacing = max(LEAST_SPACING_S, seconds / (readings - 1))
        read = []
        for number in count(1):
            read.append(self.read(sizes))
            elapsed = time.monotonic() - begin
            if elapsed >= seconds and (number > 1 or not seconds):
                break
            due = min(seconds, max(elapsed, number * spacing))
            _wait(begin, due, seconds, progress)
        return read

    def tombstones(self, mode: Mode, budget: Budget, progress: Progress) -> list[TombstoneCount]:
        """Return the counts of the topics that are looked at for tombstones.

        Raises:
            SourceError: no broker answers.
            OSError, ValueError: certificates or secrets cannot be read.
        """
        self.read()
        settings = self._config.tombstones
        read_committed = settings.isolation_level == "read_committed"
        topics = filter(settings.topics.wants, self.topics())
        scan = TombstoneScan(self._connected(), self._context, budget, read_committed)
        with self._logged():
            return scan.check(topics, mode, progress=progress)

    def close(self) -> None:
        """Close the connection; the next reading opens another."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> Client:
        if self._client is None:
            self._client = Client(self._config)
        self._client.begin_round()
        return self._client

    def _trouble(self, troubles: Iterable[Trouble]) -> None:
        self._remarks |= {f"{each.part}: {each.message}": None for each in troubles}

    @contextmanager
    def _logged(self) -> Iterator[None]:
        """Take what a scan logs as remarks: it goes on with the other partitions."""
        handler = _Remarks(self._remarks, f"{self._context.name}: ")
        propagate, _SOURCE_LOG.propagate = _SOURCE_LOG.propagate, False
        _SOURCE_LOG.addHandler(handler)
        try:
            yield
        finally:
            _SOURCE_LOG.removeHandler(handler)
            _SOURCE_LOG.propagate = propagate


def _wait(begin: float, due: float, seconds: float, progress: Progress) -> None:
    while (elapsed := time.monotonic() - begin) < due:
        progress(elapsed, seconds)
        time.sleep(min(0.1, due - elapsed))


class _Remarks(logging.Handler):
    def __init__(self, remarks: dict[str, None], prefix: str) -> None:
        super().__init__(logging.WARNING)
        self._remarks, self._prefix = remarks, prefix

    def emit(self, record: logging.LogRecord) -> None:
        self._remarks[record.getMessage().removeprefix(self._prefix)] = None


def _values(sheets: Sequence[Sheet]) -> dict[tuple[str, ...], float]:
    return {key: value for sheet in sheets for key, value in zip(sheet.keys, sheet.values, strict=True)}
