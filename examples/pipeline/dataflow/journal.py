"""The events of all pipelines, in one file: a line each, on disk when `append` returns."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from dataflow.events import EVENTS, Event


class EventJournal:
    """Appends events, and reads them back."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._path = file
        self._cut_torn_line()
        self._file = file.open("ab")

    def append(self, event: Event) -> None:
        """Write an event; it is durable when this returns."""
        line = json.dumps({"event": type(event).__name__, **asdict(event)})
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def replay(self) -> Iterator[Event]:
        """Yield all events, oldest first."""
        with self._path.open("rb") as lines:
            for line in lines:
                fields = json.loads(line)
                yield EVENTS[fields.pop("event")](**fields)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _cut_torn_line(self) -> None:
        # A line without its end was never acknowledged: the process died while it was written.
        if self._path.exists():
            whole = self._path.read_bytes().rfind(b"\n") + 1
            os.truncate(self._path, whole)
