"""A file that is being written: appended to, made durable, taken back when that fails, and finished."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from metricsmith.model.batch import Batch
from metricsmith.model.durable_files import sync_folder
from metricsmith.model.series import SeriesTable
from metricsmith.wire.sample_files.dialects import Dialect
from metricsmith.wire.sample_files.frames_file import FramesWriter
from metricsmith.wire.sample_files.names import FileName
from metricsmith.wire.sample_files.position import OpenFile
from metricsmith.wire.sample_files.streams import compressed
from metricsmith.wire.sample_files.write_lines import LineWriter

Numbered = tuple[int, Batch]


class Encoder(Protocol):
    """Makes bytes of batches, for one file."""

    def encode(self, batches: Sequence[Numbered], first: bool) -> bytes:
        """Return what is appended; `first` when the file is empty."""
        ...

    def begin_anew(self) -> None:
        """What was encoded last has not been written."""
        ...


class LinesEncoder:
    """Lines, compressed as a whole: each delivery can be read by itself."""

    def __init__(self, lines: LineWriter, dialect: Dialect, suffix: str) -> None:
        self._lines, self._header, self._suffix = lines, dialect.header, suffix

    def encode(self, batches: Sequence[Numbered], first: bool) -> bytes:
        """Return lines, with the header where the file begins."""
        header = [self._header] if first else []
        return compressed(
            b"".join([*header, *(self._lines.encode(batch) for _, batch in batches)]), self._suffix
        )

    def begin_anew(self) -> None:
        """Lines do not depend on those before."""


class FramesEncoder:
    """Frames of a session that this process has begun."""

    def __init__(self, series: SeriesTable) -> None:
        self._frames = FramesWriter(series)

    def encode(self, batches: Sequence[Numbered], first: bool) -> bytes:
        """Return frames."""
        # Before anything of the journal is in the folder its position is -1, and frames count from 0.
        return b"".join(
            piece for sequence, batch in batches for piece in self._frames.encode(batch, max(0, sequence))
        )

    def begin_anew(self) -> None:
        """Define series and layouts anew."""
        self._frames.begin_anew()


class CurrentFile:
    """Appends to a file. `state` is what is durable and acknowledged; the rest is taken back or settled.

    It is open only while it is appended to: a delivery may reach far back, into many files.
    """

    def __init__(
        self, folder: Path, name: FileName, encoder: Encoder, begun_ms: int, state: OpenFile | None = None
    ) -> None:
        """`begun_ms` is 0 for a file of an earlier life."""
        self.name, self.path, self.begun_ms = name, folder / str(name), begun_ms
        self.state = self._next = state or OpenFile()
        self._encoder = encoder

    @property
    def is_new(self) -> bool:
        """Whether nothing in it is acknowledged yet."""
        return self.state.bytes == 0

    @property
    def next_state(self) -> OpenFile:
        """What is acknowledged once it is settled."""
        return self._next

    def is_there(self) -> bool:
        """Return whether what is acknowledged still stands in the file, as far as its size tells."""
        try:
            return self.path.stat().st_size >= self.state.bytes
        except FileNotFoundError:
            return self.is_new

    def append(self, batches: Sequence[Numbered]) -> None:
        """Write samples and wait for the disk.

        Raises:
            OSError: call `take_back`.
        """
        data = memoryview(self._encoder.encode(batches, self.is_new))
        self._next = _grown(self.state, len(data), [batch for _, batch in batches])
        at = self.state.bytes
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            while data:
                written = os.pwrite(file, data, at)
                data, at = data[written:], at + written
            os.fsync(file)
        finally:
            os.close(file)

    def settle(self) -> None:
        """Note that what was appended is acknowledged."""
        self.state = self._next

    def take_back(self) -> None:
        """Remove what is not acknowledged."""
        self._next = self.state
        self._encoder.begin_anew()
        with suppress(OSError):  # what is left is written over, or cut at the next start
            if self.is_new:
                self.path.unlink(missing_ok=True)
            else:
                os.truncate(self.path, self.state.bytes)

    def rename(self) -> None:
        """Give it its final name; nothing is appended any more.

        Raises:
            OSError: call it again.
        """
        self.path.rename(self.path.with_name(str(self.name.finished())))
        sync_folder(self.path.parent)


def _grown(state: OpenFile, more_bytes: int, batches: Iterable[Batch]) -> OpenFile:
    firsts, lasts, samples = [], [], 0
    for batch in batches:
        times = batch.time_ms
        firsts.append(times if isinstance(times, int) else int(times.min()))
        lasts.append(times if isinstance(times, int) else int(times.max()))
        samples += len(batch)
    return replace(
        state,
        bytes=state.bytes + more_bytes,
        samples=state.samples + samples,
        first_ms=min([*firsts, *([] if state.first_ms is None else [state.first_ms])]),
        last_ms=max([*lasts, *([] if state.last_ms is None else [state.last_ms])]),
    )
