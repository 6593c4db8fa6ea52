"""What a sink and a store of files agree on: how the files are written."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from metricsmith.contracts import PartConfig
from metricsmith.model.settings_types import SizeBytes
from metricsmith.wire.sample_files.names import Form, Rotation

_WORDS = {"true": True, "false": False, "gzip": "gzip", "zstd": "zstd"}


def _compression(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value not in _WORDS:
        raise ValueError("true, false, gzip or zstd")
    return _WORDS[value]


Compression = Annotated[bool | Literal["gzip", "zstd"], BeforeValidator(_compression)]
"""How files are compressed; true is the usual way of their format."""
_SUFFIXES = {"": "", "gzip": ".gz", "zstd": ".zst"}


class FileSettings(PartConfig):
    """How files of samples are written."""

    format: Literal["json", "csv", "parquet"] = Field(
        "json", description="JSON lines, CSV with a header, or Parquet sorted by series and time."
    )
    rotation: Rotation = Field(
        Rotation.DAILY, description="Samples of one file are of one hour or day (UTC), or of any time (none)."
    )
    max_file_size: SizeBytes = Field(
        256 << 20, ge=4096, le=1 << 40, description="A file that is larger is finished, and another begun."
    )
    compression: Compression = Field(False, description="true is gzip for JSON and CSV, zstd for Parquet.")

    @property
    def codec(self) -> str:
        """The name of the compression, empty for none."""
        if isinstance(self.compression, str):
            return self.compression
        if not self.compression:
            return ""
        return "zstd" if self.format == "parquet" else "gzip"

    @property
    def form(self) -> Form:
        """What a current file holds: what becomes Parquet is written as frames first."""
        return Form.FRAMES if self.format == "parquet" else Form(self.format)

    @property
    def suffix(self) -> str:
        """What stands at the end of names, such as .gz; Parquet is compressed within."""
        return "" if self.format == "parquet" else _SUFFIXES[self.codec]
