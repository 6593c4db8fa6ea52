"""How many records of a topic are tombstones: counted exactly, or estimated from windows across the log.

A tombstone is a record with a null value: compaction deletes its key by it. An empty value is not one; such
values are counted apart. Markers of transactions and gaps that compaction left are no records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np

from metricsmith.contracts import Context
from metricsmith.errors import DiskFull, SourceError, StoreError
from metricsmith.sources.kafka.admin import topic_configs, topology
from metricsmith.sources.kafka.client import Client, Failure
from metricsmith.sources.kafka.exact import count_logs
from metricsmith.sources.kafka.fetch import FetchSettings, LogReader
from metricsmith.sources.kafka.offsets import log_offsets
from metricsmith.sources.kafka.sampling import Sample, sample_logs
from metricsmith.sources.kafka.scan import Budget, Log, Meter
from metricsmith.sources.kafka.spans import decode
from metricsmith.sources.kafka.tombstone_counts import Mode, TombstoneCount, exact_counts, sampled_counts

Progress: TypeAlias = Callable[[int, int], None]
STATE_PREFIX = "tombstones/"
WINDOW_BYTES = 4 << 10
"""More is asked for where batches are larger, once that is known."""
WINDOW_REQUESTS = 4


class TombstoneScan:
    """Checks topics of one cluster; one check at a time, in a thread of its own.

    The client is used by this alone while a check runs. Exact counts are kept in
    the context's state, so the next check reads only what came since, except of
    compacted topics, which are read whole: compaction may have removed anything.
    """

    def __init__(
        self,
        client: Client,
        context: Context,
        budget: Budget | None = None,
        read_committed: bool = False,
        check_crc: bool = False,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._client, self._context = client, context
        self._budget = budget or Budget()
        self._read_committed, self._check_crc = read_committed, check_crc
        self._rng = rng or np.random.default_rng()

    def check(
        self,
        topics: Iterable[str],
        mode: Mode = "sampled",
        cancelled: Callable[[], bool] = lambda: False,
        progress: Progress = lambda done, total: None,
    ) -> list[TombstoneCount]:
        """Return a count per topic, followed by those of its partitions.

        Trouble with a partition is counted, and the others go on. `progress` is
        told of offsets (exact) or windows (sampled): how many are done, of how many.

        Raises:
            SourceError: no broker answers.
        """
        meter = Meter(self._context, self._budget, self._check_crc, cancelled)
        wanted = frozenset(topics)
        logs, existing = self._logs(wanted, meter)
        now_ms = self._context.clock.now_ms()
        if mode == "exact":
            return self._exact(logs, existing, meter, progress, now_ms)
        samples = [
            Sample(each.start, each.end, self._budget.sample_size, self._rng) if each.known else None
            for each in logs
        ]
        settings = FetchSettings(
            self._read_committed, partition_bytes=WINDOW_BYTES, requests_per_broker=WINDOW_REQUESTS
        )
        reader = LogReader(self._client, settings, meter.problem)
        known = [(each, sample) for each, sample in zip(logs, samples, strict=True) if sample is not None]
        # In another order each time: a small budget must not pass over the same ones for ever.
        known = [known[number] for number in self._rng.permutation(len(known)).tolist()]
        sample_logs(reader, meter, known, progress)
        return sampled_counts(logs, samples, now_ms)

    def _logs(self, wanted: frozenset[str], meter: Meter) -> tuple[list[Log], frozenset[str]]:
        """Return the partitions of the wanted topics, and the names of all topics."""
        found = topology(self._client)
        if isinstance(found, Failure):
            raise SourceError(f"got no list of topics, wanted one: {found.message}")
        existing = frozenset(each.topic for each in found.partitions) | found.unread_topics
        for name in sorted(wanted - existing):
            meter.problem("unknown_topic", f"topic {name} is not there, or may not be described")
        partitions = [each for each in found.partitions if each.topic in wanted]
        offsets = log_offsets(self._client, partitions, self._read_committed)
        for trouble in offsets.troubles:
            meter.problem(trouble.reason, trouble.message)
        bounds = zip(partitions, offsets.start.tolist(), offsets.end.tolist(), strict=True)
        return [
            Log(each, start, max(start, end)) if start >= 0 and end >= 0 else Log(each, -1, -1)
            for each, start, end in bounds
        ], existing

    def _exact(
        self, logs: Sequence[Log], existing: frozenset[str], meter: Meter, progress: Progress, now_ms: int
    ) -> list[TombstoneCount]:
        compacted = self._compacted(sorted({each.partition.topic for each in logs}), meter)
        state = self._context.state
        kept = dict(state.items(STATE_PREFIX))
        known = []
        for each in logs:
            place = each.partition
            old = b"" if place.topic in compacted else kept.get(_key(each), b"")
            if each.known:
                counted, lost = decode(old, place.topic_id, self._read_committed)
                if lost:
                    meter.problem(lost, f"what was counted of {place.topic}/{place.number} is of no use")
                known.append((each, counted))
        reader = LogReader(self._client, FetchSettings(self._read_committed), meter.problem)
        tallies = count_logs(reader, meter, known, progress)
        put = {
            _key(each): counted.encode()
            for each, counted in known
            if counted.spans and each.partition.topic not in compacted
        }
        gone = [key for key in kept if _topic(key) in compacted or _topic(key) not in existing]
        try:
            state.commit(put, gone)
        except (DiskFull, StoreError) as error:  # what was counted is right all the same
            meter.problem("not_saved", f"counts of tombstones are not kept: {error}")
        done = {_key(each): tally for (each, _), tally in zip(known, tallies, strict=True)}
        return exact_counts(logs, [done.get(_key(each)) for each in logs], now_ms)

    def _compacted(self, topics: Sequence[str], meter: Meter) -> frozenset[str]:
        """Return the topics that may be compacted: also those that do not tell."""
        configs, troubles = topic_configs(self._client, topics)
        for trouble in troubles:
            meter.problem(trouble.reason, trouble.message)
        return frozenset(
            name for name in topics if "compact" in configs.get(name, {}).get("cleanup.policy", "compact")
        )


def _key(log: Log) -> str:
    return f"{STATE_PREFIX}{log.partition.topic}/{log.partition.number}"


def _topic(key: str) -> str:
    return key.removeprefix(STATE_PREFIX).rpartition("/")[0]
