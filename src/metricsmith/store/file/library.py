"""The files of a folder, as queries find them: the current ones as far as they are acknowledged."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from metricsmith.contracts import Context
from metricsmith.errors import BlockCorrupt, QueryTimeout, StoreUnavailable
from metricsmith.model.arrays import U32
from metricsmith.model.selection import SampleLimit
from metricsmith.store.file.decoders import FramesDecoder, TextDecoder
from metricsmith.store.file.growing import GrowingFile
from metricsmith.store.file.memory import PieceMemory
from metricsmith.store.file.parquet_file import ParquetFile
from metricsmith.store.pieces import RaggedPiece
from metricsmith.wire.sample_files.columns import Damage
from metricsmith.wire.sample_files.dialects import DIALECTS
from metricsmith.wire.sample_files.names import FileName, Form, list_files
from metricsmith.wire.sample_files.position import Position, read_position
from metricsmith.wire.sample_files.read_lines import LineReader

log = logging.getLogger(__name__)

READ_LIMIT_S = 120.0


class SampleFile(Protocol):
    """What queries ask of a file."""

    def series(self, name: str | None = None) -> U32: ...

    def known_series(self) -> U32: ...

    def overlaps(self, start_ms: int, end_ms: int) -> bool: ...

    def select(
        self, wanted: U32, start_ms: int, end_ms: int, limit: SampleLimit, name: str | None = None
    ) -> Iterator[RaggedPiece]: ...


class Library:
    """Knows the files of a folder, and what is in those that somebody has asked for. Thread-safe."""

    def __init__(self, folder: Path, context: Context, cache_bytes: int) -> None:
        self.folder = folder
        self._series, self._telemetry, self._clock = context.series, context.telemetry, context.clock
        self._memory = PieceMemory(cache_bytes)
        self._lines = {form: LineReader(dialect, context.series) for form, dialect in DIALECTS.items()}
        self._growing: dict[str, GrowingFile] = {}
        self._parquet: dict[str, ParquetFile | None] = {}
        self._damaged: dict[str, str] = {}
        self._editions: dict[str, tuple[int, ...]] = {}
        self._lock = threading.Lock()

    def series(self, start_ms: int, end_ms: int, name: str | None = None) -> U32:
        """Return the sorted ids of the series in files that may have samples in the closed range.

        With the name of a metric, those of others may be missing.

        Raises:
            as `files`.
        """
        found = [np.empty(0, np.uint32)]
        found += [file.series(name) for file in self.files(start_ms, end_ms)]
        return np.unique(np.concatenate(found))

    def select(
        self, wanted: U32, start_ms: int, end_ms: int, limit: SampleLimit, name: str | None = None
    ) -> list[RaggedPiece]:
        """Return the samples of some series, sorted ids, in the closed range; later pieces win.

        All are of one metric where its name is given.

        Raises:
            QueryLimitExceeded: they are too many.
            as `files`.
        """
        until_s = self._clock.monotonic() + READ_LIMIT_S
        found: list[RaggedPiece] = []
        for file in self.files(start_ms, end_ms):
            for piece in file.select(wanted, start_ms, end_ms, limit, name):
                self._check_time(until_s)
                found.append(piece)
        return found

    def files(self, start_ms: int, end_ms: int) -> list[SampleFile]:
        """Return the files that may have samples in the closed range, read up to date, oldest first.

        Raises:
            FileNotFoundError: one was renamed or deleted meanwhile; ask again.
            StoreUnavailable: the folder cannot be read.
            QueryTimeout: that takes too long; what is read by then need not be read again.
        """
        until_s = self._clock.monotonic() + READ_LIMIT_S
        position, names = self.listing()
        found: list[SampleFile] = []
        for name in names:
            if name.period.start_ms <= end_ms and name.period.end_ms > start_ms:
                self._check_time(until_s)
                file = self._file(name, position)
                if file is not None and file.overlaps(start_ms, end_ms):
                    found.append(file)
        self._forget_but(names)
        return found

    def listing(self) -> tuple[Position | None, list[FileName]]:
        """Return how far the folder is written, and its files.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        try:  # in this order: a file that ends meanwhile is listed as finished
            return read_position(self.folder), list_files(self.folder)
        except FileNotFoundError:
            return None, []  # nothing is written yet
        except OSError as error:
            raise StoreUnavailable("access", f"{self.folder}: {error.strerror or error}") from None

    def known_series(self) -> int | None:
        """Return how many series there are in the files that somebody has asked for; None before that."""
        with self._lock:
            files: list[SampleFile] = [*self._growing.values(), *filter(None, self._parquet.values())]
        if not files:
            return None
        return len(
            np.unique(np.concatenate([np.empty(0, np.uint32), *(file.known_series() for file in files)]))
        )

    def damage(self) -> list[str]:
        """Return what could not be read, for people."""
        return list(self._damaged.values())

    def _check_time(self, until_s: float) -> None:
        if self._clock.monotonic() > until_s:
            text = f"the files were not read within {READ_LIMIT_S:g} s; ask for a shorter range, or again"
            raise QueryTimeout(text)

    def _file(self, name: FileName, position: Position | None) -> SampleFile | None:
        path = self.folder / str(name)
        found = path.stat()
        self._forget_other(name, found)
        if name.form is Form.PARQUET:
            return self._parquet_file(name, path)
        file = self._growing_file(name)
        end = found.st_size
        if name.current and position is not None:  # what is beyond may be taken back
            known = position.files.get(str(name))
            end = 0 if known is None else min(end, known.bytes)
        try:
            file.catch_up(path, end)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
            self._tell(path, Damage("the file", str(error.strerror or error)))
        return file

    def _forget_other(self, name: FileName, found: os.stat_result) -> None:
        """Forget what is known of a file when another has its name, or somebody has changed it."""
        edition = (found.st_ino,) if name.current else (found.st_ino, found.st_size, found.st_mtime_ns)
        key = _key(name)
        with self._lock:
            before = self._editions.get(key, ())
            self._editions[key] = edition
            if edition[: len(before)] != before:
                self._forget(key)
                self._damaged.pop(str(name), None)

    def _forget(self, key: str) -> None:
        if (growing := self._growing.pop(key, None)) is not None:
            self._memory.forget(growing)
        self._parquet.pop(key, None)

    def _growing_file(self, name: FileName) -> GrowingFile:
        key = _key(name)
        with self._lock:
            file = self._growing.get(key)
            if file is None:
                decoder = (
                    FramesDecoder(self._series, self._tell)
                    if name.form is Form.FRAMES
                    else TextDecoder(self._lines[name.form], name.suffix, self._tell)
                )
                file = self._growing[key] = GrowingFile(decoder, self._memory)
            return file

    def _parquet_file(self, name: FileName, path: Path) -> SampleFile | None:
        key = str(name)
        with self._lock:
            if key in self._parquet:
                return self._parquet[key]
        file = None
        try:
            file = ParquetFile(path, self._series, self._tell)
        except BlockCorrupt as error:
            self._tell_damage(path, f"{error}; the file is left out", "file")
        with self._lock:
            self._parquet[key] = file  # None is done without, until it is another
        return file

    def _tell(self, path: Path, damage: Damage) -> None:
        self._tell_damage(path, f"{path}: {damage.place}: {damage.problem}", "part")

    def _tell_damage(self, path: Path, text: str, reason: str) -> None:
        with self._lock:
            self._damaged.setdefault(path.name, text)
        self._telemetry.problem(
            log, "metricsmith_store_files_damaged_total", text, subject=str(path), reason=reason
        )

    def _forget_but(self, names: list[FileName]) -> None:
        there = {str(name) for name in names} | {str(name.finished()) for name in names}
        with self._lock:
            for gone in self._editions.keys() - there:
                del self._editions[gone]
                self._forget(gone)
            for gone in self._damaged.keys() - there:
                del self._damaged[gone]


def _key(name: FileName) -> str:
    """Return what a file is known by, also when it gets its final name."""
    return str(name) if name.form is Form.FRAMES else str(name.finished())
