"""What a check of tombstones has found, per partition and per topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, TypeAlias, TypeVar

from metricsmith.sources.kafka.estimate import estimate
from metricsmith.sources.kafka.sampling import Sample, joined
from metricsmith.sources.kafka.scan import Log, Tally

Mode: TypeAlias = Literal["exact", "sampled"]
Found = TypeVar("Found", Tally, Sample)


@dataclass(frozen=True, slots=True)
class TombstoneCount:
    """What is known of a partition, or with `partition` None of a topic.

    `records`, `tombstones` and `empty_values` were read, each counted once; `ratio_percent` is what they
    say of the whole log: 0 when it is empty, None when nothing could be read of it. `coverage` is the part
    of the log's offsets that was looked at, 0 to 1.
    The interval holds the ratio: surely when exact, in 95 of 100 checks when sampled.
    """

    topic: str
    partition: int | None
    mode: Mode
    records: int
    tombstones: int
    empty_values: int
    ratio_percent: float | None
    coverage: float
    interval_low: float | None
    interval_high: float | None
    checked_ms: int


def exact_counts(logs: Sequence[Log], tallies: Sequence[Tally | None], now_ms: int) -> list[TombstoneCount]:
    """Return a count per topic, followed by those of its partitions. None: nothing is known of a log."""
    return _by_topic(logs, tallies, now_ms, _exact)


def sampled_counts(
    logs: Sequence[Log], samples: Sequence[Sample | None], now_ms: int
) -> list[TombstoneCount]:
    """Return a count per topic, followed by those of its partitions. None: nothing is known of a log."""
    return _by_topic(logs, samples, now_ms, _sampled)


def _by_topic(
    logs: Sequence[Log],
    found: Sequence[Found | None],
    now_ms: int,
    count: Callable[[str, int | None, Sequence[Found | None], int], TombstoneCount],
) -> list[TombstoneCount]:
    counts: list[TombstoneCount] = []
    pairs = zip(logs, found, strict=True)
    for topic, group in groupby(pairs, key=lambda pair: pair[0].partition.topic):
        rows = list(group)
        counts.append(count(topic, None, [what for _, what in rows], now_ms))
        counts += [count(topic, log.partition.number, [what], now_ms) for log, what in rows]
    return counts


def _exact(topic: str, partition: int | None, tallies: Sequence[Tally | None], now_ms: int) -> TombstoneCount:
    read = [tally for tally in tallies if tally is not None]
    records = sum(tally.records for tally in read)
    tombstones = sum(tally.tombstones for tally in read)
    length = sum(tally.length for tally in read)
    covered = sum(tally.covered for tally in read)
    coverage = (covered / length if length else 1.0) * len(read) / len(tallies)
    least, most = _certain(records, tombstones, length - covered)
    bounded = len(read) == len(tallies)
    nothing = not covered and (length or not read)
    return TombstoneCount(
        topic,
        partition,
        "exact",
        records,
        tombstones,
        sum(tally.empty_values for tally in read),
        None if nothing else 100 * tombstones / records if records else 0.0,
        coverage,
        100 * least if bounded and not nothing else None,
        100 * most if bounded and not nothing else None,
        now_ms,
    )


def _sampled(
    topic: str, partition: int | None, samples: Sequence[Sample | None], now_ms: int
) -> TombstoneCount:
    known = [sample for sample in samples if sample is not None]
    read = [sample for sample in known if sample.windows]
    records = sum(sample.records for sample in known)
    tombstones = sum(sample.tombstones for sample in known)
    length = sum(sample.end - sample.start for sample in known)
    covered = sum(sample.covered for sample in known)
    found = estimate(joined(read)) if read else None
    missed = sum(sample.end - sample.start for sample in known if not sample.windows)
    # All that was read holds no record: an empty log, or one that compaction has emptied.
    empty = found is None and not missed and len(known) == len(samples)
    ratio, low, high = (found.ratio, found.low, found.high) if found is not None else (0.0, 0.0, 1.0)
    if found is not None and missed:  # it may hold anything, but no more records than offsets
        there = found.records + missed
        low, high = low * found.records / there, (high * found.records + missed) / there
    least, most = _certain(records, tombstones, length - covered)
    bounded = len(known) == len(samples) and (found is not None or empty)
    return TombstoneCount(
        topic,
        partition,
        "sampled",
        records,
        tombstones,
        sum(sample.empty_values for sample in known),
        100 * min(max(ratio, least), most) if found is not None else 0.0 if empty else None,
        (covered / length if length else 1.0) * len(known) / len(samples),
        100 * min(max(low, least), most) if bounded else None,
        100 * min(max(high, least), most) if bounded else None,
        now_ms,
    )


def _certain(records: int, tombstones: int, unread: int) -> tuple[float, float]:
    """Return the least and the largest ratio: offsets that were not read may hold anything, or nothing."""
    most = records + unread
    return (tombstones / most, (tombstones + unread) / most) if most else (0.0, 0.0)
