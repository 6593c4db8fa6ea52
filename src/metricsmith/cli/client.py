"""A small client of the agent's HTTP API, for commands."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import typer

from metricsmith.errors import ExecutionError, MetricsmithError
from metricsmith.model.labels import NAME_LABEL
from metricsmith.model.matchers import Matcher, MatchOp

AGENT_PORT = 9480
DEFAULT_URL = f"http://127.0.0.1:{AGENT_PORT}"
URL_VARIABLE = "METRICSMITH_URL"
MAX_ANSWER_BYTES = 512 << 20
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
"""What OpenSSL calls an answer that is not TLS, by its versions."""
TIMEOUT_S = 130
"""A little more than the agent's own default for a query, so that its answer wins."""


class Unreachable(MetricsmithError):
    """No agent answers at the address."""


class Answer(NamedTuple):
    """What an agent answered when it did what it was asked."""

    body: bytes
    headers: Mapping[str, str]


class Refused(ExecutionError):
    """The agent does not do what it was asked; `status` is that of its answer."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def http_address(text: str, port: int = AGENT_PORT) -> str:
    """Return the address of a server as a URL without trailing slash.

    Without a scheme it is http, at `port` unless it has one: a bare host
    means the program that is asked for, not whatever listens at port 80.

    Raises:
        typer.BadParameter: not an address.

    >>> http_address("127.0.0.1"), http_address("https://metrics.example/agent/")
    ('http://127.0.0.1:9480', 'https://metrics.example/agent')
    """
    has_scheme = "://" in text
    url = text if has_scheme else f"http://{text}"
    wanted = f'got "{text}", wanted an address such as {DEFAULT_URL}'
    try:
        parts = urllib.parse.urlsplit(url)
        bare = parts.port is None and not has_scheme  # a wrong port raises when it is looked at
    except ValueError:
        raise typer.BadParameter(wanted) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in text):
        raise typer.BadParameter(wanted)
    if bare:
        url = parts._replace(netloc=f"{parts.netloc.removesuffix(':')}:{port}").geturl()
    return url.rstrip("/")


def call(
    url: str, path: str, parameters: dict[str, str] | Sequence[tuple[str, str]]
) -> tuple[Any, list[str]]:
    """Return the `data` of an answer of the Prometheus API, and its warnings and infos, each named so.

    Raises:
        Unreachable: nobody answers, or something else than an agent does.
        ExecutionError: the agent refuses the query.
    """
    document = _document(url, urllib.request.Request(url + path, urllib.parse.urlencode(parameters).encode()))
    remarks = [
        f"{kind}: {remark.removeprefix(f'PromQL {kind}: ')}"
        for kind in ("warning", "info")
        for remark in document.get(f"{kind}s", [])
    ]
    return document["data"], remarks


def fetch(url: str, path: str, parameters: dict[str, str]) -> Any:
    """Return the `data` of the answer to a GET, and raise as `call` does."""
    asked = f"{url}{path}?{urllib.parse.urlencode(parameters)}" if parameters else f"{url}{path}"
    return _document(url, urllib.request.Request(asked))["data"]


def post_json(url: str, path: str, body: Any) -> Any:
    """Return the `data` of the answer to a JSON body.

    Raises:
        Unreachable: nobody answers, or something else than an agent does.
        ExecutionError: the agent refuses.
    """
    headers = {"Content-Type": "application/json"}
    return _document(url, urllib.request.Request(url + path, json.dumps(body).encode(), headers))["data"]


def metric_names(url: str) -> list[str]:
    """Return the names of all metrics that the agent has.

    Raises:
        Unreachable: nobody answers, or something else than an agent does.
        ExecutionError: the agent refuses.
    """
    return _names(url, "/api/v1/label/__name__/values", {})


def label_names(url: str, metric: str, limit: int) -> list[str]:
    """Return the first labels that series of a metric have, and raise as `metric_names` does."""
    return _names(url, "/api/v1/labels", _of(metric, limit))


def label_values(url: str, label: str, metric: str, limit: int) -> list[str]:
    """Return the first values of a label in series of a metric, and raise as `metric_names` does."""
    return _names(url, f"/api/v1/label/{urllib.parse.quote(label, safe='')}/values", _of(metric, limit))


def _of(metric: str, limit: int) -> dict[str, str]:
    return {"match[]": f"{{{Matcher(NAME_LABEL, MatchOp.EQ, metric)}}}", "limit": str(limit)}


def _names(url: str, path: str, parameters: dict[str, str]) -> list[str]:
    # Prometheus answers some of these paths to GET only.
    names: list[str] = fetch(url, path, parameters)
    return names


def post(url: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Return the answer to a body.

    Raises:
        Refused: the agent refuses; it says with which status.
        Unreachable: nobody answers, or something else than an agent does.
    """
    return _answer(url, urllib.request.Request(url + path, body, dict(headers)))


def _document(url: str, request: urllib.request.Request) -> dict[str, Any]:
    try:
        document = json.loads(_answer(url, request).body)
    except ValueError:
        raise _stranger(url, "no JSON") from None
    if not isinstance(document, dict) or document.get("status") != "success" or "data" not in document:
        raise _stranger(url, "other JSON")
    return document


def _answer(url: str, request: urllib.request.Request) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return Answer(answer.read(MAX_ANSWER_BYTES), answer.headers)
    except urllib.error.HTTPError as error:
        raise _refusal(url, error) from None
    except http.client.HTTPException:
        raise _stranger(url, "no JSON") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError) and reason.reason in _NO_TLS:
            plain = url.replace("https:", "http:", 1)
            raise Unreachable(f"{url}: it speaks http, not https; set --url {plain}") from None
        raise Unreachable(
            f"no agent answers at {url}: {reason} "
            "(start one with `metricsmith run` or `metricsmith demo`, or set --url)"
        ) from None


def _refusal(url: str, error: urllib.error.HTTPError) -> MetricsmithError:
    try:
        document = json.loads(error.read(100_000))
        # No endpoint that commands ask answers so itself: the path before it is one too many.
        if document["status"] == "error" and error.code != HTTPStatus.NOT_FOUND:
            return Refused(str(document["error"]), error.code)
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        pass  # not the API's form of an error
    path = urllib.parse.urlsplit(url).path
    got = f"HTTP {error.code} {error.reason}"
    return _stranger(url, f"{got}; is the path {path} one too many?" if path else got)


def _stranger(url: str, got: str) -> Unreachable:
    return Unreachable(f"{url} does not speak the Prometheus API; check --url (got {got})")
