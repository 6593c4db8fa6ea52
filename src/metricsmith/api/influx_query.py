"""The statements that senders of line protocol make before they write; queries are PromQL."""

from __future__ import annotations

import re
from typing import Any

from metricsmith.api.errors import bad_data
from metricsmith.api.params import quoted

# What follows the name of a new database says how long to keep it: here that is `storage.retention`.
_CREATE = re.compile(r'CREATE\s+DATABASE\s+("(?:[^"\\]|\\.)+"|\w+)(?:\s+WITH\s.*)?', re.I | re.DOTALL)
_SHOW = re.compile(r"SHOW\s+DATABASES", re.I)
MAX_STATEMENT = 10_000


def answer_query(statement: str) -> dict[str, Any]:
    """Return the answer of InfluxDB 1.x: databases need not be created, so creating one does nothing.

    Raises:
        ApiError: another statement.
    """
    if len(statement) <= MAX_STATEMENT:
        asked = statement.rstrip("; \t\r\n").lstrip()
        if _CREATE.fullmatch(asked):
            return {"results": [{"statement_id": 0}]}
        if _SHOW.fullmatch(asked):
            series = {"name": "databases", "columns": ["name"], "values": []}
            return {"results": [{"statement_id": 0, "series": [series]}]}
    if not statement.strip():
        raise bad_data('missing required parameter "q"')
    raise bad_data(
        f"error parsing query: got {quoted(statement)}, wanted CREATE DATABASE or SHOW DATABASES"
        " (queries are PromQL, at /api/v1/query)"
    )
