"""The server's HTTP API: a statement of InfluxQL, and its answer or one of our errors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import orjson

from metricsmith.contracts import Context
from metricsmith.errors import (
    ExecutionError,
    QueryLimitExceeded,
    QueryRefused,
    QueryTimeout,
    StoreUnavailable,
)
from metricsmith.net.store_client import Reply, StoreClient
from metricsmith.store.influxdb.settings import InfluxdbConfig
from metricsmith.wire.influx_answers import NO_DATABASE, error_text

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_ANSWER_BYTES = 128 << 20
CHUNK_ROWS = 10_000
"""The server sends so many rows at a time, and does not gather an answer whole."""
LACKING = frozenset({400, 403, 404, 501})
"""What servers answer to statements that they do not know, or keep to administrators."""
MAX_TEXT = 2000
_TIMED_OUT = ("query timeout", "timeout reached", "query interrupted")
_TOO_MUCH = {"max-select-series": "series", "max-select-point": "samples", "max-select-buckets": "samples"}
_NOT_ALLOWED = ("authorization failed", "not authorized", "unable to parse authentication")


class NoDatabase(StoreUnavailable):
    """The server has no such database: nothing was written yet."""

    def __init__(self, message: str) -> None:
        super().__init__("database", message)


class Server:
    """Asks one database. Safe to call from any thread but that of an event loop."""

    def __init__(self, config: InfluxdbConfig, context: Context) -> None:
        self.address = config.address()
        self._client, self._telemetry = StoreClient(config.access(), {}), context.telemetry
        self._database = config.database

    def ask(
        self,
        statement: str,
        decode: Callable[[bytes], T],
        *,
        timeout_s: float,
        limit_bytes: int = MAX_ANSWER_BYTES,
        may_lack: bool = False,
    ) -> T:
        """Return what `decode` makes of the answer: documents of JSON, one in each line.

        Where the server `may_lack` what is asked for, or keep it to
        administrators, the answer is empty then.

        Raises:
            NoDatabase: there is none of that name.
            StoreUnavailable: the server is away, busy, fails or refuses us; also counted and logged.
            QueryError: it answers that the question is at fault.
            QueryTimeout: no answer in time.
            LimitExceeded: the answer is over the limit.
        """
        form = [("q", statement), ("db", self._database), ("epoch", "ms"), ("chunked", "true")]
        form.append(("chunk_size", str(CHUNK_ROWS)))
        try:
            reply = self._client.ask(
                "POST", f"{self.address}/query", form, timeout_s=timeout_s, limit_bytes=limit_bytes
            )
            if may_lack and reply.status in LACKING:
                return decode(b"")
            if reply.status != 200:
                raise _refusal(reply)
            return decode(reply.body)
        except (QueryRefused, ExecutionError):
            if may_lack:
                return decode(b"")
            raise
        except TimeoutError:
            self._count("timeout", f"no whole answer within {timeout_s:g} s")
            raise QueryTimeout(f"{self._named()} has not answered within {timeout_s:g} s") from None
        except NoDatabase:
            raise
        except StoreUnavailable as error:
            if error.reason != "closed":
                self._count(error.reason, str(error))
            raise StoreUnavailable(error.reason, f"{self._named()}: {error}") from None

    def close(self) -> None:
        """Close the connections; requests that run end."""
        self._client.close()

    def _named(self) -> str:
        return f"the server that keeps the samples, {self.address}"

    def _count(self, reason: str, message: str) -> None:
        name = "metricsmith_store_server_failures_total"
        self._telemetry.problem(log, name, f"{self._named()}: {message}", reason=reason)


def malformed(what: object) -> StoreUnavailable:
    """Return the error of an answer that no InfluxDB gives."""
    return StoreUnavailable(
        "answer", f"got an answer that is none of InfluxDB's ({str(what)[:200]}); is storage.url right?"
    )


def series_of(body: bytes) -> list[dict[str, Any]]:
    """Return the series of an answer to one statement, each with its `columns` and `values`.

    Raises:
        NoDatabase, StoreUnavailable, QueryError: it is an error, or none of InfluxDB's.
    """
    found: list[dict[str, Any]] = []
    try:
        for line in body.split(b"\n"):
            if not line:
                continue
            document = orjson.loads(line)
            for result in document.get("results", ()):
                if "error" in result:
                    raise _statement_error(str(result["error"]))
                found += map(_checked, result.get("series", ()))
            if "error" in document:
                raise _statement_error(str(document["error"]))
    except (ValueError, TypeError, AttributeError) as error:
        raise malformed(error) from None
    return found


def _checked(series: Any) -> dict[str, Any]:
    """Return a series of an answer; a ValueError where its name or tags are no texts."""
    tags = series.get("tags") or {}
    if not all(isinstance(text, str) for text in (series.get("name", ""), *tags, *tags.values())):
        raise ValueError("a name or tag is no text")
    checked: dict[str, Any] = series
    return checked


def rows_of(series: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a series of an answer, as mappings.

    Raises:
        StoreUnavailable: it has none.
    """
    try:
        return [dict(zip(series["columns"], row, strict=True)) for row in series.get("values") or ()]
    except (KeyError, TypeError, ValueError) as error:
        raise malformed(error) from None


def _refusal(reply: Reply) -> Exception:
    """Return what an answer other than 200 means."""
    status, text = reply.status, _shown(error_text(reply.body))
    if 300 <= status < 400:
        return StoreUnavailable("redirect", f"got a redirect ({status}), wanted the address it leads to")
    if status in (401, 403):
        return StoreUnavailable("access", f"got HTTP status {status}, wanted it to let us in: {text}")
    if status == 404 and NO_DATABASE not in text:
        return StoreUnavailable("not_found", f"got HTTP status {status}, is storage.url right? {text}")
    if status == 429:
        return StoreUnavailable("busy", f"got HTTP status {status}: {text}")
    if status >= 500:
        return StoreUnavailable("status_5xx", f"got HTTP status {status}: {text}")
    return _statement_error(text)


def _statement_error(text: str) -> Exception:
    """Return what an error of a statement means."""
    text = _shown(text)
    if text.startswith(NO_DATABASE):
        return NoDatabase(text)
    if any(words in text for words in _TIMED_OUT):
        return QueryTimeout(text)
    if any(words in text for words in _NOT_ALLOWED):
        return StoreUnavailable("access", text)
    for words, what in _TOO_MUCH.items():
        if words in text:
            return QueryLimitExceeded(text, "series" if what == "series" else "samples")
    return QueryRefused(text) if text.startswith("error parsing query") else ExecutionError(text)


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:MAX_TEXT]).strip()
