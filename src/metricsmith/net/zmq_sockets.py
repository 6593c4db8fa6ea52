"""ZeroMQ sockets: who binds, keys, limits; the same for every user of the bus."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from metricsmith.errors import MetricsmithError
from metricsmith.net.bus_settings import Curve, SocketSettings


class BusUnusable(MetricsmithError):
    """A socket cannot be opened as configured."""


class Opened:
    """A socket and what it needs around it. Used by one thread."""

    def __init__(self, kind: int, settings: SocketSettings, options: Iterable[tuple[int, int]] = ()) -> None:
        """Open a socket.

        Raises:
            BusUnusable: the address cannot be used, or the keys cannot be read.
        """
        self._context = zmq.Context()
        self._guard: ThreadAuthenticator | None = None
        self.socket: zmq.Socket[bytes] = self._context.socket(kind)
        try:
            self._limit(settings)
            for option, value in options:
                self.socket.setsockopt(option, value)
            if settings.curve is not None:
                self._use_keys(settings.curve, settings.bind)
            self._open(settings)
        except (zmq.ZMQError, OSError, ValueError) as error:
            self.close()
            what = "listen at" if settings.bind else "connect to"
            raise BusUnusable(f"cannot {what} {settings.endpoint}: {error}") from None

    def close(self, linger_ms: int = 0) -> None:
        """Close the socket; what waits in it is given up after a time."""
        self.socket.close(linger=linger_ms)
        if self._guard is not None:
            self._guard.stop()
        self._context.term()

    def _limit(self, settings: SocketSettings) -> None:
        socket = self.socket
        socket.setsockopt(zmq.SNDHWM, settings.high_water_mark)
        socket.setsockopt(zmq.RCVHWM, settings.high_water_mark)
        socket.setsockopt(zmq.MAXMSGSIZE, settings.max_message)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 10_000)
        # A peer whose machine went away without a word is noticed.
        socket.setsockopt(zmq.HEARTBEAT_IVL, 10_000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 30_000)

    def _use_keys(self, curve: Curve, bind: bool) -> None:
        public, secret = zmq.auth.load_certificate(curve.secret_key_file)
        if secret is None:
            raise ValueError(f"{curve.secret_key_file}: holds no secret key")
        self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
        if not bind:
            self.socket.curve_serverkey = str(curve.server_key).encode()
            return
        self._guard = ThreadAuthenticator(self._context)
        self._guard.start()
        allowed = frozenset(key.encode() for key in curve.authorized_keys)
        self._guard.configure_curve_callback(domain="*", credentials_provider=_Allowed(allowed))
        self.socket.curve_server = True

    def _open(self, settings: SocketSettings) -> None:
        if not settings.bind:
            self.socket.connect(settings.endpoint)
            return
        # `localhost` is a name, and ZeroMQ binds addresses and interfaces.
        self.socket.bind(settings.endpoint.replace("tcp://localhost:", "tcp://127.0.0.1:"))


class _Allowed:
    """Says which public keys may connect; what `zmq.auth` asks."""

    def __init__(self, keys: frozenset[bytes]) -> None:
        self._keys = keys

    def callback(self, domain: str, key: bytes) -> bool:
        return key in self._keys


def write_keys(path: Path) -> str:
    """Write a new pair of keys to a file that only its owner may read; return the public key.

    Raises:
        FileExistsError: there is such a file.
    """
    public, secret = zmq.curve_keypair()
    text = f'metadata\ncurve\n    public-key = "{public.decode()}"\n    secret-key = "{secret.decode()}"\n'
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(text)
    return public.decode()


def address_of(opened: Opened) -> str:
    """Return the address that a bound socket has, its port known."""
    found: Any = opened.socket.getsockopt(zmq.LAST_ENDPOINT)
    return bytes(found).rstrip(b"\0").decode()
