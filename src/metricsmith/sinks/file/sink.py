"""The `file` sink: what is delivered is on the disk, once, also when the agent is killed at any time."""

from __future__ import annotations

import errno
import logging
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

from metricsmith.contracts import Context, Delivery, SinkTraits
from metricsmith.errors import DiskFull, RetryLater, StoreError
from metricsmith.model.batch import Batch
from metricsmith.model.durable_files import replace_file
from metricsmith.model.findings import Findings
from metricsmith.model.folder_examination import examine_folder
from metricsmith.model.metadata import Metadata
from metricsmith.model.settings_types import format_size
from metricsmith.model.steady_time import SteadyTime
from metricsmith.net.threads import in_thread
from metricsmith.sinks.file.current import Numbered
from metricsmith.sinks.file.folder import SampleFolder
from metricsmith.sinks.file.periods import by_period, outside
from metricsmith.sinks.file.settings import FileSinkConfig
from metricsmith.sinks.identity import Identity
from metricsmith.wire.sample_files.metadata import METADATA_FILE, pack_metadata, read_metadata
from metricsmith.wire.sample_files.position import Position

log = logging.getLogger(__name__)
T = TypeVar("T")

DELETE_EVERY_S = 60.0
_REASONS = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EACCES: "access",
    errno.EPERM: "access",
    errno.EROFS: "access",
}


class FileSink:
    """Writes samples to files of a folder: JSON lines, CSV, Parquet.

    What is delivered is durable, together with the number of the last batch:
    what a kill made the engine send again is known and left out.
    """

    Config: ClassVar[type[FileSinkConfig]] = FileSinkConfig
    traits: ClassVar[SinkTraits] = SinkTraits(whole=True)

    @classmethod
    async def examine(cls, config: FileSinkConfig, context: Context, findings: Findings) -> None:
        """Look at the folder."""
        await in_thread(context.name, partial(examine_folder, findings, Path(config.path), "path"))

    def __init__(self, config: FileSinkConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._folder = SampleFolder(config, context)
        self._identity = Identity(context)
        self._position: Position | None = None
        self._metadata: dict[str, Metadata] = {}
        self._steady: SteadyTime | None = None
        self._delete_at_s = 0.0
        self._lock, self._closed = threading.Lock(), False

    async def send(self, delivery: Delivery) -> None:
        """Append samples; they are on the disk when this returns."""
        await in_thread(self._context.name, lambda: self._alone(lambda: self._deliver(delivery)))

    async def send_aside(self, delivery: Delivery) -> str:
        """Append samples that are not the journal's next; return where, and how much room there is."""
        return await in_thread(self._context.name, lambda: self._alone(lambda: self._append_aside(delivery)))

    async def close(self) -> None:
        """Release the files. What is current stays current and goes on after the next start."""
        await in_thread(self._context.name, self._close)

    # What follows runs in threads, one at a time.

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            self._folder.close()

    def _alone(self, write: Callable[[], T]) -> T:
        with self._lock:
            if self._closed:  # given up meanwhile; a successor may have the folder
                raise RetryLater("the sink is closed", reason="closed")
            try:
                return write()
            except OSError as error:
                if isinstance(error, FileNotFoundError):  # somebody has removed the folder: begin anew
                    self._folder.close()
                    self._position = None
                reason = _REASONS.get(error.errno or 0, "io")
                raise RetryLater(f"{self._folder.path}: {_said(error)}", reason=reason) from None
            except (StoreError, DiskFull) as error:
                raise RetryLater(str(error), reason="state") from None

    def _deliver(self, delivery: Delivery) -> None:
        position = self._position or self._open()
        numbered = zip(delivery.sequences, delivery.batches, strict=True)
        new = [(n, batch) for n, batch in numbered if n > position.sequence and len(batch)]
        if new:
            self._refuse_impossible_times([batch for _, batch in new])
            self._append(new, position)
        self._keep_house()

    def _append_aside(self, delivery: Delivery) -> str:
        position = self._position or self._open()
        batches = [batch for batch in delivery.batches if len(batch)]
        self._refuse_impossible_times(batches)
        if batches:
            self._append([(position.sequence, batch) for batch in batches], position)
        path = self._folder.path.absolute()
        return f"it is in {path}, where {format_size(shutil.disk_usage(path).free)} are free"

    def _open(self) -> Position:
        """Return how far this journal is in the folder: nothing of it, where that is of another journal."""
        self._identity.keep()
        position = self._folder.open()
        identity, name = self._identity, self._identity.producer.hex()
        if position.journal != name:
            sequence = -1
        elif why := identity.doubt(position.life, position.sequence):
            identity.renew(why, position.life)
            sequence = min(position.sequence, identity.settled - 1)
        else:
            sequence = position.sequence
        try:
            self._metadata = read_metadata(self._folder.path)
        except ValueError as error:
            log.warning("%s: %s; it is written anew", self._context.name, error)
        self._steady = self._steady or SteadyTime(self._context.clock, position.newest_ms)
        self._position = Position(identity.producer.hex(), identity.life, sequence, position.newest_ms)
        return self._position

    def _append(self, new: list[Numbered], position: Position) -> None:
        batches = by_period(new, self._config.rotation)
        newest = [int(batch.times().max()) for part in batches.values() for _, batch in part]
        if position.newest_ms is not None:
            newest.append(position.newest_ms)
        after = Position(
            self._identity.producer.hex(),
            self._identity.life,
            new[-1][0],
            max(newest, default=None),
        )
        self._tell_metadata([batch for _, batch in new])
        self._folder.append(batches, after)
        self._position = after
        self._identity.acknowledged()

    def _refuse_impossible_times(self, batches: list[Batch]) -> None:
        count = outside(batches)
        if count:
            self._context.telemetry.problem(
                log,
                "metricsmith_sink_dropped_samples_total",
                f"{self._context.name}: {count} samples dropped: their times are not in 1970 to 9999",
                amount=count,
                sink=self._context.name,
                reason="time_out_of_range",
            )

    def _tell_metadata(self, batches: list[Batch]) -> None:
        told = {id(batch.layout.metadata): batch.layout.metadata for batch in batches}.values()
        news = {n: m for each in told for n, m in each.items() if self._metadata.get(n) != m}
        if news:
            replace_file(self._folder.path / METADATA_FILE, pack_metadata({**self._metadata, **news}))
            self._metadata |= news

    def _keep_house(self) -> None:
        """Rotate and delete; what fails is tried again, as nothing of what is delivered depends on it."""
        clock, name = self._context.clock, self._context.name
        assert self._steady is not None
        steady_ms = self._steady.now_ms()
        try:
            self._folder.rotate(clock.now_ms())
            if self._config.retention is not None and clock.monotonic() >= self._delete_at_s:
                deleted = self._folder.delete_older(steady_ms - self._config.retention)
                self._delete_at_s = clock.monotonic() + DELETE_EVERY_S
                if deleted:
                    self._context.telemetry.count("metricsmith_sink_files_deleted_total", deleted, sink=name)
        except Exception as error:
            log.debug("%s: file not finished", name, exc_info=True)
            self._context.telemetry.problem(
                log,
                "metricsmith_sink_file_errors_total",
                f"{name}: {self._folder.path}: a file could not be finished or deleted, and is tried again:"
                f" {_said(error)}",
                sink=name,
                reason=_REASONS.get(error.errno or 0, "io") if isinstance(error, OSError) else "defect",
            )


def _said(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) else None
    return text or f"{type(error).__name__}: {error}"
