"""What an agent that was killed has left in a folder, put in order: what is acknowledged stays."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from metricsmith.contracts import Context
from metricsmith.model.durable_files import sync_file
from metricsmith.sinks.file.finish import finish_torn_text
from metricsmith.wire.sample_files.names import FileName, Form, parse_name
from metricsmith.wire.sample_files.position import OpenFile, Position

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is still current; one that is not `whole` may be torn, and nothing is appended to it."""

    name: FileName
    state: OpenFile
    whole: bool = True


class Recovery:
    """Brings each current file to what its position says of it.

    A file that the position does not name was begun and never acknowledged.
    Without any position nobody knows: then all that can be read stays.
    """

    def __init__(self, folder: Path, position: Position | None, context: Context) -> None:
        self._folder, self._position, self._context = folder, position, context

    def current(self) -> list[Found]:
        """Return the files that are still current, in order of their names.

        Raises:
            OSError: some are not yet as they should be; call it again.
        """
        for stray in self._folder.glob("metrics-*.tmp"):
            log.info("%s: removed, it was being written when the process ended", stray)
            stray.unlink()
        names = [name for path in sorted(self._folder.iterdir()) if (name := parse_name(path.name))]
        current = [name for name in names if name.current]
        if self._position is None:
            return [found for name in current for found in self._without_position(name)]
        self._tell_missing(self._position, {str(name) for name in names})
        known = set(names)
        return [found for name in current for found in self._put_right(name, self._position, known)]

    def _tell_missing(self, position: Position, there: set[str]) -> None:
        for text in position.files:
            name = parse_name(text)
            if name is not None and not {text, str(name.finished())} & there:
                self._tell("missing", f"{self._folder / text}: somebody has removed it")

    def _put_right(self, name: FileName, position: Position, known: set[FileName]) -> Iterator[Found]:
        path = self._folder / str(name)
        state = position.files.get(str(name))
        if name.form is Form.FRAMES and name.finished() in known:
            path.unlink()  # it has become Parquet
            return
        if state is None:
            self._tell(
                "unacknowledged", f"{path}: removed, nothing of it was acknowledged; it is written again"
            )
            path.unlink()
            return
        size = path.stat().st_size
        if size < state.bytes:
            self._tell("short", f"{path}: got {size} bytes, wanted {state.bytes}: samples are lost")
            yield from self._torn(name, replace(state, bytes=size))
            return
        if size > state.bytes:
            self._tell("tail", f"{path}: cut by {size - state.bytes} bytes that were not acknowledged")
            with path.open("r+b") as file:
                file.truncate(state.bytes)
                sync_file(file)
        yield Found(name, state)

    def _without_position(self, name: FileName) -> Iterator[Found]:
        path = self._folder / str(name)
        self._tell("no_position", f"{path}: nothing tells how much of it counts; what can be read is kept")
        yield from self._torn(name, OpenFile(bytes=path.stat().st_size))

    def _torn(self, name: FileName, state: OpenFile) -> Iterator[Found]:
        """Finish a file that may end in the middle of something, so that nothing is appended to it."""
        if name.form is Form.FRAMES:  # who makes Parquet of it finds the end
            yield Found(name, state, whole=False)
        else:
            finish_torn_text(self._folder, name)

    def _tell(self, reason: str, message: str) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_sink_files_repaired_total",
            f"{self._context.name}: {message}",
            subject=message,
            sink=self._context.name,
            reason=reason,
        )
