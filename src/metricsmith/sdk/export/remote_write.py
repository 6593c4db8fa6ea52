"""Metrics pushed by remote write 1.0: to the agent, or to any server that takes it."""

from __future__ import annotations

import base64
import http.client
import math
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from urllib.parse import unquote, urlsplit

import numpy as np

from metricsmith import __version__
from metricsmith.sdk.export.keys import Name, metadata_of, names_and_values, series_keys
from metricsmith.sdk.export.targets import Payload, SendLater, SendRefused
from metricsmith.sdk.reading import Reading
from metricsmith.sdk.settings import write_url
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 65_536
MAX_SERIES = 10_000
"""In one request: about 2 MB before compression, of the 32 MB that an agent takes."""
METADATA_EVERY = 360
"""Readings between tellings of types and units: an hour at the usual interval."""
_TRIED_AGAIN = frozenset({408, 425, 429})
_MENDED_BY_PEOPLE = frozenset({401, 403, 404, 405, 407})
"""A wrong address or key is no fault of the samples: they wait, as those of the agent's sinks do."""


class RemoteWriteTarget:
    """Encodes readings as write requests; labels are written once for as long as the series are the same."""

    name = "remote_write"

    def __init__(self, url: str, identity: Mapping[str, str]) -> None:
        """`identity` are labels of all series that have none of that name: `job` and `instance`.

        Raises:
            ValueError: not an http address.
        """
        parts = urlsplit(write_url(url))
        self._identity = dict(identity)
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname or "", parts.port
        self._path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        self.address = (
            f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
        )
        self._headers = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
            "User-Agent": f"metricsmith-sdk/{__version__}",
        }
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        self._connection: http.client.HTTPConnection | None = None
        self._names: list[Name] = []
        self._labels: list[bytes] = []
        self._untold = 0

    def encode(self, readings: Sequence[Reading], time_ms: int) -> list[Payload]:
        """Return requests of MAX_SERIES. Series that are no longer there get a staleness marker."""
        names, values = names_and_values(readings)
        if names == self._names:
            gone: list[Name] = []
        else:
            gone = list(set(self._names).difference(names))
            self._names, self._labels, self._untold = names, self._encoded(names), 0
        labels = self._labels + self._encoded(gone)
        numbers = np.array(values + [math.nan] * len(gone), dtype=np.float64)
        ended = np.arange(len(labels)) >= len(names)
        metadata = {} if self._untold else dict(map(metadata_of, readings))
        self._untold = (self._untold + 1) % METADATA_EVERY
        requests: list[Payload] = []
        for first in range(0, max(1, len(labels)), MAX_SERIES):
            part = slice(first, first + MAX_SERIES)
            body = encode_write_request(
                labels[part],
                [1] * len(labels[part]),
                np.full(len(labels[part]), time_ms, dtype=np.int64),
                numbers[part],
                ended[part] if ended[part].any() else None,
                {} if requests else metadata,
            )
            requests.append((body,))
        return requests

    def send(self, payload: Payload) -> None:
        """Post a request."""
        try:
            status, after, said = self._posted(payload[0])
        except (OSError, http.client.HTTPException) as error:
            self.close()
            reason = "timeout" if isinstance(error, TimeoutError) else "connection"
            raise SendLater(reason, f"{type(error).__name__}: {error}") from None
        if status >= 500 or 300 <= status < 400 or status in _TRIED_AGAIN | _MENDED_BY_PEOPLE:
            seconds = float(after) if after.isascii() and after.isdigit() else 0.0
            raise SendLater(f"http_{status}", said, seconds)
        if status >= 400:
            raise SendRefused(f"http_{status}", said)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.close()
            self._connection = None

    def abandon(self) -> None:
        """Let go of the connection: closing this process's copy ends nothing for the parent."""
        connection, self._connection = self._connection, None
        if connection is not None and isinstance(connection.sock, socket.socket):
            socket.close(connection.sock.detach())

    def _posted(self, body: bytes) -> tuple[int, str, str]:
        """Post, again if the server closed the connection meanwhile: many do so sooner than the next tick."""
        if self._connection is not None:
            try:
                return self._post(body)
            except TimeoutError:
                raise
            except OSError:
                self.close()
        return self._post(body)

    def _post(self, body: bytes) -> tuple[int, str, str]:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=TIMEOUT_S)
        self._connection.request("POST", self._path, body, self._headers)
        answer = self._connection.getresponse()
        text = answer.read(MAX_ANSWER_BYTES).decode(errors="replace")
        if not answer.isclosed():  # there is more than anybody wants to read
            self.close()
        return (
            answer.status,
            answer.getheader("Retry-After", ""),
            f"HTTP {answer.status}: {' '.join(text.split())[:200]}",
        )

    def _encoded(self, names: Sequence[Name]) -> list[bytes]:
        return [encode_series_labels(key) for key in series_keys(names, self._identity)]
