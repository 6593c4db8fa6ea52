"""The one thing that flows: a columnar batch over a layout of interned series."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.model.events import Event
from metricsmith.model.metadata import Metadata
from metricsmith.model.origin import Origin

T = TypeVar("T")
NO_METADATA: Mapping[str, Metadata] = {}


class Layout:
    """The series of a batch, in order, with everything that depends on them alone.

    A source whose series set has not changed sends the same Layout object
    again: whatever was derived from it (rows, gathers, verdicts, encoded
    frames) is found by identity, at no cost per sample.

    `stream` names the source stream (one scrape target, say), whose batches
    share one timestamp per batch and mostly the same series; None when there
    is no such thing, as for remote write. `metadata` maps the metric families
    of the layout to what is known of them.

    Shapes:
        ids: (P,) uint32, read-only. With a stream, each id at most once.
    """

    __slots__ = ("__weakref__", "_derived", "ids", "metadata", "stream")

    def __init__(
        self, ids: U32, stream: str | None = None, metadata: Mapping[str, Metadata] = NO_METADATA
    ) -> None:
        ids.flags.writeable = False
        self.ids = ids
        self.stream = stream
        self.metadata = metadata
        self._derived: dict[object, Any] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def derive(self, owner: object, make: Callable[[Layout], T]) -> T:
        """Return `make(self)`, computed once per owner and kept as long as the layout.

        The owner (a processor, the journal, the head) is compared by equality
        and kept alive by the layout.
        """
        try:
            found: T = self._derived[owner]
        except KeyError:
            found = self._derived[owner] = make(self)
        return found


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of the series of one layout.

    `stale` marks staleness markers (the series ended here); their value is
    ignored. A NaN value is a real NaN. Arrays are shared, never written to.
    A batch has samples or, with an empty layout, `events`; only some sinks read these.
    One with an `origin` is committed together with it, also when nothing of the samples is left.

    Shapes:
        time_ms: one int for all samples, or (P,) int64.
        value: (P,) float64.
        stale: (P,) bool, or None when no sample is a marker.
    Units:
        Milliseconds since the Unix epoch, UTC.
    """

    layout: Layout
    time_ms: int | I64
    value: F64
    stale: Bool | None = field(default=None)
    events: tuple[Event, ...] = ()
    origin: Origin | None = None

    def __len__(self) -> int:
        return len(self.layout.ids)

    @property
    def size(self) -> int:
        """The number of samples, or of events."""
        return len(self.layout.ids) + len(self.events)

    def times(self) -> I64:
        """Return one time per sample.

        Shapes:
            returns: (P,)
        """
        if isinstance(self.time_ms, int):
            return np.full(len(self.value), self.time_ms, dtype=np.int64)
        return self.time_ms

    def stales(self) -> Bool:
        """Return the staleness mask, all false when the batch has none.

        Shapes:
            returns: (P,)
        """
        return np.zeros(len(self.value), dtype=np.bool_) if self.stale is None else self.stale

    def check(self) -> None:
        """Return when the arrays fit the layout.

        Raises:
            ValueError: they do not, a time has no 64 bits, or there are samples and events.
        """
        count = len(self.layout)
        arrays = [
            a for a in (self.value, self.time_ms, self.stale) if a is not None and not isinstance(a, int)
        ]
        if any(array.shape != (count,) for array in arrays):
            shapes = [array.shape for array in arrays]
            raise ValueError(f"got arrays of shapes {shapes}, wanted ({count},) as the layout has")
        if self.events and count:
            raise ValueError(
                f"got {len(self.events)} events in a batch of {count} samples, wanted two batches"
            )
        if isinstance(self.time_ms, int) and not -(2**63) <= self.time_ms < 2**63:
            raise ValueError(f"got time {self.time_ms}, wanted milliseconds in 64 bits")

    def take(self, layout: Layout, index: I64) -> Batch:
        """Return the samples at some places, as those of another layout.

        Shapes:
            layout: of N series. index: (N,) places in this batch.
        """
        time_ms = self.time_ms if isinstance(self.time_ms, int) else self.time_ms[index]
        stale = None if self.stale is None else self.stale[index]
        return Batch(layout, time_ms, self.value[index], stale)


def empty_batch() -> Batch:
    """Return a batch without samples."""
    return Batch(Layout(np.empty(0, dtype=np.uint32)), 0, np.empty(0))


def event_batch(events: Sequence[Event], time_ms: int) -> Batch:
    """Return a batch of events, without samples."""
    return Batch(Layout(np.empty(0, dtype=np.uint32)), time_ms, np.empty(0), events=tuple(events))
