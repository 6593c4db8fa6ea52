"""A block store to test, and its contents as a dictionary to compare with."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.blocks import BlockConfig, BlockStore
from metricsmith.store.pieces import MatrixPiece, RaggedPiece

STALE = "stale"
Contents = dict[tuple[bytes, int], float | str]
Samples = Mapping[bytes, Mapping[int, float | str]]
SMALL = BlockConfig(
    retention_ms=10**6, window_ms=1000, max_blocks_per_window=3, row_group_rows=7, windows_in_retention=1000
)
GROWING = dataclasses.replace(SMALL, windows_in_retention=100)
"""With windows of 1,000, 3,000 and 9,000 milliseconds."""


def series_key(number: int) -> bytes:
    """Keys whose byte order is neither that of the numbers nor that of the names alone."""
    name = ("up", "up_total", "a")[number % 3]
    return encode_labels({"__name__": name, "job": f"j{-number}"} if number else {"__name__": name})


@dataclass
class Opened:
    """A store over a table of its own, as after a start of the process."""

    folder: Path
    config: BlockConfig = SMALL
    table: SeriesTable = field(default_factory=SeriesTable)
    telemetry: Telemetry = field(default_factory=Telemetry)

    def __post_init__(self) -> None:
        self.table.intern(b"something else")  # ids must not happen to be block rows
        self.store = BlockStore(self.folder, self.table, self.telemetry, self.config)
        self.store.open()

    def piece(self, samples: Samples) -> RaggedPiece:
        """Return samples as a piece, series in the order given."""
        flat = [(t, s) for times in samples.values() for t, s in sorted(times.items())]
        stale = np.array([s == STALE for _, s in flat])
        return RaggedPiece(
            self.table.intern_many(samples),
            np.cumsum([0, *(len(times) for times in samples.values())]),
            np.array([t for t, _ in flat], np.int64),
            np.array([np.nan if s == STALE else s for _, s in flat], np.float64),
            stale if stale.any() else None,
        )

    def write(self, *pieces: Samples, cursor: int = 1) -> None:
        self.store.write([self.piece(samples) for samples in pieces], {}, cursor)
        self.store.compact()

    def contents(self, start_ms: int = -(2**62), end_ms: int = 2**62) -> Contents:
        """Return everything in the range that the store answers with, later pieces over earlier ones."""
        return contents_of(
            self.store.pieces(self.store.series_in(start_ms, end_ms), start_ms, end_ms), self.table
        )


def contents_of(pieces: Any, table: SeriesTable) -> Contents:
    """Return the samples of pieces, checking that each piece is what it promises."""
    found: Contents = {}
    for piece in pieces:
        assert len(np.unique(piece.series)) == len(piece.series)
        if isinstance(piece, MatrixPiece):
            assert piece.values.shape == (len(piece.series), len(piece.times))
            assert (np.diff(piece.times) > 0).all()
            rows = [(i, piece.times, v, piece.stale) for i, v in zip(piece.series, piece.values, strict=True)]
        else:
            cuts = [slice(a, b) for a, b in zip(piece.offsets[:-1], piece.offsets[1:], strict=True)]
            stale = piece.stale
            rows = [
                (i, piece.times[c], piece.values[c], None if stale is None else stale[c])
                for i, c in zip(piece.series, cuts, strict=True)
            ]
        for series, times, values, marks in rows:
            assert len(times)
            assert (np.diff(times) > 0).all()
            stales = np.zeros(len(times), bool) if marks is None else marks
            for t, v, mark in zip(times.tolist(), values.tolist(), stales.tolist(), strict=True):
                found[table.key(int(series)), t] = STALE if mark else v
    return found


def expected(*pieces: Samples) -> Contents:
    """Return what a store must answer with after pieces were written in this order."""
    return {(key, t): s for samples in pieces for key, times in samples.items() for t, s in times.items()}


def same(got: Contents, wanted: Contents) -> bool:
    """Return whether contents are equal; NaN equals NaN and no marker."""
    return {k: repr(v) for k, v in got.items()} == {k: repr(v) for k, v in wanted.items()}


@pytest.fixture(scope="session")
def tools() -> SimpleNamespace:
    """The helpers of this file."""
    return SimpleNamespace(
        key=series_key,
        expected=expected,
        same=same,
        contents_of=contents_of,
        Opened=Opened,
        SMALL=SMALL,
        GROWING=GROWING,
    )


@pytest.fixture(scope="session")
def memory() -> Iterator[str]:
    """A folder in memory where there is one: tests that open hundreds of stores need not wait for a disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield folder


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Open a store of this test's folder, or another; it is closed in the end."""
    opened: list[Opened] = []

    def make(config: BlockConfig = SMALL, folder: Path | None = None) -> Opened:
        opened.append(Opened(folder or tmp_path / "data", config))
        return opened[-1]

    yield make
    for one in opened:
        one.store.close()
