"""Whether far ends are there, asked in ways that change nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from urllib.parse import urlsplit

from yarl import URL

from metricsmith.errors import DeliveryError, RetryLater
from metricsmith.model.findings import Findings
from metricsmith.net.connect_errors import why_not_connected
from metricsmith.net.post import Answer, HttpRefused, Poster
from metricsmith.net.resolver import Resolver
from metricsmith.net.settings import Access, Tls

IS_IT_THERE = "is it running, and is the address right?"
_OF_REASON = {
    "connection": IS_IT_THERE,
    "timeout": "does something else listen there, or is it overloaded? otherwise set a longer timeout",
    "status_5xx": "its own log says why",
    "tls": "check `tls`: ca_file, server_name, certificate",
}


def place_of(url: str) -> str:
    """Return scheme, host and path of a URL: user, password and query may be secret.

    >>> place_of("https://me:pw@h:1/x?token=T")
    'https://h:1/x'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def examine_post(findings: Findings, about: str, asked: Awaitable[Answer], hint: str = "") -> None:
    """Tell whether a server took a request that holds nothing."""
    began = time.monotonic()
    try:
        answer = await asked
    except HttpRefused as error:
        findings.told_time(about, error.headers)
        findings.problem(about, f"it refused: {error.reason}", "an answer of 2xx", hint)
    except DeliveryError as error:
        reason = error.reason if isinstance(error, RetryLater) else ""
        findings.problem(about, str(error), "an answer of 2xx", _OF_REASON.get(reason, hint))
    else:
        findings.told_time(about, answer.headers)
        findings.ok(about, f"took an empty request in {_ms(began)}")


async def examine_server(findings: Findings, about: str, url: str, tls: Tls) -> None:
    """Tell whether an HTTP server is there: its root is asked for, without credentials, with any answer."""
    began = time.monotonic()
    poster = Poster(Access(tls=tls), findings.within_s())
    try:
        status, headers = await poster.head(str(URL(url).origin()))
    except RetryLater as error:
        findings.problem(about, str(error), "an HTTP server", "check the address, DNS, proxies and firewalls")
    else:
        findings.told_time(about, headers)
        findings.ok(about, f"answers (HTTP {status}) in {_ms(began)}; credentials are not tried")
    finally:
        await poster.close()


async def examine_port(findings: Findings, about: str, host: str, port: int, hint: str) -> bool:
    """Tell whether somebody takes connections there; return whether."""
    began = time.monotonic()
    limit_s = findings.within_s()
    try:
        async with asyncio.timeout(limit_s):
            address = (await Resolver().resolve(host, port))[0]
            _, writer = await asyncio.open_connection(address["host"], port)
    except TimeoutError:
        findings.problem(about, f"no connection within {limit_s:.3g}s", "an open port", hint)
        return False
    except OSError as error:
        findings.problem(about, f"cannot connect: {why_not_connected(error)}", "an open port", hint)
        return False
    writer.close()
    findings.ok(about, f"takes connections ({_ms(began)})")
    return True


def _ms(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:.0f} ms"
