"""Checks of tombstones beside the other readings: a long check delays neither offsets nor lag."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metricsmith.contracts import Context
from metricsmith.errors import SourceError
from metricsmith.sources.kafka.client import Client
from metricsmith.sources.kafka.metrics import Sheet
from metricsmith.sources.kafka.observer import Observer
from metricsmith.sources.kafka.scan import Budget, count_problem
from metricsmith.sources.kafka.settings import KafkaConfig
from metricsmith.sources.kafka.sheets import put_age
from metricsmith.sources.kafka.tombstone_counts import Mode, TombstoneCount
from metricsmith.sources.kafka.tombstones import TombstoneScan

log = logging.getLogger(__name__)

RETRY_MS = 60_000
"""A check that found no broker begins again after this time."""


@dataclass(frozen=True, slots=True)
class _Known:
    topic_id: str
    count: TombstoneCount


class TombstonePart:
    """Runs a check when it is due, in a thread and with a connection that live as long as the check.

    The last results are shown meanwhile, each with the time of its check.
    """

    kind = "tombstones"

    def __init__(self, config: KafkaConfig, observer: Observer, context: Context) -> None:
        self.interval_ms = config.tombstones.interval if config.tombstones.mode != "off" else 0
        self._config, self._observer, self._context = config, observer, context
        self._known: Mapping[tuple[str, int | None], _Known] = {}
        self._checked_ms = 0
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._ended = False
        self._not_before = 0.0

    def read(self, client: Client) -> bool:
        """Start a check, unless one is under way; return whether one has ended since the last call."""
        if self._thread is not None and self._thread.is_alive():
            return False
        if self._ended:
            self._ended = False
            return True
        if self._context.clock.monotonic() >= self._not_before:
            self._start()
        return False

    def _start(self) -> None:
        wants = self._config.tombstones.topics.wants
        topics = {name: topic_id for name, topic_id in self._observer.topics().items() if wants(name)}
        if not topics:
            return
        self._not_before = self._context.clock.monotonic() + min(RETRY_MS, self.interval_ms) / 1000
        # A daemon: a broker that does not answer must not keep the process from ending.
        name = f"kafka-{self._context.name}-tombstones"
        self._thread = threading.Thread(target=self._check, args=(topics,), name=name, daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End the check that is under way; return when it has ended, or after that time."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def sheet(self) -> Sheet | None:
        """Return the results for topics that are still the same ones."""
        there, now_ms = self._observer.topics(), self._context.clock.now_ms()
        # Two checks may fail before what was found is too old to be shown.
        oldest = now_ms - 2 * self.interval_ms - self._config.keep_for
        counts = [
            each.count
            for each in self._known.values()
            if there.get(each.count.topic) == each.topic_id and each.count.checked_ms >= oldest
        ]
        sheet = tombstones_sheet(counts)
        if counts:
            put_age(sheet, self.kind, now_ms, self._checked_ms, [each.checked_ms for each in counts])
        return sheet

    # What follows runs in the check's thread.

    def _check(self, topics: Mapping[str, str]) -> None:
        try:
            counts = self._counts(topics)
        except (SourceError, OSError, ValueError) as error:
            count_problem(self._context, "unreachable", f"no tombstones were counted: {error}")
        except Exception as error:  # an answer that nobody thought of must not end the checks for good
            log.debug("%s: defect", self._context.name, exc_info=True)
            count_problem(
                self._context, "defect", f"defect in a check of tombstones: {type(error).__name__}: {error}"
            )
            self._ended = True
        else:
            if not self._stopping.is_set():
                self._take(counts, topics)
            self._ended = True

    def _counts(self, topics: Mapping[str, str]) -> list[TombstoneCount]:
        settings = self._config.tombstones
        budget = Budget(
            settings.sample_size, settings.max_records, settings.max_bytes, settings.max_duration / 1000
        )
        client = Client(self._config)
        try:
            scan = TombstoneScan(client, self._context, budget, settings.isolation_level == "read_committed")
            mode: Mode = "exact" if settings.mode == "exact" else "sampled"
            return scan.check(topics, mode, cancelled=self._stopping.is_set)
        finally:
            client.close()

    def _take(self, counts: Sequence[TombstoneCount], topics: Mapping[str, str]) -> None:
        """Take over what was found; where nothing could be read, what was found before stays."""
        known = dict(self._known)
        for count in counts:
            key, topic_id = (count.topic, count.partition), topics[count.topic]
            before = known.get(key)
            if count.ratio_percent is not None or before is None or before.topic_id != topic_id:
                known[key] = _Known(topic_id, count)
        there = self._observer.topics()
        self._known = {key: each for key, each in known.items() if key[0] in there}
        self._checked_ms = max((count.checked_ms for count in counts), default=self._checked_ms)


def tombstones_sheet(counts: Sequence[TombstoneCount]) -> Sheet:
    """Return topics and partitions; what nothing could be read of has coverage 0 and no ratio."""
    sheet = Sheet()
    for count in counts:
        at = (count.topic,) if count.partition is None else (count.topic, str(count.partition))
        name = "kafka_topic" if count.partition is None else "kafka_topic_partition"
        sheet.put(f"{name}_tombstone_check_records", count.records, *at)
        sheet.put(f"{name}_tombstones", count.tombstones, *at)
        sheet.put(f"{name}_empty_values", count.empty_values, *at)
        sheet.put(f"{name}_tombstone_coverage", count.coverage, *at)
        sheet.put(f"{name}_tombstone_check_timestamp_seconds", count.checked_ms / 1000, *at)
        for what, value in (
            ("ratio", count.ratio_percent),
            ("interval_low", count.interval_low),
            ("interval_high", count.interval_high),
        ):
            if value is not None:
                sheet.put(f"{name}_tombstone_{what}_percent", value, *at)
    return sheet
