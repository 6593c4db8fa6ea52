"""What each source reports now, so that its series end when it goes, and only then."""

from __future__ import annotations

import numpy as np

from metricsmith.model.batch import Batch, Layout


class Streams:
    """The last layout of every stream of every source.

    A source that a reload replaces leaves its layouts behind as superseded:
    its successor takes over the streams that it goes on with, series by
    series, without a gap; what nobody takes over is ended later.
    """

    def __init__(self) -> None:
        self._current: dict[str, dict[str, Layout]] = {}
        self._superseded: dict[str, dict[str, Layout]] = {}

    def accepted(self, source: str, batch: Batch) -> Batch | None:
        """Note a batch; return the markers of series that its stream had before a reload and has no more."""
        stream = batch.layout.stream
        if stream is None:
            return None
        current = self._current.setdefault(source, {})
        if batch.stale is not None and batch.stale.all():
            current.pop(stream, None)  # the source itself has ended it
        else:
            current[stream] = batch.layout
        former = self._superseded.get(source)
        layout = former.pop(stream, None) if former else None
        if layout is None or layout is batch.layout:
            return None
        ended = np.setdiff1d(layout.ids, batch.layout.ids)
        time_ms = batch.time_ms if isinstance(batch.time_ms, int) else int(batch.time_ms.max())
        return markers(Layout(ended, stream), time_ms) if len(ended) else None

    def supersede(self, source: str | None = None) -> None:
        """Say that a source, or what is done to the batches of all of them, was replaced."""
        for name in list(self._current) if source is None else [source]:
            self._superseded.setdefault(name, {}).update(self._current.pop(name, {}))

    def take_superseded(self) -> list[tuple[str, Layout]]:
        """Return source and layout of every stream that nobody took over, and forget them."""
        left = [(source, layout) for source, found in self._superseded.items() for layout in found.values()]
        self._superseded.clear()
        return left

    def remove(self, source: str) -> list[tuple[str, Layout]]:
        """Return the layouts of a source that is gone for good, and forget them."""
        found = [*self._current.pop(source, {}).values(), *self._superseded.pop(source, {}).values()]
        return [(source, layout) for layout in found]


def markers(layout: Layout, time_ms: int) -> Batch:
    """Return a batch that ends all series of a layout."""
    count = len(layout)
    return Batch(layout, time_ms, np.full(count, np.nan), np.ones(count, dtype=np.bool_))
