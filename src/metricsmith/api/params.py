"""Parameters of a request, from the address and from a POST form, read as Prometheus reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from urllib.parse import parse_qsl

from starlette.requests import Request

from metricsmith.api.body import Bodies, media_type
from metricsmith.api.errors import ApiError, bad_data, bad_parameter
from metricsmith.model.duration import parse_duration
from metricsmith.wire.messages import parse_timestamp

MAX_PARAMETERS = 1000
MAX_QUERY_STRING = 1 << 20
MAX_FORM_BYTES = 1 << 20
TIME = "Unix seconds or RFC 3339, such as 2024-01-01T12:00:00Z"
DURATION = "a duration such as 5m, or seconds"
MIN_TIME_MS, MAX_TIME_MS = -(2**53), 2**53
FORM = "application/x-www-form-urlencoded"

_FIXED_TIMES = {
    "-292273086-05-16T16:47:06Z": MIN_TIME_MS,
    "292277025-08-18T07:12:54.999999999Z": MAX_TIME_MS,
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


class Params:
    """Named texts; a name may come several times. Form fields stand before those of the address."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str:
        """Return the first value of a parameter, empty when there is none."""
        return self._values.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        """Return all values of a parameter."""
        return self._values.get(name, [])

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Raise if there is a parameter of another name: a typing error would silently change the answer."""
        for name in self._values:
            if name not in known:
                wanted = "one of " + ", ".join(sorted(known))
                raise bad_parameter(name, f"unknown, wanted {wanted}", "an unknown parameter", wanted)

    def time_ms(self, name: str, default_ms: int | None = None) -> int:
        """Return a time: Unix seconds or RFC 3339; the default only when the parameter is absent or empty."""
        text = self.text(name)
        if not text and default_ms is not None:
            return default_ms
        found = parse_time(text)
        if found is None:
            message = f"cannot parse {quoted(text)} to a valid timestamp"
            if default_ms is not None:
                message = f"Invalid time value for '{name}': {message}"
            raise bad_parameter(name, message, quoted(text), TIME)
        return found

    def duration_ms(self, name: str) -> int:
        """Return a duration: seconds, or with units, such as 5m."""
        text = self.text(name)
        if _NUMBER.fullmatch(text):
            milliseconds = float(text) * 1000
            if not abs(milliseconds) < 2**63 / 1_000_000:
                message = f"cannot parse {quoted(text)} to a valid duration. It overflows int64"
                raise bad_parameter(name, message, quoted(text), DURATION)
            return round(milliseconds)
        try:
            return parse_duration(text)
        except ValueError:
            message = f"cannot parse {quoted(text)} to a valid duration"
            raise bad_parameter(name, message, quoted(text), DURATION) from None

    def count(self, name: str, default: int, most: int, least: int = 0) -> int:
        """Return a whole number between `least` and `most`."""
        text = self.text(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
            wanted = f"a whole number from {least} to {most}"
            raise bad_parameter(name, f"got {quoted(text)}, wanted {wanted}", quoted(text), wanted)
        return int(text)

    def cut(self, name: str) -> int | None:
        """Return where to cut a list, None where it stays whole; 0 leaves nothing, as Prometheus takes it."""
        text = self.text(name)
        if not text:
            return None
        if not text.removeprefix("-").isdecimal() or len(text) > 10:
            raise bad_data(f"{name} must be a number")
        return int(text) if int(text) >= 0 else None


async def read_params(request: Request, bodies: Bodies) -> Params:
    """Return the parameters of a request.

    Raises:
        ApiError: too many or too long, or not UTF-8.
    """
    query = request.scope["query_string"]
    if len(query) > MAX_QUERY_STRING:
        raise ApiError(
            "too_large", f"got {len(query)} bytes of parameters, wanted at most {MAX_QUERY_STRING}"
        )
    pairs = _pairs(query)
    if request.method == "POST" and media_type(request) == FORM:
        async with bodies.read(request, MAX_FORM_BYTES) as form:
            pairs = _pairs(form) + pairs
    return Params(pairs)


def parse_time(text: str) -> int | None:
    """Return a time in milliseconds, or None: Unix seconds with a fraction, or RFC 3339.

    Source:
        Prometheus `parseTime`, which also knows two texts for the ends of time.
        A missing zone is UTC here and an error there.

    >>> parse_time("1.5"), parse_time("1970-01-01T00:00:01.25Z"), parse_time("now")
    (1500, 1250, None)
    """
    if _NUMBER.fullmatch(text):
        milliseconds = float(text) * 1000
        return round(milliseconds) if MIN_TIME_MS <= milliseconds <= MAX_TIME_MS else None
    return _FIXED_TIMES[text] if text in _FIXED_TIMES else parse_timestamp(text)


def quoted(text: str) -> str:
    """Return a text as Go's %q writes it, shortened."""
    return json.dumps(text[:200], ensure_ascii=False)


def _pairs(data: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            data.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except UnicodeDecodeError:
        raise bad_data("parameters are not valid UTF-8") from None
    except ValueError:
        raise bad_data(f"got more than {MAX_PARAMETERS} parameters") from None
