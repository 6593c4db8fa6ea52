"""Compressed text in files: appended as whole gzip members or zstd frames, read as one text."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import cramjam
import pyarrow as pa

from metricsmith.errors import WireError

GZIP, ZSTD = ".gz", ".zst"
GZIP_LEVEL, ZSTD_LEVEL = 3, 3
CHUNK_BYTES = 8 << 20
MAX_LINE_BYTES = 4 << 20
_GZIP_BITS = 31


def compressed(data: bytes, suffix: str) -> bytes:
    """Return text as a whole gzip member or zstd frame, as files with that suffix hold."""
    match suffix:
        case ".gz":
            return zlib.compress(data, GZIP_LEVEL, _GZIP_BITS)
        case ".zst":
            return bytes(cramjam.zstd.compress(data, ZSTD_LEVEL))
    return data


def read_text(path: Path, suffix: str, start: int, end: int | None) -> Iterator[bytes]:
    """Yield the text of a part of a file, in pieces of whole lines; a last one without end is left out.

    `start` and `end` bound members or frames.

    Raises:
        OSError: it cannot be read.
        WireError: it is damaged; what came before has been yielded.
    """
    with pa.memory_map(str(path)) as file:
        size = file.size() if end is None else min(end, file.size())
        if start >= size:
            return
        file.seek(start)
        part = pa.BufferReader(file.read_buffer(size - start))
        stream: Any = pa.CompressedInputStream(part, _codec(suffix)) if suffix else part
        rest = b""
        while True:
            try:
                data = stream.read(CHUNK_BYTES)
            except OSError as error:  # what Arrow says of bytes that do not decompress
                raise WireError(f"does not decompress: {error}") from None
            if not data:
                return
            whole, newline, last = (rest + data).rpartition(b"\n")
            if len(last) > MAX_LINE_BYTES:
                raise WireError(f"got a line of more than {MAX_LINE_BYTES} bytes")
            rest = last
            if newline:
                yield whole + newline


def _codec(suffix: str) -> Literal["gzip", "zstd"]:
    return "gzip" if suffix == GZIP else "zstd"
