"""Handshakes that fail on the bus: who is refused, and why, as far as ZeroMQ tells."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import zmq
from zmq.utils.monitor import recv_monitor_message

from metricsmith.model.telemetry import Telemetry
from metricsmith.net.bus_settings import SocketSettings

log = logging.getLogger(__name__)

Reason: TypeAlias = Literal["key", "server_key", "curve", "protocol", "unfinished"]
COUNTER = "metricsmith_bus_handshakes_refused_total"
_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


@dataclass(frozen=True, slots=True)
class Refused:
    """A handshake that failed; `reason` is a short constant for counters, `text` is for people."""

    reason: Reason
    text: str


Told: TypeAlias = Callable[[Refused], None]


class Keyring:
    """Says which public keys may connect, what `zmq.auth` asks, and keeps the one refused last."""

    def __init__(self, ours: bytes, authorized: frozenset[bytes]) -> None:
        self.ours, self.refused = ours.decode(), ""
        self._authorized = authorized

    def callback(self, domain: str, key: bytes) -> bool:
        """Return whether a key may connect."""
        if key in self._authorized:
            return True
        self.refused = key.decode(errors="backslashreplace")
        return False


class Watch:
    """Tells of each failed handshake of a socket, in a thread of its own."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        socket: zmq.Socket[bytes],
        settings: SocketSettings,
        keys: Keyring | None,
        told: Told,
    ) -> None:
        """Begin; called before the socket is bound or connected."""
        address = f"inproc://handshakes-{id(self)}"
        socket.monitor(address, _FAILED | zmq.EVENT_MONITOR_STOPPED)
        self._socket, self._settings, self._keys, self._told = socket, settings, keys, told
        self._events = context.socket(zmq.PAIR)
        self._events.connect(address)
        self._thread = threading.Thread(target=self._run, name="bus handshakes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; called before the socket is closed."""
        self._socket.disable_monitor()
        self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                event = recv_monitor_message(self._events)
                if event["event"] == zmq.EVENT_MONITOR_STOPPED:
                    return
                self._told(self._refused(event["event"], event["value"]))
        finally:
            self._events.close(linger=0)

    def _refused(self, event: int, value: int) -> Refused:
        describe = _of_who_came if self._settings.bind else _of_who_was_asked
        return describe(_reason(event, value), self._keys)


def counted(telemetry: Telemetry, component: str) -> Told:
    """Return what counts failed handshakes of a part, and logs them."""

    def tell(refused: Refused) -> None:
        # A port that is only looked at, as by a health check, fails a handshake too.
        level = logging.INFO if refused.reason == "unfinished" else logging.WARNING
        telemetry.problem(
            log,
            COUNTER,
            f"{component}: {refused.text}",
            level=level,
            component=component,
            reason=refused.reason,
        )

    return tell


def _reason(event: int, value: int) -> Reason:
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return "key"
    if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        return "unfinished"
    match value:
        case zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
            return "curve"
        case zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC:
            return "server_key"
    return "protocol"


def _of_who_came(reason: Reason, keys: Keyring | None) -> Refused:
    match reason:
        case "key":
            text = f"refused the public key {keys.refused if keys else ''}: not among curve.authorized_keys"
        case "server_key":
            ours = keys.ours if keys else ""
            text = f"refused somebody whose curve.server_key is not our public key {ours}"
        case "curve" if keys:
            text = "refused somebody without keys: wanted curve on the other side too"
        case "curve":
            text = "refused somebody with keys (curve): there are none here"
        case "protocol":
            text = "refused somebody who does not speak ZeroMQ as we do"
        case "unfinished":
            text = "somebody went away in the handshake: a health check, or keys (curve) on one side only"
    return Refused(reason, text)


def _of_who_was_asked(reason: Reason, keys: Keyring | None) -> Refused:
    match reason:
        case "key":
            text = f"our public key {keys.ours if keys else ''} is not among its curve.authorized_keys"
        case "curve" if keys:
            text = "it has no keys (curve), and we have"
        case "curve":
            text = "it wants keys (curve), and we have none"
        case "protocol" | "server_key":
            text = "it does not speak ZeroMQ as we do"
        case "unfinished" if keys:
            text = "it ends the handshake: curve.server_key is not its public key, or it has no keys"
        case "unfinished":
            text = "it ends the handshake: it wants keys (curve), or is no bus"
    return Refused(reason, text)
