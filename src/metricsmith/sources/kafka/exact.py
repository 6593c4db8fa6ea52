"""Logs read whole, from where the last check ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from metricsmith.sources.kafka.fetch import Chunk, LogReader, Range
from metricsmith.sources.kafka.records import BatchCounts
from metricsmith.sources.kafka.scan import Log, Meter, Tally
from metricsmith.sources.kafka.spans import Counted, Span


class _Reading:
    """One log: what is new at its end, and what is left of a span that its start has cut."""

    def __init__(self, log: Log, counted: Counted) -> None:
        self._log, self._counted = log, counted
        counted.cut(log.start, log.end)
        known = counted.total()
        self._head: Range | None = None
        if not counted.spans:
            self._tail = Range(log.partition, log.start, log.end)
        else:
            self._tail = Range(log.partition, known.stop, log.end)
            if known.first > log.start:
                self._head = Range(log.partition, log.start, known.first)
        self._again = Span(log.start, log.start)

    def ranges(self) -> list[Range]:
        return [self._tail] if self._head is None else [self._head, self._tail]

    def add(self, of: Range, span: Span) -> None:
        if of is self._tail:
            self._counted.add(span)
        elif span.first == self._again.stop:
            self._again.add(span)
        else:
            self._again = span

    def tally(self) -> Tally:
        """Return what is now known of the log; offsets at which nothing is left count as read."""
        head, tail = self._head, self._tail
        if head is not None and not head.failed and head.at >= head.end:
            self._again.stop = head.end
            self._counted.put_first(self._again)
        known = self._counted.total()
        behind = known.stop if self._counted.spans else self._log.start
        if tail.at > behind:
            first = tail.at if tail.skipped else behind
            self._counted.add(Span(first, tail.at))
            known = self._counted.total()
        start = max(self._log.start, known.first) if tail.skipped else self._log.start
        end = max(self._log.end, known.stop)
        covered = known.stop - known.first - known.unread
        return Tally(known.records, known.tombstones, known.empty_values, covered, end - start)


def count_logs(
    reader: LogReader,
    meter: Meter,
    logs: Sequence[tuple[Log, Counted]],
    progress: Callable[[int, int], None],
) -> list[Tally]:
    """Return what each log holds; what is remembered of it grows by what was read."""
    readings = [_Reading(log, counted) for log, counted in logs]
    owner = {each: reading for reading in readings for each in reading.ranges()}
    total = sum(each.end - each.at for each in owner)
    left = {each: each.end - each.at for each in owner}
    done = 0
    for chunks in reader.read(list(owner), meter.enough):
        counts = meter.counts(chunks, [chunk.asked for chunk in chunks])
        for chunk, span in zip(chunks, _spans(chunks, counts), strict=True):
            owner[chunk.range].add(chunk.range, span)
            now = max(0, chunk.range.end - chunk.range.at)
            done += left[chunk.range] - now
            left[chunk.range] = now
        progress(done, total)
    return [reading.tally() for reading in readings]


def _spans(chunks: Sequence[Chunk], counts: BatchCounts) -> list[Span]:
    size = len(chunks)

    def per_chunk(values: np.ndarray) -> list[int]:
        sums: list[int] = np.bincount(counts.piece, values, size).astype(np.int64).tolist()
        return sums

    unread = np.where(counts.readable, 0, counts.last_offset - counts.first_offset + 1)
    return [
        Span(chunk.asked, chunk.range.at, *sums)
        for chunk, *sums in zip(
            chunks,
            per_chunk(counts.records),
            per_chunk(counts.tombstones),
            per_chunk(counts.empty_values),
            per_chunk(unread),
            strict=True,
        )
    ]
