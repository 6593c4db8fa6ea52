"""All samples of one block's folder, wherever it lies: to be put elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np

from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable
from metricsmith.store.block_files import read_meta
from metricsmith.store.block_meta import META_FILE
from metricsmith.store.block_reader import Catalogue, open_block
from metricsmith.store.manifest import BlockEntry
from metricsmith.store.pieces import RaggedPiece

AT_ONCE = 500_000
"""Samples held at a time, unless a series has more."""


def is_block(folder: Path) -> bool:
    """Return whether a folder is a block."""
    return (folder / META_FILE).is_file()


def block_samples(
    folder: Path, table: SeriesTable, damaged: Callable[[str], None]
) -> Iterator[tuple[RaggedPiece, dict[str, Metadata], int]]:
    """Yield the samples of a block series by series, metadata of families, and how many bytes are read.

    `damaged` is told of row groups that are left out.

    Raises:
        BlockCorrupt: nothing of it can be read.
    """
    meta, crc32 = read_meta(folder)
    known: WeakValueDictionary[str, Catalogue] = WeakValueDictionary()
    entry = BlockEntry(meta.number, folder.name, crc32)
    block = open_block(folder, entry, table, known, lambda _, error: damaged(str(error)))
    offsets = block.offsets()
    first = 0
    while first < len(offsets) - 1:
        last = int(np.searchsorted(offsets, offsets[first] + AT_ONCE, "right")) - 1
        last = max(first + 1, last)
        part = (offsets[last] - offsets[first]) / offsets[-1]
        yield block.scan(offsets, first, last), block.catalogue.metadata, int(part * meta.disk_bytes)
        first = last
