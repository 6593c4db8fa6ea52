"""`meta.json`: what a block holds and the checksums of its files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from metricsmith.errors import BlockCorrupt, FormatTooNew

BLOCK_FORMAT = 1
SAMPLES_FILE, SERIES_FILE, META_FILE = "samples.parquet", "series.parquet", "meta.json"
MAX_META_BYTES = 32 << 20
"""Of a block with so many row groups that it is larger, each would be tiny."""
Count = Annotated[int, Field(ge=0, le=1 << 48)]
GroupSamples = Annotated[int, Field(ge=0, le=1 << 24)]
"""A writer's are far smaller; what is decoded at once is bounded by it."""
Checksum = Annotated[int, Field(ge=0, lt=1 << 32)]
TimeMs = Annotated[int, Field(ge=-62_135_596_800_000, le=253_402_300_799_999)]
"""Of the years 1 to 9999, as they stand in a folder's name."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileMeta(_Part):
    """A file that is read as a whole."""

    bytes: Count
    crc32: Checksum


class SamplesMeta(_Part):
    """`samples.parquet` as the parts that are read at once: row groups one after another, then the footer.

    Lists have one entry per row group. The first row group's part begins with
    the file, the footer's ends with it, so every byte is under a checksum.
    """

    row_group_samples: list[GroupSamples] = Field(min_length=1)
    row_group_bytes: list[Count]
    row_group_crc32: list[Checksum]
    footer_bytes: int = Field(ge=12, le=1 << 40)
    footer_crc32: Checksum

    @model_validator(mode="after")
    def _one_entry_per_row_group(self) -> Self:
        lists = (self.row_group_samples, self.row_group_bytes, self.row_group_crc32)
        if len({len(column) for column in lists}) != 1:
            raise ValueError("got lists of different lengths, wanted one entry per row group")
        return self


class BlockMeta(_Part):
    """What `meta.json` says; times are in milliseconds since the Unix epoch."""

    format: int
    number: int = Field(ge=1, le=1 << 48)
    window_start_ms: TimeMs
    window_end_ms: TimeMs
    min_time_ms: TimeMs
    max_time_ms: TimeMs
    series: int = Field(ge=1, le=1 << 32)
    samples: int = Field(ge=1, le=1 << 48)
    catalogue: str
    sources: list[str]
    series_file: FileMeta
    samples_file: SamplesMeta

    def clashes_with(self, other: BlockMeta) -> bool:
        """Return whether another block has the same number, and other samples: only one of them can serve."""
        return self.number == other.number and self != other

    @property
    def name(self) -> str:
        """The name of the block's folder: its window in UTC, then its number."""
        return f"{_utc(self.window_start_ms)}-{_utc(self.window_end_ms)}-{self.number:08d}"

    @property
    def samples_bytes(self) -> int:
        """The size of `samples.parquet`."""
        return sum(self.samples_file.row_group_bytes) + self.samples_file.footer_bytes

    @property
    def disk_bytes(self) -> int:
        """The size of the block's two data files."""
        return self.samples_bytes + self.series_file.bytes


def encode_meta(meta: BlockMeta) -> bytes:
    """Return the bytes of `meta.json`."""
    return orjson.dumps(meta.model_dump(), option=orjson.OPT_INDENT_2)


def decode_meta(data: bytes, where: str) -> BlockMeta:
    """Return what the bytes of a `meta.json` say.

    Raises:
        BlockCorrupt: not what a block writer writes.
        FormatTooNew: a newer metricsmith wrote the block.
    """
    try:
        fields = orjson.loads(data)
        version = fields.get("format") if isinstance(fields, dict) else None
        if isinstance(version, int) and version > BLOCK_FORMAT:
            raise FormatTooNew(f"{where}: got block format {version}, wanted {BLOCK_FORMAT} or older")
        return BlockMeta.model_validate(fields)
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise BlockCorrupt(f"{where}: {error}") from error


def _utc(time_ms: int) -> str:
    return f"{_EPOCH + timedelta(milliseconds=time_ms):%Y%m%dT%H%M%SZ}"
