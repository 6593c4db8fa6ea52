"""What answers of HTTP destinations mean to the delivery engine."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from metricsmith.errors import RetryLater, TooLarge
from metricsmith.model.settings_types import reveal
from metricsmith.net.post import Answer, HttpRefused, Poster

_BAD_REQUEST, _NOT_FOUND, _TOO_LARGE = 400, 404, 413
# How VictoriaMetrics says that it has nothing at a path.
_NO_SUCH_PATH = b"unsupported path requested"
MENDED_BY_PEOPLE = {
    401: "check the credentials",
    403: "check the credentials and what they allow",
    404: "check the address",
    405: "check the address",
    407: "check the proxy",
}


async def deliver(
    poster: Poster,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    hints: Mapping[int, str] = MENDED_BY_PEOPLE,
) -> Answer:
    """Post samples; return the answer.

    What a person has to mend in the settings is no fault of the samples: they
    wait for it. `hints` say what to mend, by status.

    Raises:
        RetryLater, TooLarge, Rejected: as for `Sink.send`; no series is named.
    """
    try:
        return await poster.ask(url, body, headers)
    except HttpRefused as error:
        if error.status == _TOO_LARGE:
            raise TooLarge(error.reason) from None
        if hint := hints.get(_meant(error)):
            raise RetryLater(f"got {error.reason} ({hint})", reason=f"status_{error.status}") from None
        raise


def _meant(error: HttpRefused) -> int:
    """Return the status that fits what is said: a wrong address is no fault of the samples."""
    no_such_path = error.status == _BAD_REQUEST and _NO_SUCH_PATH in error.body
    return _NOT_FOUND if no_such_path else error.status


def revealed(headers: Mapping[str, SecretStr]) -> dict[str, str]:
    """Return headers of the settings as they are sent; those in files are read now.

    Raises:
        RetryLater: one cannot be read, or is no line of text.
    """
    found = {}
    for name, secret in headers.items():
        try:
            found[name] = reveal(secret)
        except (OSError, ValueError) as error:
            raise RetryLater(f"the header {name} cannot be read: {error}", reason="secret") from None
        if not found[name].isprintable():
            why = "holds control characters, wanted one line of text"
            raise RetryLater(f"the header {name} {why}", reason="secret")
    return found
