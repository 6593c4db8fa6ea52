"""A way to a server that a test can shut: for destinations that are away and come back."""

from __future__ import annotations

import asyncio

from metricsmith.testing.services import free_port


class Gate:
    """The way to a server, which can be shut: whoever is on it is thrown out, nobody else gets in."""

    def __init__(self, url: str) -> None:
        self._to = int(url.rpartition(":")[2])
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Let connections through to the server, from `port`."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)

    async def shut(self) -> None:
        """Refuse connections, and end those that there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to = await asyncio.open_connection("127.0.0.1", self._to)
        self._open |= {writer, to}
        await asyncio.gather(_copy(reader, to), _copy(there, writer))
        self._open -= {writer, to}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()
