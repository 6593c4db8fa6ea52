"""One run of an executable: its output line by line, an end for it whatever it does."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from metricsmith.model.clock import Clock
from metricsmith.sources.exec.lines import Line, LineSplitter
from metricsmith.sources.exec.pipes import Pipe

CHUNK_BYTES = 1 << 16
LINES_AT_ONCE = 50
"""Then others get their turn: a piece of output can have tens of thousands of short lines."""
MAX_STDERR_LINE = 4096
TERM_GRACE_S = 0.7
"""Between the request to end and the kill: all of it must fit into the time that a source has to stop."""
PIPE_GRACE_S = 1.0
"""How long children may go on writing when the process that was started has ended."""


class End(StrEnum):
    """Why a run is over."""

    DONE = "done"
    EXIT_CODE = "exit_code"
    NOTHING_USABLE = "nothing_usable"
    NOT_STARTED = "not_started"
    TIMEOUT = "timeout"
    FLOOD = "flood"
    STOPPED = "stopped"


KILLED = frozenset((End.TIMEOUT, End.FLOOD))
"""Ends after which the next run waits longer."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is run, and within which bounds; `max_lines` and `max_output` are for a time of `window_ms`.

    `secrets` are values that it is given and that are not to be shown.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: str | None
    timeout_ms: int | None
    window_ms: int
    max_line: int
    max_lines: int
    max_output: int
    secrets: Sequence[str] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; `detail` is for people."""

    end: End
    detail: str = ""


OnLine = Callable[[Line], Awaitable[bool]]


class Run:
    """One run. `on_line` says of each line whether it is a sign of life; `on_error_line` gets stderr's."""

    def __init__(
        self, command: Command, clock: Clock, on_line: OnLine, on_error_line: Callable[[Line], None]
    ) -> None:
        self._command, self._clock = command, clock
        self._on_line, self._on_error_line = on_line, on_error_line
        self._alive_at = clock.monotonic()
        self._window_at, self._lines, self._bytes = self._alive_at, 0, 0
        self._seen_bytes = 0
        self._all_read = self._busy = False

    async def finish(self, stop: asyncio.Event) -> Outcome:
        """Start the process and return when it and all that it started are gone."""
        with ExitStack() as stack:
            try:
                output = stack.enter_context(await Pipe.open())
                errors = stack.enter_context(await Pipe.open())
                process = await self._start(output, errors)
            except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
                return Outcome(End.NOT_STARTED, self._not_started(error))
            return await self._watch(process, output.reader, errors.reader, stop)

    def _not_started(self, error: OSError | ValueError) -> str:
        """Return what stood in the way, and where. Only paths are told: arguments may hold secrets."""
        if not isinstance(error, OSError) or not error.strerror:
            return str(error)
        folder = self._command.folder
        if folder and not os.path.isdir(folder):  # noqa: PTH112 - a path of any form
            return f"working_dir {folder}: {error.strerror}"
        return f"{self._command.arguments[0]}: {error.strerror}"

    async def _start(self, output: Pipe, errors: Pipe) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self._command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.write_end,
                stderr=errors.write_end,
                cwd=self._command.folder,
                env=dict(self._command.environment),
                start_new_session=True,
            )
        finally:
            output.given()
            errors.given()

    async def _watch(
        self,
        process: asyncio.subprocess.Process,
        output: asyncio.StreamReader,
        errors: asyncio.StreamReader,
        stop: asyncio.Event,
    ) -> Outcome:
        reading = asyncio.ensure_future(self._read(process, output, errors))
        watching = asyncio.ensure_future(self._silence())
        stopping = asyncio.ensure_future(stop.wait())
        tasks = (reading, watching, stopping)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return reading.result()
            if stopping.done():
                return Outcome(End.STOPPED)
            return Outcome(End.TIMEOUT, f"no document or heartbeat for {_seconds(self._command.timeout_ms)}")
        finally:
            for task in tasks:
                task.cancel()
            if not self._all_read:
                await _end_group(process)
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(
        self, process: asyncio.subprocess.Process, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader
    ) -> Outcome:
        output = asyncio.ensure_future(self._read_output(stdout))
        errors = asyncio.ensure_future(self._read_errors(stderr))
        ended = asyncio.ensure_future(process.wait())
        try:
            waiting: set[asyncio.Future[Any]] = {output, errors, ended}
            while not ended.done():
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if _too_much(output, errors):
                    return Outcome(End.FLOOD, self._flood())
            code = ended.result()
            # What is in the pipes is read to its end; children that hold them open get a moment.
            open_pipes: set[asyncio.Future[Any]] = {output, errors}
            before = -1
            while open_pipes and (self._busy or self._seen_bytes > before):
                before = self._seen_bytes
                _, open_pipes = await asyncio.wait(open_pipes, timeout=PIPE_GRACE_S)
            self._all_read = not open_pipes
            if _too_much(output, errors):
                return Outcome(End.FLOOD, self._flood())
        finally:
            for task in (output, errors, ended):
                task.cancel()
            await asyncio.gather(output, errors, ended, return_exceptions=True)
        if code == 0:
            return Outcome(End.DONE)
        how = f"killed by signal {-code}" if code < 0 else str(code)
        return Outcome(End.EXIT_CODE, how)

    async def _read_output(self, stream: asyncio.StreamReader) -> bool:
        """Read all lines; return False as soon as they are too many."""
        splitter = LineSplitter(self._command.max_line)
        while data := await self._next(stream):
            if not self._within_bounds(size=len(data)):
                return False
            for number, line in enumerate(splitter.feed(data)):
                if not self._within_bounds(lines=1):
                    return False
                await self._take(line)
                if number % LINES_AT_ONCE == 0:
                    await asyncio.sleep(0)
        for line in splitter.finish():
            await self._take(line)
        self._busy = False
        return True

    async def _next(self, stream: asyncio.StreamReader) -> bytes:
        """Return the next piece of output; only meanwhile nothing is being done with the one before."""
        self._busy = False
        data = await stream.read(CHUNK_BYTES)
        self._busy = True
        self._seen_bytes += len(data)
        return data

    async def _take(self, line: Line) -> None:
        if await self._on_line(line):
            self._alive_at = self._clock.monotonic()

    async def _read_errors(self, stream: asyncio.StreamReader) -> bool:
        """Read stderr; return False as soon as it is too much."""
        splitter = LineSplitter(MAX_STDERR_LINE)
        while data := await stream.read(CHUNK_BYTES):
            self._seen_bytes += len(data)
            if not self._within_bounds(size=len(data)):
                return False
            for number, line in enumerate(splitter.feed(data)):
                if not self._within_bounds(lines=1):
                    return False
                self._on_error_line(line)
                if number % LINES_AT_ONCE == 0:
                    await asyncio.sleep(0)
        for line in splitter.finish():
            self._on_error_line(line)
        return True

    def _within_bounds(self, lines: int = 0, size: int = 0) -> bool:
        now = self._clock.monotonic()
        if (now - self._window_at) * 1000 >= self._command.window_ms:
            self._window_at, self._lines, self._bytes = now, 0, 0
        self._lines += lines
        self._bytes += size
        return self._lines <= self._command.max_lines and self._bytes <= self._command.max_output

    def _flood(self) -> str:
        within = _seconds(self._command.window_ms)
        return f"{self._lines} lines and {self._bytes} bytes of output within {within}"

    async def _silence(self) -> None:
        """Return when there was no sign of life for too long."""
        if self._command.timeout_ms is None:
            await asyncio.Event().wait()
            return
        while (left := self._alive_at + self._command.timeout_ms / 1000 - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)
            if self._busy:  # it waits for us
                self._alive_at = self._clock.monotonic()


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """End the process and everything in its group: asked first, then killed."""
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), TERM_GRACE_S)
    # Children that outlive their parent are in the group, whose number is not given anew while they live.
    _signal_group(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), TERM_GRACE_S)


def _signal_group(group: int, number: signal.Signals) -> None:
    # It may be gone, or another user's: then sudo, which is ours, passes SIGTERM on.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _too_much(*readers: asyncio.Future[bool]) -> bool:
    return any(reader.done() and not reader.result() for reader in readers)


def _seconds(duration_ms: int | None) -> str:
    return f"{(duration_ms or 0) / 1000:g} s"
