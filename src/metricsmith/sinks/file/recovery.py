"""What an agent that was killed has left in a folder, put in order: what is acknowledged stays."""

from __future__ import annotations

import logging
from pathlib import Path

from metricsmith.contracts import Context
from metricsmith.model.durable_files import sync_file
from metricsmith.sinks.file.finish import finish_torn_text
from metricsmith.wire.sample_files.names import FileName, Form, parse_name
from metricsmith.wire.sample_files.position import OpenFile, Position

log = logging.getLogger(__name__)


class Recovery:
    """Brings each current file to what its position says of it.

    A file that the position does not name was begun and never acknowledged.
    Without any position nobody knows: then all that can be read stays.
    """

    def __init__(self, folder: Path, position: Position | None, context: Context) -> None:
        self._folder, self._position, self._context = folder, position, context

    def current(self) -> dict[FileName, OpenFile]:
        """Return the files that are still current, in order of their names.

        Raises:
            OSError: some are not yet as they should be; call it again.
        """
        for stray in self._folder.glob("metrics-*.tmp"):
            log.info("%s: removed, it was being written when the process ended", stray)
            stray.unlink()
        found = {}
        names = [name for path in sorted(self._folder.iterdir()) if (name := parse_name(path.name))]
        known = set(names)
        self._tell_missing({str(name) for name in names})
        for name in names:
            if name.current:
                state = (
                    self._without_position(name) if self._position is None else self._put_right(name, known)
                )
                if state is not None:
                    found[name] = state
        return found

    def _tell_missing(self, there: set[str]) -> None:
        for text in self._position.files if self._position is not None else ():
            name = parse_name(text)
            if name is not None and not {text, str(name.finished())} & there:
                self._tell("missing", f"{self._folder / text}: somebody has removed it")

    def _put_right(self, name: FileName, known: set[FileName]) -> OpenFile | None:
        path = self._folder / str(name)
        assert self._position is not None
        state = self._position.files.get(str(name))
        if name.form is Form.FRAMES and name.finished() in known:
            path.unlink()  # it has become Parquet
            return None
        if state is None:
            self._tell(
                "unacknowledged", f"{path}: removed, nothing of it was acknowledged; it is written again"
            )
            path.unlink()
            return None
        size = path.stat().st_size
        if size > state.bytes:
            self._tell("tail", f"{path}: cut by {size - state.bytes} bytes that were not acknowledged")
            with path.open("r+b") as file:
                file.truncate(state.bytes)
                sync_file(file)
        elif size < state.bytes:
            return self._too_short(name, state, size)
        return state

    def _too_short(self, name: FileName, state: OpenFile, size: int) -> OpenFile | None:
        """Finish a file that has lost its end, so that nothing is appended to a torn one."""
        path = self._folder / str(name)
        self._tell("short", f"{path}: got {size} bytes, wanted {state.bytes}: samples are lost")
        if name.form is Form.FRAMES:
            return state  # its reader finds the end
        finish_torn_text(self._folder, name)
        return None

    def _without_position(self, name: FileName) -> OpenFile | None:
        path = self._folder / str(name)
        self._tell("no_position", f"{path}: nothing tells how much of it counts; what can be read is kept")
        if name.form is Form.FRAMES:
            return OpenFile(bytes=path.stat().st_size)
        finish_torn_text(self._folder, name)
        return None

    def _tell(self, reason: str, message: str) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_sink_files_repaired_total",
            f"{self._context.name}: {message}",
            subject=message,
            sink=self._context.name,
            reason=reason,
        )
