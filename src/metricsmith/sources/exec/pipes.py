"""Pipes of our own for the output of a process.

asyncio's `Process.wait` returns when the process has ended *and* its pipes are closed: a child in the
background that holds them open would hide that its parent has ended.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass


@dataclass(slots=True)
class Pipe:
    """A pipe that is read here and written by a process; a context manager that closes what is open."""

    reader: asyncio.StreamReader
    write_end: int
    _transport: asyncio.ReadTransport

    @staticmethod
    async def open() -> Pipe:
        """Return a new pipe.

        Raises:
            OSError: too many open files.
        """
        read_end, write_end = os.pipe()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        file = os.fdopen(read_end, "rb", 0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, file)
        return Pipe(reader, write_end, transport)

    def given(self) -> None:
        """Close our copy of the write end, so that the process' end is the pipe's."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        self.given()
        self._transport.close()
