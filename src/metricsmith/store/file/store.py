"""The store that is files: found by their names, read by time and label, evaluated by our engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from metricsmith.contracts import Context
from metricsmith.errors import StoreError, StoreUnavailable
from metricsmith.model.arrays import U32
from metricsmith.model.labels import NAME_LABEL
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.metadata import Metadata
from metricsmith.model.selection import SampleLimit, Selection
from metricsmith.store.file.library import Library
from metricsmith.store.file.settings import FileStoreConfig
from metricsmith.store.index import SeriesIndex
from metricsmith.store.key_lists import KeyLists
from metricsmith.store.merge import merge
from metricsmith.store_contracts import Cardinality, StoreStatus
from metricsmith.wire.sample_files.metadata import METADATA_FILE, read_metadata

T = TypeVar("T")

ATTEMPTS = 5
"""So often a query begins anew because a file was finished or deleted meanwhile."""
RECENT_MS = 3_600_000
"""Cardinality counts the series of files with samples of the last hour before the newest."""


class FileStore:
    """Reads the files that the `file` sink writes, and such files of others: `Delivered`, from any thread."""

    Config: ClassVar[type[FileStoreConfig]] = FileStoreConfig

    def __init__(self, config: FileStoreConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._library = Library(Path(config.path), context, config.cache_bytes)
        self._index = SeriesIndex(context.series)
        self._lists = KeyLists(context.series)

    def written_by(self) -> tuple[str, Mapping[str, Any]]:
        """Return the sink that writes the files."""
        return "file", self._config.sink()

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        """Return all samples of the matching series in the closed range [start_ms, end_ms]."""

        def read() -> Selection:
            wanted = self._matching(matchers, start_ms, end_ms)
            if not len(wanted):
                return Selection([], [])
            pieces = self._library.select(wanted, start_ms, end_ms, SampleLimit(limit), _metric(matchers))
            return merge(pieces, start_ms, end_ms, self._lists)

        return _while_files_change(read)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[bytes]:
        """Return the sorted keys of matching series in the files that may have samples in the range."""
        found = _while_files_change(lambda: self._matching(matchers, start_ms, end_ms))
        return sorted(self._context.series.key(i) for i in found.tolist())

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the sorted label names of those series."""
        found = _while_files_change(lambda: self._matching(matchers, start_ms, end_ms))
        return self._index.label_names(found)

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the sorted values that a label has in those series."""
        found = _while_files_change(lambda: self._matching(matchers, start_ms, end_ms))
        return self._index.label_values(name, found)

    def metadata(self) -> Mapping[str, Metadata]:
        """Return what is known of each metric family."""
        try:
            return read_metadata(self._library.folder)
        except OSError as error:
            raise StoreUnavailable("access", f"{self._library.folder}: {error.strerror or error}") from None
        except ValueError as error:
            raise StoreUnavailable("answer", f"{self._library.folder / METADATA_FILE}: {error}") from None

    def status(self) -> StoreStatus:
        """Return how the files are; nothing is decoded for it."""
        status = StoreStatus(
            type="file",
            status="connected",
            database=str(self._library.folder),
            retention_ms=self._config.retention,
            disk_usage_bytes=None,
            series=None,
            blocks=None,
            head_samples=None,
            last_sample_ms=None,
            detail="; ".join(self._library.damage()[:3]),
        )
        try:
            position, names = self._library.listing()
        except StoreError as error:
            return replace(status, status="error", detail=str(error))
        sizes = [_size(self._library.folder / str(name)) for name in names]
        current = [] if position is None else list(position.files.values())
        return replace(
            status,
            disk_usage_bytes=sum(sizes),
            blocks=len(names),
            series=self._library.known_series(),
            head_samples=sum(file.samples for file in current),
            last_sample_ms=None if position is None else position.newest_ms,
        )

    def cardinality(self, limit: int) -> Cardinality:
        """Return what makes many series, of the newest files."""
        position, _ = self._library.listing()
        last_ms = self._context.clock.now_ms() if position is None else position.newest_ms
        if last_ms is None:
            return self._index.cardinality(np.empty(0, np.uint32), limit)
        first_ms = last_ms - RECENT_MS
        series = _while_files_change(lambda: self._library.series(first_ms, last_ms))
        return replace(self._index.cardinality(series, limit), first_ms=first_ms, last_ms=last_ms)

    def close(self) -> None:
        """Nothing is held open."""

    def _matching(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> U32:
        present = self._library.series(
            start_ms, end_ms, _metric(matchers)
        )  # first: the index learns of new series
        return np.intersect1d(self._index.match(matchers), present, assume_unique=True)


def _metric(matchers: Sequence[Matcher]) -> str | None:
    """Return the only metric that can match, None where several can."""
    for matcher in matchers:
        if matcher.name == NAME_LABEL and matcher.op is MatchOp.EQ:
            return matcher.value
    return None


def _while_files_change(read: Callable[[], T]) -> T:
    """Return what is read; again where a file got its final name or was deleted meanwhile."""
    for _ in range(ATTEMPTS):
        try:
            return read()
        except FileNotFoundError as error:
            missing = error
    raise StoreUnavailable("answer", f"files change all the time: {missing}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # renamed or deleted this moment
        return 0
