"""What InfluxDB answers to statements, as far as both the sink and the store ask them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from metricsmith.model.duration import parse_duration

NO_DATABASE = "database not found"


class StatementRefused(Exception):
    """The server does not do what it was told; the message has its words."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A retention policy; one of 0 ms keeps points for ever."""

    name: str
    duration_ms: int
    default: bool


def error_text(body: bytes) -> str:
    """Return what an answer of InfluxDB 1 or 2 that is an error says in words."""
    try:
        document = orjson.loads(body)
        text = document.get("error") or document.get("message")
    except (ValueError, AttributeError):
        return body[:1000].decode(errors="replace")
    return text if isinstance(text, str) else ""


def first_result(body: bytes) -> dict[str, Any]:
    """Return the result of the only statement of a request.

    Raises:
        StatementRefused: it is an error, or none of InfluxDB's.
    """
    try:
        result = orjson.loads(body)["results"][0]
        error = result.get("error")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise StatementRefused("got an answer that is none of InfluxDB's, is the address right?") from None
    if error is not None:
        raise StatementRefused(str(error))
    found: dict[str, Any] = result
    return found


def policies_of(result: dict[str, Any]) -> list[Policy]:
    """Return the retention policies of an answer to SHOW RETENTION POLICIES.

    Raises:
        StatementRefused: it is none.
    """
    try:
        found = result["series"][0]
        columns = found["columns"]
        rows = [dict(zip(columns, row, strict=True)) for row in found.get("values") or ()]
        return [
            Policy(str(row["name"]), parse_duration(row["duration"]), row["default"] is True) for row in rows
        ]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise StatementRefused("got retention policies in a form that is not known") from None
