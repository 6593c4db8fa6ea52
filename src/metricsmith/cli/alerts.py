"""`metricsmith alerts`: which alerts are pending or firing."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from metricsmith.cli.client import DEFAULT_URL, URL_VARIABLE, fetch, http_address
from metricsmith.cli.exits import Exit
from metricsmith.cli.table import print_table
from metricsmith.model.labels import format_labels

EXAMPLES = """Examples:

metricsmith alerts

metricsmith alerts --url http://edge-7:9480 --json
"""
ALERT_NAME = "alertname"
FIRING = "firing"


def alerts(
    url: Annotated[
        str, typer.Option(metavar="URL", envvar=URL_VARIABLE, help="Address of the agent.")
    ] = DEFAULT_URL,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print JSON, as /api/v1/alerts answers it.")
    ] = False,
) -> None:
    """List the alerts that are pending or firing; exit code 1 when one fires, 0 when none does.

    A Prometheus can be asked, too.
    """
    found = sorted(fetch(http_address(url), "/api/v1/alerts", {})["alerts"], key=_order)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif found:
        print_table(
            [_row(each) for each in found], ("alert", "state", "since", "value", "labels"), prose=True
        )
    else:
        typer.echo("no alert is pending or firing")
    if any(each["state"] == FIRING for each in found):
        raise typer.Exit(Exit.FAILURE)


def _order(alert: dict[str, Any]) -> tuple[bool, str, str]:
    """What fires comes first, then what has begun first."""
    return alert["state"] != FIRING, alert["activeAt"], format_labels(alert["labels"])


def _row(alert: dict[str, Any]) -> tuple[str, ...]:
    labels = {name: value for name, value in alert["labels"].items() if name != ALERT_NAME}
    remark = ", no data" if alert.get("noData") else ", held" if "keepFiringSince" in alert else ""
    name = alert["labels"].get(ALERT_NAME, "")
    since = f"{alert['activeAt'][: len('2026-11-21T10:45:09')]}Z"
    shown = format_labels(labels)
    return name, f"{alert['state']}{remark}", since, f"{float(alert['value']):.6g}", shown
