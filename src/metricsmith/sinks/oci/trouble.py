"""Why there is no right answer, as a person can use it."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from metricsmith.errors import RetryLater
from metricsmith.sinks.oci.sdk import ProxyError, Timeout, TooManyRedirects

MAX_SKEW_S = 300
"""A signature's date may differ so much from the service's clock."""


def unanswered(error: BaseException, address: str) -> RetryLater:
    """Return what a call without an answer means; texts of such errors hold addresses of objects."""
    host = urlsplit(address).netloc
    causes = list(_causes(error))

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if has(Timeout, TimeoutError):
        return RetryLater(f"no answer in time from {host}", reason="timeout")
    if has(TooManyRedirects):
        return RetryLater(
            "got a redirect, wanted the address that it leads to in the settings", reason="redirect"
        )
    if has(ProxyError):
        return RetryLater("the proxy of HTTPS_PROXY does not answer", reason="connection")
    if has(socket.gaierror):
        return RetryLater(
            f"the name {host} is not known (check the region, the endpoint, and the name server)",
            reason="connection",
        )
    if has(ssl.SSLError):
        return RetryLater(f"TLS with {host} failed", reason="tls")
    number = next((cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno), 0)
    why = os.strerror(number) if number else type(error).__name__
    return RetryLater(f"the call to {host} failed: {why}", reason="connection")


def clock_hint(date: str | None, now_s: float) -> str:
    """Return what is wrong with this machine's clock, when a server's says so; nothing when they agree.

    >>> clock_hint("Wed, 21 Oct 2026 07:28:00 GMT", 1792567680 + 720)
    "this machine's clock is 12 minutes ahead of the service's, which takes at most 5: set it right"
    >>> clock_hint("Wed, 21 Oct 2026 07:28:00 GMT", 1792567680 - 10)
    ''
    """
    try:
        ahead_s = now_s - parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return ""
    if abs(ahead_s) < MAX_SKEW_S:
        return ""
    return (
        f"this machine's clock is {abs(ahead_s) / 60:.0f} minutes {'ahead of' if ahead_s > 0 else 'behind'}"
        f" the service's, which takes at most {MAX_SKEW_S // 60}: set it right"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from: the SDK wraps what its HTTP library wraps."""
    left, seen = [error], set[int]()
    while left:
        each = left.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = (*each.args, each.__cause__, each.__context__)
        left += [one for one in inner if isinstance(one, BaseException)]
