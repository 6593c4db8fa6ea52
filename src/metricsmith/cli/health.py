"""`metricsmith health`: whether an agent lives, as an exit code, for health checks of containers."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Annotated

import typer

from metricsmith.cli.client import DEFAULT_URL, URL_VARIABLE, Unreachable, http_address
from metricsmith.cli.exits import Exit

TIMEOUT_S = 3.0
MAX_ANSWER_BYTES = 1 << 20
EXAMPLES = """Examples:

metricsmith health

metricsmith health --ready --url http://edge-7:9480
"""


def health(
    url: Annotated[
        str, typer.Option(metavar="URL", envvar=URL_VARIABLE, help="Address of the agent.")
    ] = DEFAULT_URL,
    ready: Annotated[
        bool, typer.Option("--ready", metavar="", help="Whether it does all its work, not only lives.")
    ] = False,
) -> None:
    """Print how an agent is; exit code 0 when it lives, 1 when only a restart helps."""
    address = http_address(url)
    status, document = _asked(f"{address}/{'ready' if ready else 'health'}", address)
    reason = document.get("reason")
    if status == 200:
        typer.echo("ready" if document.get("ready") else f"lives, not ready: {reason}")
        return
    typer.echo(f"{'not ready' if ready else 'unhealthy'}: {reason}", err=True)
    raise typer.Exit(Exit.FAILURE)


def _asked(page: str, address: str) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(page, timeout=TIMEOUT_S) as answer:
            status, body = answer.status, answer.read(MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"no agent answers at {address}: {getattr(error, 'reason', error)}") from None
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "checks" not in document:
        raise Unreachable(f"{address} is no agent: got HTTP {status} without checks")
    return status, document
