"""Times as people give them on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from metricsmith.model.duration import parse_duration

EARLIEST_MS = -(2**53)
"""Before all that is stored, and a time that the agent's API takes."""


def read_time(text: str, now: float, option: str) -> float:
    """Return Unix seconds of an option: RFC 3339, Unix seconds, `now`, or `-10m` before it.

    Raises:
        typer.BadParameter: it is none of these.
    """
    try:
        if text == "now":
            return now
        if text.startswith(("-", "now-")):
            return now - parse_duration(text.removeprefix("now")[1:]) / 1000
        if text.replace(".", "", 1).isdigit():
            return float(text)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        message = f'{option}: got "{text}", wanted RFC 3339, Unix seconds, now, or -10m'
        raise typer.BadParameter(message) from None


def read_interval(text: str) -> int:
    """Return milliseconds of the option `--interval`.

    Raises:
        typer.BadParameter: it is no duration, or 0.
    """
    try:
        interval_ms = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"--interval: {error}") from None
    if interval_ms <= 0:
        raise typer.BadParameter(f'--interval: got "{text}", wanted a duration above 0 such as 1m')
    return interval_ms
