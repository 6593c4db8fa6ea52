"""The formats of exported samples, and what the name of a file says of them; light, for command lines."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path


class ExportFormat(StrEnum):
    """What a file of exported samples is."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"
    OPENMETRICS = "openmetrics"


_ENDINGS = {
    ".parquet": ExportFormat.PARQUET,
    ".csv": ExportFormat.CSV,
    ".json": ExportFormat.JSONL,
    ".jsonl": ExportFormat.JSONL,
    ".ndjson": ExportFormat.JSONL,
    ".om": ExportFormat.OPENMETRICS,
    ".openmetrics": ExportFormat.OPENMETRICS,
}
_COMPRESSED = (".gz", ".zst")


def compression_of(file: Path | None) -> str:
    """Return the ending of a compressed file, empty for others.

    >>> compression_of(Path("up.csv.gz"))
    '.gz'
    """
    return file.suffix if file is not None and file.suffix in _COMPRESSED else ""


def format_named(file: Path) -> ExportFormat | None:
    """Return the format that a file's name means; None where it means none.

    >>> format_named(Path("up.csv.gz")).value
    'csv'
    """
    plain = file.with_suffix("") if compression_of(file) else file
    return _ENDINGS.get(plain.suffix)
