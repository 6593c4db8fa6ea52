"""What answers of HTTP destinations mean to the delivery engine."""

from __future__ import annotations

from collections.abc import Mapping

from metricsmith.errors import RetryLater, TooLarge
from metricsmith.net.post import HttpRefused, Poster

_TOO_LARGE = 413
_MENDED_BY_PEOPLE = {
    401: "check the credentials",
    403: "check the credentials and what they allow",
    404: "check the address",
    405: "check the address",
    407: "check the proxy",
}


async def deliver(poster: Poster, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Post samples; return the beginning of the answer.

    What a person has to mend in the settings is no fault of the samples: they
    wait for it.

    Raises:
        RetryLater, TooLarge, Rejected: as for `Sink.send`; no series is named.
    """
    try:
        return await poster.post(url, body, headers)
    except HttpRefused as error:
        if error.status == _TOO_LARGE:
            raise TooLarge(error.reason) from None
        if hint := _MENDED_BY_PEOPLE.get(error.status):
            raise RetryLater(f"got {error.reason} ({hint})", reason=f"status_{error.status}") from None
        raise
