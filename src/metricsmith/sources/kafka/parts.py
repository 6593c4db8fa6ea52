"""What the source reads: one class per subject, each with its own interval.

A part asks brokers when it is due and says at any time what is known; all are called from one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from metricsmith.errors import DiskFull, StoreError
from metricsmith.sources.kafka import admin
from metricsmith.sources.kafka.admin import LogDir, Trouble
from metricsmith.sources.kafka.client import Client
from metricsmith.sources.kafka.metrics import Sheet
from metricsmith.sources.kafka.observer import Observer
from metricsmith.sources.kafka.pairs import PartitionKey
from metricsmith.sources.kafka.settings import KafkaConfig
from metricsmith.sources.kafka.sheets import cluster_sheet, configs_sheet, log_dirs_sheet, put_age

Report: TypeAlias = Callable[[Iterable[Trouble]], None]
SAVE_EVERY_MS = 60_000


class Part(Protocol):
    """One subject: `kind` names its stream, `interval_ms` is the time between readings."""

    kind: str
    interval_ms: int

    def read(self, client: Client) -> bool:
        """Ask the brokers; return whether that could be done, else it is tried again in the next round."""
        ...

    def sheet(self) -> Sheet | None:
        """Return what is known, read now or before; None when there is nothing to say yet."""
        ...


class ClusterPart:
    """Topics, groups, offsets, lag; the history behind them is made durable now and then."""

    kind = "cluster"

    def __init__(
        self,
        config: KafkaConfig,
        observer: Observer,
        configs: ConfigsPart,
        report: Report,
        log_dirs: LogDirsPart | None = None,
    ) -> None:
        self.interval_ms = config.interval
        self._observer, self._configs, self._report = observer, configs, report
        self._log_dirs = log_dirs
        self._saved_ms = 0

    def read(self, client: Client) -> bool:
        """Read all of it, and save the history when it is time."""
        self._observer.read(client)
        self._report(self._observer.view.troubles)
        now_ms = self._observer.view.time_ms
        if abs(now_ms - self._saved_ms) >= SAVE_EVERY_MS:
            try:
                self._observer.save()
                self._saved_ms = now_ms
            except (DiskFull, StoreError) as error:
                self._report([Trouble("history", "not_saved", str(error))])
        return self._observer.view.up

    def sheet(self) -> Sheet:
        """Return brokers, topics, groups, offsets and lag."""
        sizes = {} if self._log_dirs is None else self._log_dirs.by_partition
        return cluster_sheet(self._observer.view, self._configs.known, sizes, self._observer.now_ms())


class ConfigsPart:
    """Settings of topics; one that does not tell keeps its last ones for a while, unless it was made anew."""

    kind = "configs"

    def __init__(self, config: KafkaConfig, observer: Observer, report: Report) -> None:
        self.interval_ms, self._keep_ms = config.configs_interval, config.keep_for
        self._observer, self._report = observer, report
        self._round_ms = 0
        self._found: dict[tuple[str, str], tuple[int, Mapping[str, str]]] = {}  # by topic and its id

    @property
    def known(self) -> dict[str, Mapping[str, str]]:
        """Settings by topic."""
        return {topic: settings for topic, (_, settings) in self._there().items()}

    def _there(self) -> dict[str, tuple[int, Mapping[str, str]]]:
        oldest = self._observer.now_ms() - self._keep_ms - self.interval_ms
        found = {topic: self._found.get((topic, each)) for topic, each in self._observer.topics().items()}
        return {topic: each for topic, each in found.items() if each is not None and each[0] >= oldest}

    def read(self, client: Client) -> bool:
        """Read those of all topics."""
        topics = self._observer.topics()
        if not topics:
            return False
        found, troubles = admin.topic_configs(client, sorted(topics))
        self._report(troubles)
        self._round_ms = self._observer.now_ms()
        kept = {key: each for key, each in self._found.items() if topics.get(key[0]) == key[1]}
        self._found = kept | {(name, topics[name]): (self._round_ms, each) for name, each in found.items()}
        return True

    def sheet(self) -> Sheet:
        """Return the settings of topics that are still there, and how old they are."""
        there = self._there()
        sheet = configs_sheet({topic: settings for topic, (_, settings) in there.items()})
        if self._round_ms:
            times = [time_ms for time_ms, _ in there.values()]
            put_age(sheet, self.kind, self._observer.now_ms(), self._round_ms, times)
        return sheet


class LogDirsPart:
    """Sizes on disk, by broker; one that is away keeps its last ones for a while."""

    kind = "log_dirs"

    def __init__(
        self, config: KafkaConfig, observer: Observer, report: Report, clock_ms: Callable[[], int]
    ) -> None:
        self.interval_ms, self._keep_ms = config.log_dirs_interval, config.keep_for
        self._observer, self._report, self._now = observer, report, clock_ms
        self._sizes: dict[int, tuple[int, Sequence[LogDir]]] = {}
        self._round_ms = 0
        self.by_partition: dict[PartitionKey, dict[int, int]] = {}
        """Bytes by broker."""

    def read(self, client: Client) -> bool:
        """Ask every broker."""
        found, troubles = admin.log_dirs(client, client.brokers())
        self._report(troubles)
        self._round_ms = now_ms = self._now()
        self._sizes |= {node: (now_ms, directories) for node, directories in found.items()}
        self.by_partition = {}
        for node, (_, directories) in self._sizes.items():
            for topic, number, size in (each for one in directories for each in one.replicas):
                self.by_partition.setdefault((topic, number), {})[node] = size
        return True

    def sheet(self) -> Sheet:
        """Return the sizes, with their age where they are not new."""
        now_ms = self._now()
        oldest = now_ms - self._keep_ms - self.interval_ms
        self._sizes = {node: each for node, each in self._sizes.items() if each[0] >= oldest}
        sheet = log_dirs_sheet(self._sizes, set(self._observer.topics()), now_ms)
        if self._round_ms:
            times = [time_ms for time_ms, _ in self._sizes.values()]
            put_age(sheet, self.kind, now_ms, self._round_ms, times)
        return sheet
