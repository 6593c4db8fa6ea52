"""A small client of the agent's HTTP API, for commands."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from metricsmith.errors import ExecutionError, MetricsmithError

DEFAULT_URL = "http://127.0.0.1:9480"
MAX_ANSWER_BYTES = 512 << 20


class Unreachable(MetricsmithError):
    """No agent answers at the address."""


def call(url: str, path: str, parameters: dict[str, str], timeout_s: float = 130) -> Any:
    """Return the `data` of an answer of the Prometheus API, and its warnings.

    Raises:
        Unreachable: nobody answers, or something else than an agent does.
        ExecutionError: the agent refuses the query.
    """
    address = f"{url.rstrip('/')}{path}"
    body = urllib.parse.urlencode(parameters).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body), timeout=timeout_s) as answer:
            document = json.loads(answer.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        raise ExecutionError(_reason(error)) from None
    except ValueError:
        raise Unreachable(f"{address} does not speak the Prometheus API; check --url") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(
            f"no agent answers at {url}: {reason} (start one with `metricsmith demo`)"
        ) from None
    return document["data"], document.get("warnings", [])


def _reason(error: urllib.error.HTTPError) -> str:
    text = error.read(100_000).decode(errors="replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code} {error.reason}"
