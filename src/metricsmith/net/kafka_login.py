"""Options of kafka-python's clients, for all that talk to a cluster; the library is imported late."""

from __future__ import annotations

import ssl
from typing import Any

from metricsmith.model.settings_types import reveal
from metricsmith.net.kafka_settings import Connection
from metricsmith.net.tls import TlsContext

CLIENT_ID = "metricsmith"


def login_options(settings: Connection) -> dict[str, Any]:
    """Return the options that say where the brokers are and who we are."""
    made: dict[str, Any] = {
        "bootstrap_servers": list(settings.bootstrap_servers),
        "client_id": CLIENT_ID,
        "security_protocol": settings.protocol(),
        "request_timeout_ms": settings.timeout,
        "reconnect_backoff_max_ms": 5_000,
    }
    if settings.tls is not None:
        context = TlsContext(settings.tls).current()
        made["ssl_context"] = ssl.create_default_context() if isinstance(context, bool) else context
    if (sasl := settings.sasl) is not None:
        made["sasl_mechanism"] = sasl.mechanism
        if sasl.mechanism == "OAUTHBEARER":
            made["sasl_oauth_token_provider"] = _token_provider(settings)
        else:
            made["sasl_plain_username"] = sasl.username
            made["sasl_plain_password"] = reveal(sasl.password or "")
    return made


def _token_provider(settings: Connection) -> Any:
    from kafka.net.sasl.oauth import AbstractTokenProvider

    class Token(AbstractTokenProvider):  # type: ignore[misc]
        """The configured token; a file is read at each connection, so that a rotated one is seen."""

        def token(self) -> str:
            sasl = settings.sasl
            return reveal(sasl.token) if sasl is not None and sasl.token is not None else ""

    return Token()
