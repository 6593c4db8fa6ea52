"""Metrics published on the message bus: a producer from within an application."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
import zmq

from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series import SeriesTable
from metricsmith.net.bus_settings import Curve, SocketSettings
from metricsmith.net.zmq_sockets import BusUnusable, Opened
from metricsmith.sdk.export.keys import Name, names_and_values, series_keys
from metricsmith.sdk.export.targets import Payload, SendLater
from metricsmith.sdk.reading import Reading
from metricsmith.wire.bus import MessageEncoder

CLOSE_MS = 500
FIRST_WORD_MS = 500
HIGH_WATER_MARK = 1000


class BusTarget:
    """Encodes readings as messages, one per service and tags. What nobody subscribes to waits."""

    name = "bus"

    def __init__(
        self, endpoint: str, service: str, tags: Mapping[str, str], curve: Curve | None = None
    ) -> None:
        """`tags` are put on all series that have none of that name.

        Raises:
            ValueError: not an address of ZeroMQ, or keys that are missing.
        """
        self.address = endpoint
        self._settings = SocketSettings(endpoint=endpoint, high_water_mark=HIGH_WATER_MARK, curve=curve)
        self._service, self._tags = service, dict(tags)
        self._opened: Opened | None = None
        self._prefixes: dict[bytes, int] = {}
        self._names: list[Name] = []
        self._learn([])

    def encode(self, readings: Sequence[Reading], time_ms: int) -> list[Payload]:
        """Return the messages of a reading."""
        names, values = names_and_values(readings)
        if names != self._names:
            self._learn(names)
        batch = Batch(self._layout, time_ms, np.array(values, dtype=np.float64))
        return list(self._encoder.messages(batch))

    def send(self, payload: Payload) -> None:
        """Publish a message to those who subscribe to it."""
        try:
            if self._opened is None:
                # With NODROP a full queue is an error here; without it messages would go in silence.
                self._opened = Opened(zmq.XPUB, self._settings, [(zmq.XPUB_NODROP, 1)])
                self._opened.socket.poll(FIRST_WORD_MS)  # subscriptions come once it is connected
            self._note_subscriptions(self._opened)
            if not any(payload[0].startswith(prefix) for prefix in self._prefixes):
                raise SendLater("unheard", "nobody subscribes")
            self._opened.socket.send_multipart(payload, zmq.NOBLOCK)
        except zmq.Again:
            raise SendLater("queue_full", "subscribers do not keep up") from None
        except (BusUnusable, zmq.ZMQError) as error:
            raise SendLater("socket", str(error)) from None

    def close(self) -> None:
        """Close the socket, once subscribers have what was sent or CLOSE_MS have passed."""
        if self._opened is not None:
            self._opened.close(CLOSE_MS)
            self._opened = None

    def abandon(self) -> None:
        """Leave the socket alone for ever: its threads are the parent's, and closing it waits for them."""
        _LEFT_ALONE.append(self._opened)
        self._opened = None
        self._prefixes.clear()

    def _note_subscriptions(self, opened: Opened) -> None:
        with suppress(zmq.Again):
            while True:
                word = opened.socket.recv(zmq.NOBLOCK)
                count = self._prefixes.get(word[1:], 0) + (1 if word[:1] == b"\x01" else -1)
                if count > 0:
                    self._prefixes[word[1:]] = count
                else:
                    self._prefixes.pop(word[1:], None)

    def _learn(self, names: list[Name]) -> None:
        # A new table each time: one that lives on would remember every label set that ever was.
        series = SeriesTable()
        self._layout = Layout(series.intern_many(series_keys(names, self._tags)), None, {})
        self._encoder = MessageEncoder(series, self._service)
        self._names = names


_LEFT_ALONE: list[Opened | None] = []
