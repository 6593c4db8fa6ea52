"""ZeroMQ sockets: who binds, keys, limits; the same for every user of the bus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator

from metricsmith.errors import MetricsmithError
from metricsmith.net.bus_keys import read_keys
from metricsmith.net.bus_settings import Curve, SocketSettings
from metricsmith.net.handshakes import Keyring, Told, Watch


class BusUnusable(MetricsmithError):
    """A socket cannot be opened as configured."""


class AddressInUse(BusUnusable):
    """Somebody else listens there, as yet."""


class Opened:
    """A socket and what it needs around it. Used by one thread."""

    def __init__(
        self,
        kind: int,
        settings: SocketSettings,
        options: Iterable[tuple[int, int]] = (),
        told: Told | None = None,
    ) -> None:
        """Open a socket; `told` hears of each handshake that fails, in another thread.

        Raises:
            BusUnusable: the address cannot be used, or the keys cannot be read.
        """
        self._context = zmq.Context()
        self._guard: ThreadAuthenticator | None = None
        self._watch: Watch | None = None
        self.socket: zmq.Socket[bytes] = self._context.socket(kind)
        try:
            self._limit(settings)
            for option, value in options:
                self.socket.setsockopt(option, value)
            keys = None if settings.curve is None else self._use_keys(settings.curve, settings.bind)
            if told is not None:
                self._watch = Watch(self._context, self.socket, settings, keys, told)
            self._open(settings)
        except (zmq.ZMQError, OSError, ValueError) as error:
            self.close()
            what = "listen at" if settings.bind else "connect to"
            in_use = isinstance(error, zmq.ZMQError) and error.errno == zmq.EADDRINUSE
            kind_of = AddressInUse if in_use else BusUnusable
            raise kind_of(f"cannot {what} {settings.endpoint}: {error}") from None

    def close(self, linger_ms: int = 0) -> None:
        """Close the socket; what waits in it is given up after a time."""
        if self._watch is not None:
            self._watch.close()
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

    def _use_keys(self, curve: Curve, bind: bool) -> Keyring:
        public, secret = read_keys(curve.secret_key_file)
        keys = Keyring(public, frozenset(key.encode() for key in curve.authorized_keys))
        self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
        if not bind:
            self.socket.curve_serverkey = str(curve.server_key).encode()
            return keys
        self._guard = ThreadAuthenticator(self._context)
        self._guard.start()
        self._guard.configure_curve_callback(domain="*", credentials_provider=keys)
        self.socket.curve_server = True
        return keys

    def _open(self, settings: SocketSettings) -> None:
        if not settings.bind:
            self.socket.connect(settings.endpoint)
            return
        # `localhost` is a name, and ZeroMQ binds addresses and interfaces.
        self.socket.bind(settings.endpoint.replace("tcp://localhost:", "tcp://127.0.0.1:"))


def address_of(opened: Opened) -> str:
    """Return the address that a bound socket has, its port known."""
    found: Any = opened.socket.getsockopt(zmq.LAST_ENDPOINT)
    return bytes(found).rstrip(b"\0").decode()
