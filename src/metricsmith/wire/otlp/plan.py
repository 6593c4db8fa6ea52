"""Where the numbers of a request lie: made once for requests of the same shape, then gathered with arrays.

All numbers of a metric's points are fixed-width in OTLP. So a sender that reports the same series again
sends the same bytes but for those of the numbers, and a plan made for one request serves the next.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from metricsmith.model.arrays import F64, I64, U8, Bool
from metricsmith.model.batch import Layout
from metricsmith.model.metadata import Metadata, MetricType

U64 = NDArray[np.uint64]

PAD_BYTES = 32
"""Zero bytes wanted behind a message: what a sender leaves out because it is zero is read there."""
TARGET_INFO = "target_info"
_INFO = Metadata(MetricType.GAUGE, "", "Target metadata")
_NS_PER_MS = np.uint64(1_000_000)
_WORD = np.arange(8)


class Kind(IntEnum):
    """What the eight bytes of a number are."""

    DOUBLE = 0
    INT = 1
    COUNT = 2
    BUCKET = 3


def padded(message: bytes) -> bytes:
    """Return a message with zeros behind it, of a length that is a multiple of eight."""
    return message + bytes(PAD_BYTES + -len(message) % 8)


@dataclass(slots=True)
class PlanBuilder:
    """Columns of a plan while a request is read: one entry per sample that will come out."""

    zero: int
    """Offset of eight bytes that are zero."""
    ids: array[int] = field(default_factory=lambda: array("I"))
    value_at: array[int] = field(default_factory=lambda: array("q"))
    time_at: array[int] = field(default_factory=lambda: array("q"))
    kinds: array[int] = field(default_factory=lambda: array("B"))
    stale: array[int] = field(default_factory=lambda: array("q"))
    deltas: array[int] = field(default_factory=lambda: array("q"))
    tails: array[int] = field(default_factory=lambda: array("q"))
    """Samples that are not the first of their point."""
    bucket_starts: array[int] = field(default_factory=lambda: array("q"))
    other_slots: array[int] = field(default_factory=lambda: array("q"))
    holes: array[int] = field(default_factory=lambda: array("q"))
    """Begin and end of what is not read and may differ, one after the other."""
    resources: list[tuple[int, int | None]] = field(default_factory=list)
    """First sample of each resource that has any, and its series `target_info`."""
    metadata: dict[str, Metadata] = field(default_factory=dict)
    points: int = 0
    exemplars: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    message: str = ""

    def add(self, series: int, value_at: int, time_at: int, kind: Kind) -> None:
        """Add a sample."""
        self.ids.append(series)
        self.value_at.append(value_at)
        self.time_at.append(time_at)
        self.kinds.append(kind)

    def reject(self, reason: str, points: int, message: str) -> None:
        """Count points that are not taken; the first message is told to the sender."""
        if points:
            self.rejected[reason] += points
            self.message = self.message or message


@dataclass(frozen=True, slots=True)
class Plan:
    """How the samples of requests of one shape are read.

    Shapes:
        value_at, time_at: (P,) offsets. ints, counts, buckets: those among P that are no doubles.
        bucket_first: (B,) number of the first bucket of the same histogram.
        deltas: places in P of values to be summed; delta_heads: which of them are the first of a point.
        info_first, info_at: (R,) first sample of each resource; which of them have `target_info`.
    """

    layout: Layout
    value_at: I64
    time_at: I64
    ints: I64
    counts: I64
    buckets: I64
    bucket_first: I64
    stale: Bool | None
    deltas: I64
    delta_heads: Bool
    info_first: I64
    info_at: I64
    points: int
    exemplars: int
    rejected: Counter[str]
    message: str

    def evaluate(self, data: bytes) -> tuple[I64, F64]:
        """Return times and values of the samples in a message of this shape, in the layout's order.

        Shapes:
            returns: (P + target_info,) each.
        """
        words = np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))
        raw: U64 = words[self.value_at]
        values = raw.view(np.float64).copy()
        values[self.ints] = raw[self.ints].view(np.int64)
        values[self.counts] = raw[self.counts]
        if len(self.buckets):
            sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(raw[self.buckets])])
            values[self.buckets] = sums[1:] - sums[self.bucket_first]
        times = (words[self.time_at] // _NS_PER_MS).view(np.int64)
        if len(self.info_at):
            latest = np.maximum.reduceat(times, self.info_first)[self.info_at]
            times = np.concatenate([times, latest])
            values = np.concatenate([values, np.ones(len(latest))])
        return times, values


def build(columns: PlanBuilder) -> Plan:
    """Return the plan of what has been read."""
    samples = len(columns.ids)
    infos = [info for _, info in columns.resources if info is not None]
    kinds = np.frombuffer(columns.kinds, np.uint8) if samples else np.empty(0, np.uint8)
    if infos:
        columns.metadata[TARGET_INFO] = _INFO
    deltas = _offsets(columns.deltas)
    stale = None
    if columns.stale:
        stale = np.zeros(samples + len(infos), dtype=np.bool_)
        stale[_offsets(columns.stale)] = True
    return Plan(
        Layout(np.array([*columns.ids, *infos], dtype=np.uint32), None, columns.metadata),
        _offsets(columns.value_at),
        _offsets(columns.time_at),
        np.flatnonzero(kinds == Kind.INT),
        np.flatnonzero(kinds == Kind.COUNT),
        np.flatnonzero(kinds == Kind.BUCKET),
        _offsets(columns.bucket_starts),
        stale,
        deltas,
        ~np.isin(deltas, _offsets(columns.tails)),
        np.array([first for first, _ in columns.resources], dtype=np.int64),
        np.array([i for i, (_, info) in enumerate(columns.resources) if info is not None], dtype=np.int64),
        columns.points,
        columns.exemplars,
        columns.rejected,
        columns.message,
    )


@dataclass(frozen=True, slots=True)
class Shape:
    """The bytes of a request that are not numbers."""

    template: U64
    mask: U64

    def matches(self, data: bytes) -> bool:
        """Return whether a message differs in its numbers only."""
        words: U64 = np.frombuffer(data, np.uint64)
        return len(words) == len(self.mask) and not ((words ^ self.template) & self.mask).any()


def shape_of(data: bytes, columns: PlanBuilder) -> Shape:
    """Return the shape of the message from which a plan's columns were read."""
    mask: U8 = np.full(len(data), 0xFF, dtype=np.uint8)
    for slots in (columns.value_at, columns.time_at, columns.other_slots):
        mask[_offsets(slots)[:, None] + _WORD] = 0
    mask[columns.zero :] = 0xFF
    for start, end in zip(columns.holes[::2], columns.holes[1::2], strict=True):
        mask[start:end] = 0
    words = mask.view(np.uint64)
    return Shape(np.frombuffer(data, np.uint64) & words, words)


def _offsets(numbers: array[int]) -> I64:
    return np.frombuffer(numbers, np.int64) if numbers else np.empty(0, np.int64)
