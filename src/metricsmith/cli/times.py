"""Times as people give them on the command line."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import typer

from metricsmith.model.duration import parse_duration

EARLIEST_MS, LATEST_MS = -(2**53), 253_402_300_799_999
"""Before and after all that is stored, and times that the agent's API takes: the end of the year 9999."""


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


def read_range(start: str | None, end: str | None) -> tuple[int, int]:
    """Return the milliseconds of `--start` and `--end`, all times where they are not given.

    An empty text is none: a variable of the shell that was not set does not mean everything.

    Raises:
        typer.BadParameter: one is no time, or the end is before the start.
    """
    now = time.time()
    start_ms = EARLIEST_MS if start is None else round(read_time(start, now, "--start") * 1000)
    end_ms = LATEST_MS if end is None else round(read_time(end, now, "--end") * 1000)
    if end_ms < start_ms:
        raise typer.BadParameter("got an end before the start, wanted --start before --end")
    return start_ms, end_ms


def positive_seconds(text: str, option: str) -> float:
    """Return the seconds of a duration option.

    Raises:
        typer.BadParameter: not a duration, or none at all.
    """
    try:
        duration_ms = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from None
    if not duration_ms:
        raise typer.BadParameter(f'{option}: got "{text}", wanted a time above 0, such as 10s')
    return duration_ms / 1000


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
