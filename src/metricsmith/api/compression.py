"""Answers compressed for clients that can read it, in a thread where they are large."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import cramjam
from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.jsonout import JsonChunks

LEAST_BYTES = 4 << 10
"""Smaller answers are sent as they are: they fit into a few packets anyway."""
INLINE_BYTES = 64 << 10
"""Answers up to this size are compressed on the event loop: a thread hop would cost more."""
AT_ONCE = 2
PIECE_BYTES = 1 << 20
_LEVEL = 1  # for numbers in text, higher levels take five times as long for a tenth less
_QUALITY = re.compile(r"\s*q=([01](?:\.[0-9]{0,3})?)\s*", re.IGNORECASE)
_COMPRESSIBLE = ("application/json", "text/", "application/openmetrics-text")


_COMPRESSORS: dict[str, Callable[[], cramjam.zstd.Compressor | cramjam.gzip.Compressor]] = {
    "zstd": lambda: cramjam.zstd.Compressor(_LEVEL),
    "gzip": lambda: cramjam.gzip.Compressor(_LEVEL),
}
"""By the names of HTTP, the faster first: it is taken where a client likes both the same."""


class Compression:
    """Compresses answers for clients, a few at once."""

    def __init__(self) -> None:
        self._threads = CapacityLimiter(AT_ONCE)

    async def apply(self, request: Request, response: Response) -> Response:
        """Return the answer in the encoding that the client prefers, or as it is."""
        pieces = _pieces(response)
        size = sum(map(len, pieces))
        if size < LEAST_BYTES or not _compressible(response):
            return response
        response.headers.add_vary_header("Accept-Encoding")
        encoding = preferred(request.headers.get("accept-encoding", ""))
        if encoding is None:
            return response
        if size <= INLINE_BYTES:
            return _Encoded(response, encoding, compressed(pieces, encoding))
        encoded = await to_thread.run_sync(compressed, pieces, encoding, limiter=self._threads)
        return _Encoded(response, encoding, encoded)


def preferred(accept: str) -> str | None:
    """Return the encoding of ours that a client prefers, None for none.

    Source:
        RFC 9110, 12.5.3; what is no weight is none.

    >>> preferred("gzip, deflate, br, zstd"), preferred("gzip"), preferred("gzip;q=0, br")
    ('zstd', 'gzip', None)
    """
    weights: dict[str, float] = {}
    for part in accept.split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip().lower()] = _weight(parameter)
    rest = weights.get("*", 0.0)
    best = max(_COMPRESSORS, key=lambda name: weights.get(name, rest))
    return best if weights.get(best, rest) > 0 else None


def compressed(pieces: Sequence[bytes], encoding: str) -> list[bytes]:
    """Return pieces of the compressed text."""
    compressor = _COMPRESSORS[encoding]()
    done, waiting = [], 0
    for piece in pieces:
        compressor.compress(piece)
        waiting += len(piece)
        if waiting >= PIECE_BYTES:
            done.append(bytes(compressor.flush()))
            waiting = 0
    return [*done, bytes(compressor.finish())]


class _Encoded(JsonChunks):
    """An answer in another encoding; everything else that was said of it stays."""

    def __init__(self, response: Response, encoding: str, pieces: Sequence[bytes]) -> None:
        super().__init__(pieces)
        self.status_code = response.status_code
        for name, value in response.headers.items():
            if name != "content-length":
                self.headers[name] = value
        self.headers["content-encoding"] = encoding


def _pieces(response: Response) -> Sequence[bytes]:
    return response.pieces if isinstance(response, JsonChunks) else [bytes(response.body)]


def _compressible(response: Response) -> bool:
    headers = response.headers
    return "content-encoding" not in headers and headers.get("content-type", "").startswith(_COMPRESSIBLE)


def _weight(parameter: str) -> float:
    if not parameter:
        return 1.0
    found = _QUALITY.fullmatch(parameter)
    return float(found[1]) if found else 0.0
