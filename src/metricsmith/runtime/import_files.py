"""What import reads: files of samples in many forms, single blocks, and whole data directories."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from metricsmith.errors import InputError
from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable
from metricsmith.runtime.import_folder import as_columns, folder_samples
from metricsmith.store.block_samples import block_samples, is_block
from metricsmith.store.file.decoders import TextDecoder
from metricsmith.store.file.parquet_file import ParquetFile
from metricsmith.wire.exposition.formats import ExpositionFormat
from metricsmith.wire.exposition.history import HistoryText
from metricsmith.wire.sample_files.columns import Columns, Damage
from metricsmith.wire.sample_files.dialects import DIALECTS
from metricsmith.wire.sample_files.formats import compression_of, format_named
from metricsmith.wire.sample_files.names import Form
from metricsmith.wire.sample_files.read_lines import LineReader
from metricsmith.wire.sample_files.streams import read_text

NO_METADATA: Mapping[str, Metadata] = {}
_TAIL_BYTES = 64


class ImportFormat(StrEnum):
    """What can be imported."""

    OPENMETRICS = "openmetrics"
    PROMETHEUS = "prometheus"
    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"
    BLOCK = "block"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class Part:
    """Some samples, what is known of their families, and how many bytes more have been read."""

    columns: Columns
    metadata: Mapping[str, Metadata]
    bytes: int


@dataclass(slots=True)
class ImportFile:
    """One file or folder; `tell` is told of what cannot be read."""

    path: Path
    format: ImportFormat
    tell: Callable[[Path, Damage], None]
    size: int = field(init=False)

    def __post_init__(self) -> None:
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        self.size = sum(file.stat().st_size for file in files if file.is_file())

    def parts(self, table: SeriesTable) -> Iterator[Part]:
        """Yield its samples, in its order.

        Raises:
            OSError, StoreError: it cannot be read.
        """
        match self.format:
            case ImportFormat.DIRECTORY:
                yield from (Part(*read) for read in folder_samples(self.path, table, self.tell))
            case ImportFormat.BLOCK:
                yield from self._block(table)
            case ImportFormat.PARQUET:
                for piece, done in ParquetFile(self.path, table, self.tell).row_groups():
                    yield Part(as_columns(piece), NO_METADATA, done)
            case ImportFormat.CSV | ImportFormat.JSONL:
                yield from self._lines(table)
            case _:
                yield from self._exposition(table)

    def _block(self, table: SeriesTable) -> Iterator[Part]:
        def damaged(problem: str) -> None:
            self.tell(self.path, Damage("", problem))

        for piece, metadata, done in block_samples(self.path, table, damaged):
            yield Part(as_columns(piece), metadata, done)

    def _lines(self, table: SeriesTable) -> Iterator[Part]:
        form = Form.CSV if self.format is ImportFormat.CSV else Form.JSON
        suffix = compression_of(self.path)
        lines = LineReader(DIALECTS[form], table)
        for columns in TextDecoder(lines, suffix, self.tell).decode(self.path, 0, None):
            yield Part(columns, NO_METADATA, 0)
        yield self._all_read()

    def _exposition(self, table: SeriesTable) -> Iterator[Part]:
        strict = self.format is ImportFormat.OPENMETRICS
        reader = HistoryText(ExpositionFormat.OPENMETRICS if strict else ExpositionFormat.TEXT, table)
        suffix, number, done = compression_of(self.path), 1, 0
        try:
            for text in read_text(self.path, suffix, 0, None):
                columns, damage = reader.decode(text, number)
                number += text.count(b"\n")
                for each in damage:
                    self.tell(self.path, each)
                more = 0 if suffix else len(text)
                done += more
                yield Part(columns, reader.metadata, more)
        except InputError as error:
            self.tell(self.path, Damage(f"after line {number - 1}", str(error)))
        yield Part(as_columns(None), NO_METADATA, self.size - done)

    def _all_read(self) -> Part:
        return Part(as_columns(None), NO_METADATA, self.size)


def format_of(path: Path) -> ImportFormat:
    """Return what a file or folder is, by its name, and by the end of texts: OpenMetrics has an end.

    Raises:
        ValueError: that cannot be told.
    """
    if path.is_dir():
        if is_block(path):
            return ImportFormat.BLOCK
        if (path / "FORMAT").is_file():
            return ImportFormat.DIRECTORY
        raise ValueError(f"got the folder {path}, wanted a block, a snapshot or a data directory")
    named = format_named(path)
    if named is not None:
        return ImportFormat(named.value)
    if compression_of(path):
        raise ValueError(f"got {path}, whose name does not say what it holds; set --format")
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        ends = file.read().rstrip().endswith(b"# EOF")
    return ImportFormat.OPENMETRICS if ends else ImportFormat.PROMETHEUS
