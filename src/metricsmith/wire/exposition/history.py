"""Text with many samples of each series, read in parts: a wrong line is told, and the others count.

Neither order nor the rules of families matter here: such files are written series by series, or
scrape by scrape, by many programs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from metricsmith.errors import ExpositionError, LimitExceeded
from metricsmith.model.arrays import I64
from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable
from metricsmith.wire.exposition.exemplars import cut_exemplars
from metricsmith.wire.exposition.families import collect_metadata
from metricsmith.wire.exposition.formats import ExpositionFormat
from metricsmith.wire.exposition.lines import malformed, separators_of
from metricsmith.wire.exposition.numbers import (
    MalformedNumber,
    parse_floats,
    parse_millis,
    parse_seconds,
    to_millis,
)
from metricsmith.wire.exposition.reader import EOF_LINE, read_document
from metricsmith.wire.exposition.series_text import SeriesLimits, SeriesParser
from metricsmith.wire.sample_files.columns import Columns, Damage

MOST_KEPT = 200_000
_DUMPED = b'{__name__="'
"""How a line of `promtool tsdb dump` begins; a name in quotes alone means the same."""


@dataclass(slots=True)
class HistoryText:
    """Reads parts of a file one after another; `metadata` is what its comments have told so far."""

    format: ExpositionFormat
    series: SeriesTable
    metadata: dict[str, Metadata] = field(default_factory=dict)
    _known: dict[bytes, bytes] = field(default_factory=dict)
    _parser: SeriesParser = field(init=False)

    def __post_init__(self) -> None:
        self._parser = SeriesParser(self._strict, SeriesLimits())

    @property
    def _strict(self) -> bool:
        return self.format is ExpositionFormat.OPENMETRICS

    def decode(self, data: bytes, first_line: int) -> tuple[Columns, list[Damage]]:
        """Return the samples of whole lines, and the lines that are none.

        `first_line` is the number of the first, from 1, for people.
        """
        if data.find(b"\r\n") >= 0:  # an editor's or another system's ends of lines
            data = data.replace(b"\r\n", b"\n")
        if not self._strict and data.find(_DUMPED) >= 0:
            data = (b"\n" + data).replace(b"\n" + _DUMPED, b'\n{"')[1:]
        try:
            return self._columns(data), []
        except (ExpositionError, LimitExceeded):
            return self._by_line(data, first_line)

    def _by_line(self, data: bytes, first_line: int) -> tuple[Columns, list[Damage]]:
        found: list[Columns] = []
        damage: list[Damage] = []
        for number, line in enumerate(data.split(b"\n")[:-1], first_line):
            if not line.strip() or line.rstrip() == EOF_LINE:
                continue
            try:
                found.append(self._columns(line + b"\n"))
            except (ExpositionError, LimitExceeded) as error:
                text = str(error).removeprefix("line 1: ")
                damage.append(Damage(f"line {number}", text))
        return _joined(found), damage

    def _columns(self, data: bytes) -> Columns:
        """Return the samples of lines that are all right.

        Raises:
            ExpositionError, LimitExceeded: they are not.
        """
        body = data
        if self._strict:
            body = data.removesuffix(EOF_LINE + b"\n") + EOF_LINE + b"\n"
            body, _ = cut_exemplars(body, np.frombuffer(body, np.uint8))
        separators = separators_of(np.frombuffer(body, np.uint8))
        reading = read_document(body, separators, self._strict, len(body), self._parser, self._known)
        self.metadata.update(collect_metadata(reading.comments, self._strict))
        spans = reading.spans
        untimed = np.flatnonzero(spans[:, 4] < 0)
        if len(untimed):
            raise _wrong(body, int(reading.lines[untimed[0]]), "wanted a timestamp after the value")
        values = _column(parse_floats, body, spans[:, 2:4], reading.lines)
        if self._strict:
            times = to_millis(_column(parse_seconds, body, spans[:, 4:6], reading.lines))
        else:
            times = _column(parse_millis, body, spans[:, 4:6], reading.lines)
        self._remember(body, spans, reading.keys)
        return Columns(self.series.intern_many(reading.keys), times, values, None)

    def _remember(self, body: bytes, spans: I64, keys: tuple[bytes, ...]) -> None:
        if len(self._known) > MOST_KEPT:
            self._known.clear()
        texts = (body[start:end] for start, end in spans[:, :2].tolist())
        self._known.update(zip(texts, keys, strict=True))


def _column(parse: Callable[..., np.ndarray], body: bytes, spans: I64, lines: I64) -> np.ndarray:
    tokens = pa.array([body[start:end] for start, end in spans.tolist()], pa.binary())
    try:
        return parse(tokens)
    except MalformedNumber as error:
        raise _wrong(body, int(lines[error.index]), f"wanted {error.wanted}") from None


def _wrong(body: bytes, number: int, message: str) -> ExpositionError:
    return malformed(message, number, body.split(b"\n", number)[number - 1])


def _joined(parts: list[Columns]) -> Columns:
    none = Columns(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0), None)
    parts = parts or [none]
    return Columns(
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.values for part in parts]),
        None,
    )
