"""Refusals: an error that a handler raises, and the two shapes of body that clients know.

Prometheus' clients read `{"status": "error", "errorType", "error"}`; users of the message API get
`{"error", "problems": [{"field", "got", "wanted", "hint"}]}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson
from starlette.responses import Response

from metricsmith.errors import (
    ExpositionError,
    FieldProblem,
    JournalError,
    LimitExceeded,
    MessageError,
    ParseError,
    QueryCancelled,
    QueryError,
    QueryRefused,
    QueryTimeout,
    StoreError,
    StoreUnavailable,
    WireError,
    WrongQueryType,
)

_STATUS = {
    "bad_data": 400,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "canceled": 499,
    "too_large": 413,
    "unsupported_media_type": 415,
    "misdirected": 421,
    "unprocessable": 422,
    "execution": 422,
    "internal": 500,
    "unavailable": 503,
    "timeout": 503,
}
RETRY_AFTER_S = "5"


class ApiError(Exception):
    """A refusal: an error type of Prometheus' API, a message for people, and the fields at fault."""

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        problems: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.status = _STATUS[kind]
        self.problems = tuple(problems)
        self.headers = dict(headers or {})
        super().__init__(message)


def bad_data(message: str) -> ApiError:
    """Return the error of a malformed request."""
    return ApiError("bad_data", message)


def bad_parameter(name: str, message: str, got: str = "", wanted: str = "") -> ApiError:
    """Return the error of one malformed parameter, in Prometheus' words and as a field's problem."""
    problems = [FieldProblem(name, got, wanted)] if wanted else []
    return ApiError("bad_data", f'invalid parameter "{name}": {message}', problems=problems)


def unavailable(message: str) -> ApiError:
    """Return the error of an agent that cannot do this now; the client should come again."""
    return ApiError("unavailable", message, headers={"Retry-After": RETRY_AFTER_S})


def translate(error: Exception) -> ApiError | None:
    """Return how an error of the layers below is told to a client; None for a defect of ours."""
    match error:
        case ApiError():
            return error
        case ParseError() | WrongQueryType():
            return bad_parameter("query", str(error))
        case QueryRefused():
            return bad_data(str(error))
        case QueryTimeout():
            return ApiError("timeout", str(error))
        case QueryCancelled():
            return ApiError("canceled", str(error))
        case QueryError():
            return ApiError("execution", str(error))
        case MessageError():
            return ApiError("unprocessable", "the message is not accepted", problems=error.problems)
        case LimitExceeded():
            return ApiError("too_large", str(error))
        case WireError() | ExpositionError():
            return bad_data(str(error))
        case JournalError() | StoreUnavailable():
            return unavailable(str(error))
        case StoreError():
            return ApiError("internal", str(error))
    return None


def prometheus_error(error: ApiError) -> Response:
    """Return the body that Prometheus' clients expect."""
    body = {"status": "error", "errorType": error.kind, "error": str(error)}
    return json_response(body, error.status, error.headers)


def problems_error(error: ApiError) -> Response:
    """Return the body that names each field at fault."""
    body = {"error": str(error), "problems": [asdict(p) for p in error.problems]}
    return json_response(body, error.status, error.headers)


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer."""
    return Response(
        orjson.dumps(body), status, media_type="application/json", headers=dict(headers) if headers else None
    )
