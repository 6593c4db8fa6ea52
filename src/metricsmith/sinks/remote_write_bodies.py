"""Batches to remote-write requests of either version; what depends on series alone is made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_pairs, metric_name, split_key
from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable
from metricsmith.model.series_types import family_of
from metricsmith.sinks.runs import runs
from metricsmith.sinks.starts import start_places
from metricsmith.wire.remote_write_encode import (
    SERIES_TAG,
    encode_metadata,
    encode_series_labels,
    encode_time_series,
    value_bits,
)
from metricsmith.wire.remote_write_encode_2 import SERIES_TAG_2, Vocabulary
from metricsmith.wire.remote_write_template import FIRST_MS, LAST_MS, WriteTemplate
from metricsmith.wire.snappy import Packer, block

MOST_HEADS = 100_000
"""Series of pushed batches of which the labels are kept as they are sent."""
_TEMPLATES = 2
"""Of a layout: mostly one sample of each series is sent at once; while catching up, always as many."""

Keys = Callable[[int], bytes]
Tail = Callable[[Metadata], bytes]


class Bodies(Protocol):
    """Makes requests of one version."""

    def body(self, batches: Sequence[Batch], metadata: Mapping[str, Metadata]) -> bytes:
        """Return a request body: protobuf, snappy block format. Families of `metadata` are new."""
        ...


def outgoing_keys(series: SeriesTable, external: Mapping[str, str]) -> Keys:
    """Return what gives the key of a series as it is sent: with labels that it does not have itself."""
    added = [(name.encode(), value.encode()) for name, value in external.items() if value]
    if not added:
        return series.key

    def with_external(number: int) -> bytes:
        name, pairs = split_key(series.key(number))
        return encode_pairs(name, dict(added + pairs).items())

    return with_external


class Bodies1:
    """Requests of version 1.0."""

    def __init__(self, keys: Keys) -> None:
        self._series = _Series(self, SERIES_TAG, keys, encode_series_labels, None)

    def body(self, batches: Sequence[Batch], metadata: Mapping[str, Metadata]) -> bytes:
        """Return a request body, with what is told of families."""
        told = b"".join(encode_metadata(name, known) for name, known in metadata.items())
        return block([*self._series.pieces(batches), self._series.packer.pack(told)])


class Bodies2:
    """Requests of version 2.0, whose series have their metadata with them, or none."""

    def __init__(self, keys: Keys, metadata: bool) -> None:
        self._keys, self._metadata = keys, metadata
        self._words = Vocabulary()
        self._series = self._made()
        self._packed: tuple[int, bytes] = (0, b"")

    def body(self, batches: Sequence[Batch], metadata: Mapping[str, Metadata]) -> bytes:
        """Return a request body; of families nothing is told apart from their series."""
        pieces = [*self._series.pieces(batches)]
        if self._words.outgrown(self._series.head_bytes):
            self._words, self._packed = Vocabulary(), (0, b"")
            self._series = self._made()
            pieces = [*self._series.pieces(batches)]
        return block([self._symbols(), *pieces])

    def _symbols(self) -> tuple[int, bytes]:
        symbols = self._words.symbols()
        if len(symbols) != self._packed[0]:  # they only grow
            self._packed = self._series.packer.pack(symbols)
        return self._packed

    def _made(self) -> _Series:
        words = self._words
        tail = words.tail if self._metadata else None
        return _Series(self, SERIES_TAG_2, self._keys, words.head, tail, starts=True)


class _Series:
    """The series of requests, as long as what they refer to stays as it is."""

    def __init__(
        self,
        owner: object,
        tag: bytes,
        keys: Keys,
        head: Callable[[bytes], bytes],
        tail: Tail | None,
        starts: bool = False,
    ) -> None:
        self.head_bytes = 0
        """Those of all series in the last request."""
        self._owner, self._tag, self._keys, self._head, self._tail = owner, tag, keys, head, tail
        self._starts = starts
        self.packer = Packer()
        self._heads: dict[int, bytes] = {}

    def pieces(self, batches: Sequence[Batch]) -> Iterator[tuple[int, bytes]]:
        """Yield length and compressed bytes of all series."""
        self.head_bytes = 0
        for run in runs(batches):
            times = [batch.time_ms for batch in run if isinstance(batch.time_ms, int)]
            if len(times) == len(run) and times[0] >= FIRST_MS and times[-1] <= LAST_MS:
                bits = [value_bits(batch.value, batch.stale) for batch in run]
                yield self.packer.pack(self._template(run[0].layout, len(run)).fill(times, bits))
            else:
                yield self.packer.pack(b"".join(part for batch in run for part in self._sorted(batch)))

    def _template(self, layout: Layout, count: int) -> WriteTemplate:
        made = layout.derive(self._owner, lambda _: _Made())
        if made.of is not self:
            made.of, made.templates = self, {}
        template = made.templates.get(count)
        if template is None:
            ids = layout.ids.tolist()
            keys = [self._keys(series) for series in ids]
            heads = [self._head(key) for key in keys]
            starts = start_places(keys) if self._starts else ()
            template = WriteTemplate(self._tag, heads, self._tails(layout, ids), count, starts)
            if len(made.templates) == _TEMPLATES:
                del made.templates[next(each for each in made.templates if each != 1)]
            made.templates[count] = template
        self.head_bytes += template.head_bytes
        return template

    def _sorted(self, batch: Batch) -> list[bytes]:
        """Return the samples of each series together, as a message has to have them."""
        ids = batch.layout.ids
        order = np.argsort(ids, kind="stable")
        _, first, counts = np.unique(ids[order], return_index=True, return_counts=True)
        series = ids[order][first].tolist()
        heads = [self._kept_head(number) for number in series]
        self.head_bytes += sum(map(len, heads))
        bits = value_bits(batch.value, batch.stale)[order]
        tails = self._tails(batch.layout, series)
        return encode_time_series(heads, counts.tolist(), batch.times()[order], bits, self._tag, tails)

    def _kept_head(self, series: int) -> bytes:
        found = self._heads.get(series)
        if found is None:
            if len(self._heads) == MOST_HEADS:
                self._heads.clear()
            found = self._heads[series] = self._head(self._keys(series))
        return found

    def _tails(self, layout: Layout, ids: list[int]) -> list[bytes]:
        if self._tail is None or not layout.metadata:
            return [b""] * len(ids)
        by_name: dict[str, bytes] = {}
        tails = []
        for series in ids:
            name = metric_name(self._keys(series))
            tail = by_name.get(name)
            if tail is None:
                family = family_of(name, layout.metadata)
                tail = by_name[name] = self._tail(layout.metadata[family]) if family else b""
            tails.append(tail)
        return tails


@dataclass(slots=True)
class _Made:
    """Templates of a layout, by the number of samples of each series."""

    of: _Series | None = None
    templates: dict[int, WriteTemplate] = field(default_factory=dict)
