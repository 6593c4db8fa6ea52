"""Samples as line protocol: all but values and times of a layout is written once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.wire.line_protocol_places import Place
from metricsmith.wire.line_protocol_text import field_key, head, string

MAX_NAMES_BYTES = 30_000
"""Of names in one text; InfluxDB takes texts of 64 KB, and a quote takes more than one byte."""


@dataclass(frozen=True, slots=True)
class Written:
    """What is written of a series: measurement and tags, and the field; `name` is the latter as it is."""

    head: bytes
    field: bytes
    name: bytes


def written(place: Place) -> Written:
    """Return what is written of a series.

    Raises:
        NoForm: line protocol has no form for it.
    """
    return Written(head(place), field_key(place.field), place.field)


class LineTemplate:
    """The lines of a layout: fields of one measurement and tag set, at one time, share one."""

    def __init__(self, series: Sequence[Written]) -> None:
        """Keep what is written of each series, in the layout's order; what is the same is kept once."""
        numbers: dict[bytes, int] = {}
        line = [numbers.setdefault(each.head, len(numbers)) for each in series]
        same: dict[bytes, bytes] = {}
        self._line: I64 = np.array(line, dtype=np.int64)
        self._heads = list(numbers)
        self._names = [same.setdefault(each.name, each.name) for each in series]
        self._fields = [same.setdefault(text := b",%b=" % each.field, text) for each in series]
        self._order: I64 = np.argsort(self._line, kind="stable")
        begins = _changes(self._line[self._order]).tolist()
        self._pieces = [
            self._begin(at) if begin else self._fields[at]
            for at, begin in zip(self._order.tolist(), begins, strict=True)
        ]

    def _begin(self, at: int) -> bytes:
        """Return how the line begins that a series is the first of."""
        return b"\n%b %b" % (self._heads[self._line[at]], self._fields[at][1:])

    def fill(self, values: F64, time: int) -> bytes:
        """Return the lines of all series at one time; each series is in the layout once.

        Shapes:
            values: (P,) finite.
        """
        if not len(values):
            return b""
        pieces: list[bytes] = [b""] * (2 * len(values))
        pieces[0::2] = self._pieces
        pieces[1::2] = _texts(values[self._order])
        pieces[0] = pieces[0][1:]
        # No name or value has a newline: they are where lines end, and times belong.
        return (b"".join(pieces) + b"\n").replace(b"\n", b" %d\n" % time)

    def fill_each(self, places: I64, series: I64, values: F64, times: I64) -> bytes:
        """Return the lines of samples with times of their own; of one series at one time the last counts.

        Shapes:
            places: (N,) in the layout. series: (N,) the same number for samples of one series.
            values: (N,) finite. times: (N,)
        """
        if not len(values):
            return b""
        line = self._line[places]
        order = np.lexsort((series, line, times))
        repeated = (np.diff(series[order]) == 0) & (np.diff(times[order]) == 0)
        order = order[np.append(~repeated, True)]
        begins = _changes(line[order]) | _changes(times[order])
        last = np.flatnonzero(np.append(begins[1:], True))
        texts = _texts(values[order])
        for at, time in zip(last.tolist(), times[order][last].tolist(), strict=True):
            texts[at] += b" %d" % time
        pieces: list[bytes] = [b""] * (2 * len(order))
        pieces[0::2] = [
            self._begin(at) if begin else self._fields[at]
            for at, begin in zip(places[order].tolist(), begins.tolist(), strict=True)
        ]
        pieces[1::2] = texts
        return b"".join(pieces)[1:] + b"\n"

    def marks(self, field: bytes, places: I64, times: I64) -> bytes:
        """Return lines that tell, in a text field, which fields of a line ended: a JSON list of their names.

        More than one text takes go on in the next unit of time.

        Shapes:
            places: (P,) of series in the layout. times: (P,)
        """
        ended: dict[tuple[int, int], list[bytes]] = {}
        for at, time in zip(places.tolist(), times.tolist(), strict=True):
            ended.setdefault((int(self._line[at]), time), []).append(self._names[at])
        lines = []
        for (line, time), names in ended.items():
            for number, text in enumerate(_lists(names)):
                lines.append(b"%b %b=%b %d\n" % (self._heads[line], field, string(text), time + number))
        return b"".join(lines)


def ended_names(text: object) -> list[bytes]:
    """Return the fields that such a text lists, none where it is no such text."""
    try:
        names = orjson.loads(text) if isinstance(text, str) else []
        return [name.encode() for name in names]
    except (ValueError, TypeError, AttributeError):
        return []


def _lists(names: Sequence[bytes]) -> Iterator[bytes]:
    chosen: list[str] = []
    size = 0
    for name in names:
        if chosen and size + len(name) > MAX_NAMES_BYTES:
            yield orjson.dumps(chosen)
            chosen, size = [], 0
        chosen.append(name.decode())
        size += len(name) + len('"",')
    yield orjson.dumps(chosen)


def _texts(values: F64) -> list[bytes]:
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def _changes(numbers: I64) -> Bool:
    """Return where a number is another than before; the first always is."""
    return np.concatenate([np.ones(min(1, len(numbers)), np.bool_), np.diff(numbers) != 0])
