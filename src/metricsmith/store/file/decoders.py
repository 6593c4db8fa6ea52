"""How text and frames are read in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from metricsmith.errors import JournalCorrupt, WireError
from metricsmith.model.batch import Batch
from metricsmith.model.series import SeriesTable
from metricsmith.wire.sample_files.columns import Columns, Damage, columns_of
from metricsmith.wire.sample_files.frames_file import FramesReader
from metricsmith.wire.sample_files.read_lines import LineReader
from metricsmith.wire.sample_files.streams import read_text

Tell = Callable[[Path, Damage], None]
"""Told of what cannot be read."""


class TextDecoder:
    """JSON lines or CSV, compressed or not. The reader of lines may be that of other files, too."""

    def __init__(self, lines: LineReader, suffix: str, tell: Tell) -> None:
        self._lines, self._suffix, self._tell = lines, suffix, tell
        self._next_line = 1

    def decode(self, path: Path, start: int, end: int | None) -> Iterator[Columns]:
        """Yield the samples between two ends of lines, or of compressed members."""
        try:
            for text in read_text(path, self._suffix, start, end):
                columns, damage = self._lines.decode(text, self._next_line)
                self._next_line += text.count(b"\n")
                for each in damage:
                    self._tell(path, each)
                yield columns
        except WireError as error:
            self._tell(path, Damage(f"after line {self._next_line - 1}", str(error)))

    def restart(self) -> None:
        """Number lines from the first."""
        self._next_line = 1


class FramesDecoder:
    """What is on its way to become Parquet."""

    def __init__(self, series: SeriesTable, tell: Tell) -> None:
        self._series, self._tell = series, tell
        self._reader = FramesReader(series)

    def decode(self, path: Path, start: int, end: int | None) -> Iterator[Columns]:
        """Yield the samples between two ends of frames."""
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(-1 if end is None else end - start)
        batches: list[Batch] = []
        try:
            batches += self._reader.batches(data, start)
        except JournalCorrupt as error:
            self._tell(path, Damage("frames", str(error)))
        if batches:
            yield columns_of(batches)

    def restart(self) -> None:
        """Begin with the first session."""
        self._reader = FramesReader(self._series)
