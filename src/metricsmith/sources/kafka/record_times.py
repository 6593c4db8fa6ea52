"""When a record was written, by its own timestamp: exact where the table of offsets only gives a bound.

A few records are looked at in a round; what was found is remembered until the position moves.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from metricsmith.errors import InputError, LimitExceeded
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.sources.kafka.admin import Partition, Trouble
from metricsmith.sources.kafka.client import Client
from metricsmith.sources.kafka.codecs import unpack
from metricsmith.sources.kafka.record_walk import varint
from metricsmith.sources.kafka.records import batches
from metricsmith.sources.kafka.spots import MAX_ANSWER_BYTES, Spot, read_spots

NONE = -1
"""There is no time: the record has none, or cannot be read."""
AT_ONCE = 200
FIRST_BYTES, MOST_BYTES = 16 << 10, 8 << 20
LIMIT_S = 2.0
REMEMBERED = 100
"""Rounds after which it is forgotten who had a turn: they come first again."""


class RecordTimes:
    """Looks at `most` records a round, in at most LIMIT_S seconds; the others have their turn in the next.

    Who has waited longest comes first: a group that commits asks for another record in each
    round, and must not keep those away that stand still.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._round = 0
        self._found: dict[tuple[str, Spot], int] = {}
        self._bytes: dict[tuple[str, int], int] = {}
        self._looked: dict[tuple[str, str, int], int] = {}

    def of(
        self, client: Client, partitions: Sequence[Partition], groups: Sequence[str], spots: Sequence[Spot]
    ) -> tuple[I64, list[Trouble]]:
        """Return the time of the first record at or behind each group's spot, NONE where it is not known.

        Shapes:
            groups, spots: (S,)
            returns: (S,) Unix milliseconds.
        """
        ids = {(each.topic, each.number): each.topic_id for each in partitions}
        keys = [(ids[spot[:2]], spot) for spot in spots]
        self._found = {key: self._found[key] for key in keys if key in self._found}
        self._round += 1
        self._looked = {pair: at for pair, at in self._looked.items() if at >= self._round - REMEMBERED}
        asking: dict[Spot, list[tuple[str, str, int]]] = {}
        for group, key in zip(groups, keys, strict=True):
            if key not in self._found:
                asking.setdefault(key[1], []).append((group, *key[1][:2]))
        waited = {spot: min(self._looked.get(pair, 0) for pair in pairs) for spot, pairs in asking.items()}
        troubles: list[Trouble] = []
        deadline = time.monotonic() + LIMIT_S
        for sizes in self._requests(sorted(waited, key=waited.__getitem__)[: self._most]):
            if time.monotonic() >= deadline:
                break
            found, new = read_spots(client, partitions, sizes, "record_times")
            troubles += new
            for spot in sizes:
                if time.monotonic() > deadline:
                    break
                self._looked |= dict.fromkeys(asking[spot], self._round)
                if spot in found:
                    self._take((ids[spot[:2]], spot), found[spot])
        self._bytes = {spot[:2]: self._bytes[spot[:2]] for spot in spots if spot[:2] in self._bytes}
        return np.array([self._found.get(key, NONE) for key in keys], dtype=np.int64), troubles

    def _requests(self, spots: Sequence[Spot]) -> Iterator[dict[Spot, int]]:
        """Yield spots of distinct partitions, each with the bytes to ask for: what fits one answer."""
        turns: dict[int, list[Spot]] = {}
        seen: Counter[tuple[str, int]] = Counter()
        for spot in spots:
            turns.setdefault(seen[spot[:2]], []).append(spot)
            seen[spot[:2]] += 1
        for turn in turns.values():
            sizes: dict[Spot, int] = {}
            for spot in turn:
                size = self._bytes.get(spot[:2], FIRST_BYTES)
                if len(sizes) == AT_ONCE or sum(sizes.values()) + size > MAX_ANSWER_BYTES:
                    yield sizes
                    sizes = {}
                sizes[spot] = size
            yield sizes

    def _take(self, key: tuple[str, Spot], data: bytes) -> None:
        spot = key[1]
        try:
            found = record_time_ms(data, spot[2])
        except (InputError, LimitExceeded):
            found = NONE
        more = self._bytes.get(spot[:2], FIRST_BYTES) * 8
        if found is None and more <= MOST_BYTES:
            self._bytes[spot[:2]] = more  # a large batch, or markers and gaps only
            return
        if found is None:
            self._bytes.pop(spot[:2], None)
        self._found[key] = NONE if found is None else found


def record_time_ms(data: bytes, offset: int) -> int | None:
    """Return the timestamp of the first record at or behind an offset, NONE if it has none.

    None when these batches hold no such record. Transaction markers are no records; where the
    topic stamps records on arrival, that time counts, as it does for consumers.

    Raises:
        InputError, LimitExceeded: the batches cannot be read.
    """
    for header, records in batches(data):
        if header.control or header.last_offset < offset:
            continue
        found = _delta_at(unpack(header.codec, records), offset - header.base_offset, header.records)
        if found is not None:
            own = NONE if header.first_time < 0 else header.first_time + found
            return header.max_time if header.stamped_on_arrival else own
    return None


def _delta_at(records: bytes, offset_delta: int, count: int) -> int | None:
    """Return the time delta of the first record with that offset delta or a larger one."""
    at = 0
    try:
        for _ in range(count):
            length, at = varint(records, at)
            if length < 1:
                raise InputError(f"got a record of {length} bytes")
            time_delta, behind = varint(records, at + 1)
            own, _ = varint(records, behind)
            if own >= offset_delta:
                return time_delta
            at += length
    except IndexError:
        raise InputError("got a record that goes beyond its batch") from None
    return None


def exact_seconds(seconds: F64, at_least: Bool, written_ms: I64, now_ms: int) -> tuple[F64, Bool]:
    """Return ages, and which are lower bounds, with those of records where they are known.

    A record that says it is younger than it must be, or from the future, is not believed.

    Shapes:
        seconds, at_least, written_ms: (S,)
        returns: (S,); (S,)
    """
    age = (now_ms - written_ms) / 1000
    believed = (written_ms >= 0) & (age >= np.where(at_least, seconds, 0.0))
    return np.where(believed, age, seconds), at_least & ~believed
