"""The influxdb sink before it sends: the server is there, lets us write, and has database and policy."""

from __future__ import annotations

from metricsmith.contracts import Context
from metricsmith.errors import DeliveryError
from metricsmith.model.duration import format_duration
from metricsmith.model.findings import Findings
from metricsmith.net.post import HttpRefused, Poster
from metricsmith.net.reach import IS_IT_THERE, place_of
from metricsmith.sinks.influxdb.database import Database
from metricsmith.sinks.influxdb.settings import InfluxdbSinkConfig

_BAD_REQUEST, _NOT_FOUND = 400, 404
_HINTS = {
    401: "check username and password, or token",
    403: "check that the user or token may write there",
    404: "make the database or bucket, or set `create: true`",
}


async def examine(config: InfluxdbSinkConfig, context: Context, findings: Findings) -> None:
    """Tell what the server answers to no points, and what it keeps."""
    poster = Poster(config.access(), findings.within_s(config.timeout / 1000))
    about = place_of(config.write_url())
    try:
        answers = await _write_nothing(config, poster, about, findings)
        if answers and config.database is not None:
            await _retention(config, context, poster, findings)
    finally:
        await poster.close()


async def _write_nothing(config: InfluxdbSinkConfig, poster: Poster, about: str, findings: Findings) -> bool:
    """Tell how it went; return whether anything answers."""
    try:
        answer = await poster.ask(config.write_url(), b"", {"Content-Type": "text/plain; charset=utf-8"})
    except HttpRefused as error:
        findings.told_time(about, error.headers)
        target = config.database or config.bucket
        if error.status == _BAD_REQUEST:  # after the login: InfluxDB 2 wants points in a body
            findings.ok(about, "lets us in")
        elif error.status == _NOT_FOUND and config.create:
            findings.ok(about, f"there is no {target} yet; the first delivery creates it")
        else:
            wanted = f"the right to write to {target}"
            findings.problem(about, f"it refused: {error.reason}", wanted, _HINTS.get(error.status, ""))
    except DeliveryError as error:
        findings.problem(about, str(error), "an InfluxDB", IS_IT_THERE)
        return False
    else:
        findings.told_time(about, answer.headers)
        findings.ok(about, "takes what we write")
    return True


async def _retention(
    config: InfluxdbSinkConfig, context: Context, poster: Poster, findings: Findings
) -> None:
    try:
        keeps_ms = await Database(config, context, poster).retention_ms()
    except DeliveryError:
        return  # told of already
    if keeps_ms and config.retention is not None and keeps_ms < config.retention:
        wanted = f"retention, {format_duration(config.retention)}"
        findings.warning(
            "retention policy", format_duration(keeps_ms), wanted, "set `alter: true`, or change one"
        )
    elif keeps_ms is not None:
        findings.ok("retention policy", format_duration(keeps_ms) if keeps_ms else "keeps points for ever")
