"""Compressed text in files: appended as whole gzip members or zstd frames, read as one text."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import suppress
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
_SMALL_BYTES = 16


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
        rest = b""
        for data in _decompressed(file.read_buffer(size - start), suffix):
            whole, newline, rest = (rest + data).rpartition(b"\n")
            if newline:
                yield whole + newline
            if len(rest) > MAX_LINE_BYTES:
                raise WireError(f"got a line of more than {MAX_LINE_BYTES} bytes")


def _decompressed(data: pa.Buffer, suffix: str) -> Iterator[bytes]:
    if not suffix:
        reader = pa.BufferReader(data)
        while piece := reader.read(CHUNK_BYTES):
            yield piece
        return
    done = 0
    try:
        stream = pa.CompressedInputStream(pa.BufferReader(data), _codec(suffix))
        while piece := stream.read(CHUNK_BYTES):
            yield piece
            done += len(piece)
    except OSError as error:  # what Arrow says of bytes that do not decompress: all before them is lost
        yield from _up_to_damage(pa.CompressedInputStream(pa.BufferReader(data), _codec(suffix)), done)
        raise WireError(f"does not decompress: {error}") from None


def _up_to_damage(stream: Any, done: int) -> Iterator[bytes]:
    """Yield what a damaged stream still gives after the bytes that are done, in small pieces."""
    for at in range(0, done, CHUNK_BYTES):
        stream.read(min(CHUNK_BYTES, done - at))
    with suppress(OSError):
        while piece := stream.read(_SMALL_BYTES):
            yield piece


def _codec(suffix: str) -> Literal["gzip", "zstd"]:
    return "gzip" if suffix == GZIP else "zstd"
