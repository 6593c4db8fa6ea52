"""The folder of a sink: its current files, found again after a crash, appended to, rotated, deleted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from metricsmith.contracts import Context
from metricsmith.model.durable_files import sync_folder
from metricsmith.sinks.file.current import CurrentFile, Encoder, FramesEncoder, LinesEncoder, Numbered
from metricsmith.sinks.file.finish import frames_to_parquet
from metricsmith.sinks.file.position_log import PositionLog
from metricsmith.sinks.file.recovery import Recovery
from metricsmith.sinks.file.settings import FileSinkConfig
from metricsmith.wire.sample_files.dialects import DIALECTS
from metricsmith.wire.sample_files.names import FileName, Form, Period, list_files
from metricsmith.wire.sample_files.position import Position
from metricsmith.wire.sample_files.write_lines import LineWriter

log = logging.getLogger(__name__)

MOST_CURRENT = 16
"""So many periods have a current file at once: samples that come late go to theirs."""
LATE_MS = 10 * 60_000
"""A period's file is finished so long after the period."""
AGAIN_MS = 60_000
"""What could not be finished is tried again after so long: sorting costs time."""
OPEN_MS = 3_600_000
"""A file is current for so long at least: what comes late must not make a file each time."""
MOST_FRAMES_SAMPLES = 4_000_000
"""Samples of a Parquet file: they are sorted in memory."""


class SampleFolder:
    """Appends what is delivered, all or nothing, and durably. For one thread at a time."""

    def __init__(self, config: FileSinkConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._folder = Path(config.path)
        self._log: PositionLog | None = None
        self._current: dict[Period, CurrentFile] = {}
        self._full: list[CurrentFile] = []  # nothing is appended; to be finished
        self._finish_at_ms = 0
        dialect = DIALECTS.get(config.form)
        self._encoder: Callable[[], Encoder] = lambda: FramesEncoder(context.series)
        if dialect is not None:
            lines = LineWriter(dialect, context.series)
            self._encoder = lambda: LinesEncoder(lines, dialect, config.suffix)

    @property
    def path(self) -> Path:
        """Where the files lie."""
        return self._folder

    def open(self) -> Position:
        """Take the folder for this process, put what a crash left in order, return how far it is written.

        Raises:
            OSError, RetryLater: it is not open.
        """
        if self._log is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            position_log = PositionLog(self._folder)
            try:
                recovery = Recovery(self._folder, position_log.position, self._context)
                for found in recovery.current():
                    file = CurrentFile(self._folder, found.name, self._encoder(), 0, found.state)
                    self._found(file, found.whole)
                if position_log.position is None:  # lest a kill within the first delivery leaves it unsaid
                    position_log.note(self._position(Position()))
                self._log = position_log
            except BaseException:
                self._forget_files()
                position_log.close()
                raise
        return self._log.position or Position()

    def append(self, batches: Mapping[Period, Sequence[Numbered]], position: Position) -> None:
        """Make samples durable, with how far the journal is delivered then.

        Raises:
            OSError: nothing is appended.
        """
        assert self._log is not None
        touched: list[CurrentFile] = []
        try:
            for period, numbered in batches.items():
                if period not in self._current:
                    self._begin(period)
                elif (lost := self._lost(period)) is not None:
                    self._begin(period, lost.name.number)
                touched.append(self._used(period))
                touched[-1].append(numbered)
            if any(file.is_new for file in touched):
                sync_folder(self._folder)
            self._log.note(self._position(position))
        except BaseException:
            for file in touched:
                file.take_back()
            self._current = {period: file for period, file in self._current.items() if not file.is_new}
            raise
        for file in touched:
            file.settle()

    def rotate(self, now_ms: int) -> None:
        """Finish files that are full or whose period has passed.

        Raises:
            Exception: some are not finished; what is in them stays readable and is tried again.
        """
        for period, file in list(self._current.items()):
            large = file.state.bytes >= self._config.max_file_size
            long = file.name.form is Form.FRAMES and file.state.samples >= MOST_FRAMES_SAMPLES
            over = period.end_ms + LATE_MS <= now_ms and file.begun_ms + OPEN_MS <= now_ms
            set_back = now_ms < file.begun_ms
            if large or long or over or set_back:
                self._full.append(self._current.pop(period))
        while len(self._current) > MOST_CURRENT:
            longest_unused = next(iter(self._current))
            self._full.append(self._current.pop(longest_unused))
        if self._full and now_ms >= self._finish_at_ms:
            self._finish_at_ms = now_ms + AGAIN_MS
            self._finish_full()
            self._finish_at_ms = 0

    def delete_older(self, oldest_ms: int) -> int:
        """Delete finished files whose samples are all older; return how many.

        Of a file of all times that is known from when it was last written.

        Raises:
            OSError: some are still there.
        """
        deleted = 0
        for name in list_files(self._folder):
            path = self._folder / str(name)
            end_ms = name.period.end_ms if name.period.text else int(path.stat().st_mtime * 1000)
            if not name.current and end_ms <= oldest_ms:
                path.unlink()
                deleted += 1
                log.info("%s: %s deleted, its samples are older than retention", self._context.name, path)
        return deleted

    def close(self) -> None:
        """Release the folder; current files stay current."""
        self._forget_files()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _finish_full(self) -> None:
        failures: list[Exception] = []
        for file in list(self._full):
            try:
                self._finish(file)
                self._full.remove(file)
            except Exception as error:  # one that fails must not keep the others
                failures.append(error)
        if self._log is not None and self._log.position is not None:
            self._log.note(self._position(self._log.position))
        if failures:
            raise failures[0]

    def _found(self, file: CurrentFile, whole: bool) -> None:
        # Files of other settings are finished; so are all but the newest of a period, and torn ones.
        like_ours = file.name.form is self._config.form and file.name.suffix == self._config.suffix
        if like_ours and whole:
            before = self._current.pop(file.name.period, None)
            self._current[file.name.period] = file
            if before is not None:
                self._full.append(before)
        else:
            self._full.append(file)

    def _used(self, period: Period) -> CurrentFile:
        file = self._current[period] = self._current.pop(period)  # the last is the one used last
        return file

    def _lost(self, period: Period) -> CurrentFile | None:
        """Return the current file if somebody took it away: what is written to it nobody would see."""
        file = self._current[period]
        if file.is_there():
            return None
        self._tell("missing", f"{file.path}: somebody has removed it or cut it; another is begun")
        if file.path.exists():  # what is left of it is not for us to delete
            self._full.append(file)
        return file

    def _begin(self, period: Period, after: int = 0) -> None:
        numbers = [name.number for name in list_files(self._folder) if name.period == period]
        number = max([after, *numbers]) + 1  # readers may know a file that is gone by its name
        name = FileName(period, number, self._config.form, self._config.suffix, current=True)
        self._current[period] = CurrentFile(self._folder, name, self._encoder(), self._context.clock.now_ms())

    def _position(self, position: Position) -> Position:
        files = [*self._full, *self._current.values()]
        return replace(position, files={str(f.name): f.next_state for f in files if f.next_state.bytes})

    def _finish(self, file: CurrentFile) -> None:
        if not file.path.exists():
            self._tell("missing", f"{file.path}: somebody has removed it")
            return
        if file.name.form is Form.FRAMES:
            damage = frames_to_parquet(
                self._folder, file.name, file.state.bytes, self._context.series, self._config.codec
            )
            if damage:
                kept = "what was readable before is in its Parquet file, the rest is set aside"
                self._tell("damaged", f"{file.path}: {damage}; {kept}")
        else:
            file.rename()
        self._context.telemetry.count("metricsmith_sink_files_finished_total", sink=self._context.name)

    def _tell(self, reason: str, message: str) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_sink_files_repaired_total",
            f"{self._context.name}: {message}",
            subject=message,
            sink=self._context.name,
            reason=reason,
        )

    def _forget_files(self) -> None:
        self._full, self._current = [], {}
