"""The symbols of a remote-write 2.0 request, and what its series are by their references to them."""

from __future__ import annotations

from dataclasses import dataclass, field

from metricsmith.errors import LimitExceeded, WireError
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.wire.protobuf import BYTES, VARINT, expect, read_fields, read_varint
from metricsmith.wire.remote_write_message import metric_type, series_key

NO_SERIES = 0xFFFFFFFF
"""Stands for the id of a series whose labels name none."""
NEW_TEXT_BYTES = 128 << 20
"""Most bytes of labels of new series and of metadata in one request: a reference is short, its text long."""
_ENTRY_BYTES = 150
_SUFFIXES = {
    MetricType.HISTOGRAM: (b"_bucket", b"_count", b"_sum"),
    MetricType.GAUGEHISTOGRAM: (b"_bucket", b"_gcount", b"_gsum"),
    MetricType.SUMMARY: (b"_count", b"_sum"),
}


@dataclass(slots=True)
class Symbols:
    """Texts that series refer to by number; remembers what references have been found to mean."""

    texts: list[bytes]
    series: dict[bytes, int] = field(default_factory=dict)
    """References to labels, as sent → id."""
    tails: dict[bytes, Metadata | None] = field(default_factory=dict)
    """What follows the samples of a series, as sent → its metadata."""
    described: set[tuple[int, bytes]] = field(default_factory=set)
    metadata: dict[str, Metadata] = field(default_factory=dict)
    """That of families; what a request has been given is not changed by later ones."""
    why: str = ""
    """What is wrong with the first series whose labels name none."""
    _room: int = 0
    _shared: bool = False

    def begin(self) -> None:
        """Begin a request."""
        self.why, self._room, self._shared = "", NEW_TEXT_BYTES, True

    def size(self) -> int:
        """Return about how many bytes are held besides the texts."""
        entries = len(self.texts) + 2 * len(self.series) + 2 * len(self.tails) + len(self.described)
        return _ENTRY_BYTES * entries

    def find(self, refs: bytes, table: SeriesTable) -> int:
        """Return the id of the labels that packed references name; NO_SERIES when they name none.

        Raises:
            WireError: they are no numbers.
        """
        found = self.series.get(refs)
        if found is None:
            numbers = _numbers(refs)
            try:
                key = series_key(self._labels(numbers))
                self._charge(len(key))
                found = table.intern(key)
            except WireError as error:
                self.why = self.why or str(error)
                return NO_SERIES
            self.series[refs] = found
        return found

    def describe(self, series: int, tail: bytes, table: SeriesTable) -> None:
        """Remember the metadata in a series' tail, under its family's name."""
        self.described.add((series, tail))
        metadata = self.tails[tail]
        if metadata is None or series == NO_SERIES:
            return
        name = table.key(series).partition(b"\xff")[0]
        for suffix in _SUFFIXES.get(metadata.type, ()):
            if name.endswith(suffix) and len(name) > len(suffix):
                name = name.removesuffix(suffix)
                break
        if self._shared:
            self.metadata, self._shared = dict(self.metadata), False
        self.metadata[name.decode()] = metadata

    def read_tail(self, tail: bytes) -> bool:
        """Return whether bytes hold nothing but metadata and a created timestamp, and remember them."""
        metadata = None
        for number, kind, start, stop in read_fields(tail, 0, len(tail)):
            if number == 5 and kind == BYTES:
                metadata = self.read_metadata(tail, start, stop)
            elif number != 6 or kind != VARINT:
                return False
        self.tails[tail] = metadata
        return True

    def read_metadata(self, data: bytes, at: int, end: int) -> Metadata | None:
        """Return what a Metadata message says; None when it says nothing."""
        said = {1: 0, 3: 0, 4: 0}
        for number, kind, start, stop in read_fields(data, at, end):
            if number in said:
                expect(kind, VARINT, "Metadata", number)
                said[number] = read_varint(data, start, stop)[0]
        if not any(said.values()):
            return None
        help, unit = self._text(said[3]), self._text(said[4])
        self._charge(len(help) + len(unit))
        return Metadata(metric_type(said[1]), unit.decode(), help.decode())

    def _labels(self, numbers: list[int]) -> list[tuple[bytes, bytes]]:
        if len(numbers) % 2:
            raise WireError(f"got {len(numbers)} references to labels, wanted pairs")
        texts = [self._text(number) for number in numbers]
        return list(zip(texts[::2], texts[1::2], strict=True))

    def _charge(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise LimitExceeded("got a request whose series have too many bytes of labels; send fewer")

    def _text(self, number: int) -> bytes:
        if number >= len(self.texts):
            raise WireError(f"got a reference to symbol {number} of {len(self.texts)}")
        return self.texts[number]


def _numbers(refs: bytes) -> list[int]:
    if refs.isascii():  # each below 128: a byte each
        return list(refs)
    numbers, at = [], 0
    while at < len(refs):
        number, at = read_varint(refs, at, len(refs))
        numbers.append(number)
    return numbers
