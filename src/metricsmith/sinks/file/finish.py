"""Current files to their final form: frames to Parquet; text that lost its record is cut where it is torn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from metricsmith.errors import JournalCorrupt, WireError
from metricsmith.model.batch import Batch
from metricsmith.model.durable_files import sync_file, sync_folder
from metricsmith.model.series import SeriesTable
from metricsmith.wire.sample_files.columns import columns_of
from metricsmith.wire.sample_files.frames_file import FramesReader
from metricsmith.wire.sample_files.names import FileName
from metricsmith.wire.sample_files.parquet import write_parquet
from metricsmith.wire.sample_files.streams import compressed, read_text


def frames_to_parquet(folder: Path, name: FileName, length: int, series: SeriesTable, codec: str) -> str:
    """Write the Parquet file of some frames and delete these; return what of them could not be read.

    Raises:
        OSError: it was not written; the frames are still there.
    """
    path = folder / str(name)
    with path.open("rb") as file:
        data = file.read(length)
    batches: list[Batch] = []
    damage = ""
    try:
        batches += FramesReader(series).batches(data)
    except JournalCorrupt as error:
        damage = str(error)
    if batches:
        columns = columns_of(batches)
        del batches
        write_whole(
            folder / str(name.finished()), lambda out: write_parquet(out, columns, series, codec or "none")
        )
    if damage:
        path.rename(path.with_suffix(".damaged"))
    else:
        path.unlink()
    sync_folder(folder)
    return damage


def finish_torn_text(folder: Path, name: FileName) -> None:
    """Finish a text of which nobody knows how much was acknowledged: all whole lines of it.

    Raises:
        OSError: it is as it was.
    """
    path = folder / str(name)

    def copy(out: BinaryIO) -> None:
        with suppress(WireError):  # the torn end
            for text in read_text(path, name.suffix, 0, None):
                out.write(compressed(text, name.suffix))

    write_whole(folder / str(name.finished()), copy)
    path.unlink()
    sync_folder(folder)


def write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Create a file that has its name once it is complete and durable.

    Raises:
        OSError: it is not there.
    """
    aside = path.with_name(f"{path.name}.tmp")
    try:
        with aside.open("wb") as file:
            write(file)
            sync_file(file)
        aside.rename(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
