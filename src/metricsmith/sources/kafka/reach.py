"""Why no broker lets us in: names are looked up, ports tried, and listeners spoken to."""

from __future__ import annotations

import socket
import ssl
import struct

from metricsmith.net.connect_errors import why_not_connected
from metricsmith.net.kafka_login import login_options
from metricsmith.net.kafka_settings import Connection

MOST_SERVERS = 3
LIMIT_S = 1.0
DEFAULT_PORT = 9092
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""The first question of any client, without a name; answered before a login."""
_TLS_ALERT = b"\x15"


def why_not_in(settings: Connection) -> str:
    """Return what is wrong with the first bootstrap servers, as far as can be told from here."""
    servers = settings.bootstrap_servers[:MOST_SERVERS]
    return "; ".join(f"{server}: {_why(server, settings)}" for server in servers)


def _why(server: str, settings: Connection) -> str:
    host, port = _split(server)
    if not 0 < port < 1 << 16:
        return f"got port {port}, wanted 1 to 65535"
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        text = why_not_connected(error) if isinstance(error, OSError) else str(error)
        return f"the name is not known ({text})"
    limit_s = min(LIMIT_S, settings.timeout / 1000)
    problem: OSError = TimeoutError("no answer")
    for *_, address in addresses:
        try:
            connection = socket.create_connection((str(address[0]), port), limit_s)
        except OSError as error:
            problem = error
            continue
        with connection:
            return _listener(connection, host, settings)
    return f"no connection to port {port} ({why_not_connected(problem)})"


def _listener(connection: socket.socket, host: str, settings: Connection) -> str:
    try:
        if settings.tls is not None:
            context = login_options(settings)["ssl_context"]
            connection = context.wrap_socket(connection, server_hostname=host)
        with connection:
            connection.sendall(_API_VERSIONS)
            answer = connection.recv(1)
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted ({error.verify_message})"
    except ssl.SSLError as error:
        return f"the port is open, but TLS fails ({error.reason or error}); is it a listener without TLS?"
    except OSError as error:
        return f"the port is open, but the connection breaks ({why_not_connected(error)})"
    if answer == _TLS_ALERT and settings.tls is None:
        return "the port is open, but wants TLS"
    if not answer:
        return "the port is open, but is closed at once; does it want TLS, or a client certificate?"
    if settings.sasl is None:
        return "a broker answers, but lets nobody in without a login (sasl)"
    return "a broker answers, but does not take the user, password or token, or not by this mechanism"


def _split(server: str) -> tuple[str, int]:
    host, colon, port = server.rpartition(":")
    if not colon or (server.startswith("[") and server.endswith("]")):
        host, port = server, ""
    return host.strip("[]"), int(port or DEFAULT_PORT)
