"""Logging to standard error: one readable line or one JSON object per record."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import orjson

from metricsmith.config.settings import LoggingSettings, LogLevel

TRACE = 5
_LEVELS = {
    LogLevel.TRACE: TRACE,
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARN: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}


def set_up_logging(settings: LoggingSettings) -> None:
    """Send all log records to standard error in the configured form; may be called again."""
    logging.addLevelName(TRACE, "TRACE")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if settings.format == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[settings.level])
    # The access log would be one line per scrape of ours; requests are counted instead.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(max(root.level, logging.WARNING))


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(message: str) -> str:
    """Return a message whose parts from elsewhere can neither begin a record nor steer a terminal."""
    lines = message.strip().split("\n")
    return "\n    ".join("".join(c if c.isprintable() else " " for c in line) for line in lines)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        name = record.name.removeprefix("metricsmith.")
        line = f"{_time(record)} {record.levelname:<7} {name}: {_shown(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(fields, option=orjson.OPT_NON_STR_KEYS, default=str).decode()
