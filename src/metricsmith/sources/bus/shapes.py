"""Messages to batches, fast for those whose service, tags and names were seen before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from metricsmith.model.arrays import U32
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_pairs
from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable
from metricsmith.model.well_known import known_metadata
from metricsmith.sources.bus.collection import CollectionSettings
from metricsmith.wire.messages import Message, TimeRange, parse_message, parse_timestamp

BUDGET_BYTES = 64 << 20
_ENTRY_BYTES = 700  # dict slot, tuples, arrays and metadata of a shape, whatever it has
_TEXT_BYTES = 100  # a text of a key beside its characters, its place, its id
MAX_TIMES = 1000
_NUMBERS = frozenset((float, int))


@dataclass(frozen=True, slots=True)
class _Shape:
    """What depends on everything in a message but time and values; `places` are those of metrics taken."""

    ids: U32
    places: tuple[int, ...] | None
    left_out: int
    metadata: Mapping[str, Metadata]


class Gathering:
    """Gathers messages into one batch after the other. Used by one thread.

    A message is checked in full when its shape is new: its fields, service,
    tags and the names of its metrics, in their order. Of the next one of that
    shape only time and values are looked at. Shapes are remembered within a
    budget; when it is spent all are forgotten, and what is in use is back at once.
    """

    def __init__(
        self, series: SeriesTable, collection: CollectionSettings, budget_bytes: int = BUDGET_BYTES
    ) -> None:
        self._series, self._collection, self._budget = series, collection, budget_bytes
        self._shapes: dict[tuple[Any, ...], _Shape] = {}
        self._used = 0
        self._not_collected = 0
        self._times: dict[str, int] = {}
        self._start()

    def add(self, body: bytes, times: TimeRange) -> None:
        """Add the samples of a message.

        Raises:
            WireError, MessageError: it cannot be taken; nothing of it is.
        """
        try:
            document = orjson.loads(body)
            key = _key(document)
            shape = self._shapes.get(key)
        except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
            key, shape = None, None  # parse_message says what is wrong
        if shape is not None:
            values = [*document["metrics"].values()]
            time_ms = self._time(document.get("timestamp"), times)
            if time_ms is not None and _NUMBERS.issuperset(map(type, values)):
                self._add(shape, time_ms, values)
                return
        message = parse_message(body, times)
        shape = self._shape(message)
        if key is not None:
            self._remember(key, shape, len(body))
        self._add(shape, message.time_ms, list(message.metrics.values()))

    def take(self) -> Batch:
        """Return all samples that were added since the last call.

        Shapes:
            returns: P, the number of metrics taken of all messages.
        """
        ids = np.concatenate(self._ids) if self._ids else np.empty(0, dtype=np.uint32)
        time_ms = np.repeat(np.array(self._at, dtype=np.int64), self._counts)
        metadata = {name: m for shape in self._met.values() for name, m in shape.metadata.items()}
        batch = Batch(Layout(ids, None, metadata), time_ms, np.array(self._values, dtype=np.float64))
        self._start()
        return batch

    def take_not_collected(self) -> int:
        """Return how many samples were left out by `collection` since the last call."""
        found, self._not_collected = self._not_collected, 0
        return found

    def _remember(self, key: tuple[Any, ...], shape: _Shape, size_bytes: int) -> None:
        """Remember a shape; its texts are no longer than the message."""
        texts = len(key[0]) + 2 * len(key[2]) + len(key[3])
        used = _ENTRY_BYTES + _TEXT_BYTES * texts + size_bytes
        if self._used + used > self._budget:
            self._shapes.clear()
            self._used = 0
        if used <= self._budget:
            self._shapes[key] = shape
            self._used += used

    def _start(self) -> None:
        self._ids: list[U32] = []
        self._at: list[int] = []
        self._counts: list[int] = []
        self._values: list[float] = []
        self._met: dict[int, _Shape] = {}

    def _add(self, shape: _Shape, time_ms: int, values: list[float]) -> None:
        if shape.places is not None:
            values = [values[place] for place in shape.places]
        self._not_collected += shape.left_out
        self._ids.append(shape.ids)
        self._at.append(time_ms)
        self._counts.append(len(values))
        self._values += values
        if shape.metadata:
            self._met[id(shape)] = shape

    def _time(self, text: object, times: TimeRange) -> int | None:
        """Return the time of a message, None for one that is better looked at in full."""
        if text is None:
            return times.now_ms
        if type(text) is not str:
            return None
        found = self._times.get(text)
        if found is None:
            found = parse_timestamp(text)
            if found is None:
                return None
            if len(self._times) >= MAX_TIMES:
                self._times.clear()
            self._times[text] = found
        return found if times.oldest_ms <= found <= times.newest_ms else None

    def _shape(self, message: Message) -> _Shape:
        service = message.labels[0][1].decode()
        names = list(message.metrics)
        taken = [self._collection.takes(service, name) for name in names]
        kept = [name for name, take in zip(names, taken, strict=True) if take]
        ids = self._series.intern_many(encode_pairs(name.encode(), message.labels) for name in kept)
        places = None if len(kept) == len(names) else tuple(i for i, take in enumerate(taken) if take)
        return _Shape(ids, places, len(names) - len(kept), known_metadata(set(kept)))


def _key(document: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells shapes apart.

    Raises:
        TypeError, KeyError, AttributeError: it is no message.
    """
    tags = document.get("tags")
    labels = () if tags is None else tuple(tags.items())
    return tuple(document), document["service"], labels, tuple(document["metrics"])
