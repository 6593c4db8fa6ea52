"""The server's HTTP API: a question, and its data or one of our errors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import orjson

from metricsmith.errors import (
    ExecutionError,
    LimitExceeded,
    MetricsmithError,
    QueryLimitExceeded,
    QueryRefused,
    QueryTimeout,
    StoreUnavailable,
)
from metricsmith.model.telemetry import Telemetry
from metricsmith.net.store_client import Form, Reply, StoreClient
from metricsmith.store.prometheus.points import cut_points
from metricsmith.store.prometheus.settings import PrometheusConfig

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_ANSWER_BYTES = 128 << 20
"""Decoding takes several times as much memory."""
WHOLE = [("partial_response", "false"), ("deny_partial_response", "1")]
"""What Thanos and a cluster of VictoriaMetrics must be told to answer all or nothing."""
SHORT_S = 5.0
"""For questions that cost a server nothing."""
LACKING = frozenset({400, 404, 405, 422, 501})
"""What servers answer about pages that they do not have."""
MAX_PAGE_BYTES = 8 << 20
MAX_REMARKS = 100
MAX_TEXT = 2000
GRACE_S = 0.5
"""The server has that much longer than a query, so that its own words about the time-out arrive."""
TOO_MANY_SAMPLES = "would load too many samples"


@dataclass(frozen=True, slots=True)
class Told:
    """What the server told: the `data` of its answer, and what it remarked.

    The `values` of a series are a number: that of their text in `points`.
    """

    data: Any
    warnings: list[str]
    infos: list[str]
    points: list[bytes] = field(default_factory=list)


class Server:
    """Asks one server. Safe to call from any thread but that of an event loop."""

    def __init__(self, config: PrometheusConfig, telemetry: Telemetry) -> None:
        self.address = config.address()
        self._client = StoreClient(config.access(), config.headers)
        self._telemetry = telemetry
        self._tells_markers: bool | None = None

    def ask(
        self,
        method: Literal["GET", "POST"],
        path: str,
        form: Form,
        decode: Callable[[Told], T],
        *,
        timeout_s: float,
        limit_bytes: int | None = None,
        check: Callable[[], None] = lambda: None,
        may_lack: bool = False,
    ) -> T:
        """Return what `decode` makes of the answer of `/api/v1/` and the path; `check` is called meanwhile.

        Of a page that the server `may_lack` the data are empty where it does.
        Answers are whole: a part, as some servers give while others of theirs
        are away, would end alerts.

        Raises:
            StoreUnavailable: the server is away, busy, fails or refuses us; also counted and logged.
            QueryError: it answers that the question is at fault.
            QueryTimeout: no answer in time.
            LimitExceeded: the answer is over the limit.
            whatever `check` raises: the request is given up.
        """
        url = f"{self.address}/api/v1/{path}"
        limit_bytes = MAX_ANSWER_BYTES if limit_bytes is None else limit_bytes
        try:
            reply = self._client.ask(
                method,
                url,
                [*form, *WHOLE],
                timeout_s=timeout_s + GRACE_S,
                limit_bytes=limit_bytes,
                check=check,
            )
            lacking = may_lack and reply.status in LACKING
            return decode(Told({}, [], []) if lacking else decoded(reply))
        except TimeoutError:
            self._count("timeout", f"no whole answer within {timeout_s:g} s")
            raise QueryTimeout(f"{self._named()} has not answered within {timeout_s:g} s") from None
        except StoreUnavailable as error:
            if error.reason != "closed":
                self._count(error.reason, str(error))
            raise StoreUnavailable(error.reason, f"{self._named()}: {error}") from None

    def own_metrics(self) -> bytes:
        """Return the page of metrics that the server has of itself, empty where there is none for us."""
        try:
            reply = self._client.ask(
                "GET", f"{self.address}/metrics", (), timeout_s=SHORT_S, limit_bytes=MAX_PAGE_BYTES
            )
        except (TimeoutError, StoreUnavailable, LimitExceeded):
            return b""
        return reply.body if reply.status == 200 else b""

    def tells_markers(self) -> bool:
        """Return whether staleness markers are in raw samples, as NaN; asked once.

        VictoriaMetrics gives them, and takes no other NaN. It is known by its
        answer to a number: where others give a scalar, it gives a vector.

        Raises:
            as `ask`.
        """
        if self._tells_markers is None:
            form = [("query", "1")]
            kind = self.ask("POST", "query", form, result_type, timeout_s=SHORT_S)
            self._tells_markers = kind == "vector"
        return self._tells_markers

    def close(self) -> None:
        """Close the connections; requests that run end."""
        self._client.close()

    def _named(self) -> str:
        return f"the server that keeps the samples, {self.address}"

    def _count(self, reason: str, message: str) -> None:
        name = "metricsmith_store_server_failures_total"
        self._telemetry.problem(log, name, f"{self._named()}: {message}", reason=reason)


def malformed(what: object) -> StoreUnavailable:
    """Return the error of an answer that no Prometheus gives."""
    return StoreUnavailable(
        "answer", f"got an answer that is none of Prometheus' API ({str(what)[:200]}); is storage.url right?"
    )


def result_type(told: Told) -> str:
    """Return the kind of result that a query has."""
    kind = told.data.get("resultType") if isinstance(told.data, dict) else None
    if not isinstance(kind, str):
        raise malformed("no resultType")
    return kind


def decoded(reply: Reply) -> Told:
    """Return what an answer tells.

    Raises:
        StoreUnavailable, QueryError: it is an error, or none of Prometheus' API.
    """
    if reply.status != 200:
        raise _refusal(reply)
    try:
        body, points = cut_points(reply.body)
        document = orjson.loads(body)
        if document["status"] != "success":
            raise ValueError("status is not success")
        warnings, infos = (_remarks(document.get(name)) for name in ("warnings", "infos"))
        return Told(document.get("data"), warnings, infos, points)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise malformed(error) from None


def _remarks(found: Any) -> list[str]:
    return [str(text)[:MAX_TEXT] for text in found[:MAX_REMARKS]] if isinstance(found, list) else []


def _refusal(reply: Reply) -> MetricsmithError:
    """Return what an answer other than 200 means."""
    status, kind, text = reply.status, *_error(reply.body)
    if 300 <= status < 400:
        return StoreUnavailable("redirect", f"got a redirect ({status}), wanted the address it leads to")
    if status in (401, 403):
        return StoreUnavailable("access", f"got HTTP status {status}, wanted it to let us in: {text}")
    if status == 404 or (not kind and status < 500):
        return StoreUnavailable("not_found", f"got HTTP status {status}, is storage.url right? {text}")
    if kind == "timeout":
        return QueryTimeout(text)
    if status == 429:
        return StoreUnavailable("busy", f"got HTTP status {status}: {text}")
    if status >= 500 or kind == "canceled":
        return StoreUnavailable("status_5xx", f"got HTTP status {status}: {text}")
    if status == 400:
        return QueryRefused(text)
    if TOO_MANY_SAMPLES in text:
        return QueryLimitExceeded(text, "samples")
    return ExecutionError(text)


def _error(body: bytes) -> tuple[str, str]:
    """Return type and text of an error; the type is empty where it is none of Prometheus' API."""
    try:
        document = orjson.loads(body)
        kind, text = document["errorType"], document["error"]
        if isinstance(kind, str) and isinstance(text, str):
            return kind, _shown(text)
    except (ValueError, KeyError, TypeError):
        pass
    return "", _shown(body[:300].decode(errors="replace"))


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:MAX_TEXT]).strip()
