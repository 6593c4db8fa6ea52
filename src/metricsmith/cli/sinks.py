"""`metricsmith sink` and `metricsmith quarantine`: try a sink, and look after what was refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from metricsmith.cli.client import DEFAULT_URL, URL_VARIABLE, call, fetch, http_address
from metricsmith.cli.exits import Exit
from metricsmith.cli.table import print_table
from metricsmith.errors import ExecutionError
from metricsmith.model.labels import format_labels

sink = typer.Typer(no_args_is_help=True, help="Look at sinks, and try one.")
quarantine = typer.Typer(no_args_is_help=True, help="What destinations refused for good.")

Url = Annotated[str, typer.Option(metavar="URL", envvar=URL_VARIABLE, help="Address of the agent.")]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="As `quarantine list` shows it.")]


@sink.command("list")
def list_sinks(url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """List the sinks of an agent, and how each is."""
    sinks = fetch(http_address(url), "/api/v1/sinks", {})
    if as_json:
        typer.echo(json.dumps(sinks, indent=2))
        return
    rows: list[tuple[str, ...]] = [
        (
            each["name"],
            each["type"],
            each["state"],
            str(each["behind_batches"]),
            str(each["delivered_samples"]),
            str(each["dropped_samples"]),
            each["last_error"],
        )
        for each in sinks
    ]
    print_table(rows, ("sink", "type", "state", "behind", "delivered", "not delivered", "last error"))


@sink.command("test")
def test(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a sink.")],
    url: Url = DEFAULT_URL,
) -> None:
    """Send one sample to a sink and tell what comes back; exit code 1 when it is not taken."""
    try:
        done, _ = call(http_address(url), "/api/v1/sinks/test", {"name": name})
    except ExecutionError as error:
        typer.echo(f"{name}: not taken: {error}", err=True)
        raise typer.Exit(Exit.FAILURE) from None
    typer.echo(f"{name}: taken in {done['seconds'] * 1000:.0f} ms")


@quarantine.command("list")
def list_refusals(url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """List what destinations refused, oldest first."""
    found = fetch(http_address(url), "/api/v1/quarantine", {})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    rows: list[tuple[str, ...]] = [
        (each["id"], each["sink"], each["at"], _amount(each), each["reason"]) for each in found
    ]
    print_table(rows, ("id", "sink", "at", "samples", "reason"))


@quarantine.command("show")
def show(id: Id, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Show the samples and events of one refusal."""
    found = fetch(http_address(url), "/api/v1/quarantine/show", {"id": id})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(f"{found['sink']}, {found['at']}: {found['reason']}")
    print_table(list(map(_sample, found["content"])), ("series", "time", "value"))


@quarantine.command("retry")
def retry(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Which; or --all.")] = None,
    all_of_them: Annotated[bool, typer.Option("--all", metavar="", help="All that there is.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Send what was refused again; what is taken now leaves the quarantine. Exit code 1 when some is not."""
    _each(ids, all_of_them, http_address(url), "/api/v1/quarantine/retry", "sent again")


@quarantine.command("drop")
def drop(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Which; or --all.")] = None,
    all_of_them: Annotated[bool, typer.Option("--all", metavar="", help="All that there is.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Forget what was refused."""
    _each(ids, all_of_them, http_address(url), "/api/v1/quarantine/drop", "dropped")


def _each(ids: list[str] | None, all_of_them: bool, url: str, path: str, done: str) -> None:
    if bool(ids) == all_of_them:
        raise typer.BadParameter("wanted ids of refusals, or --all")
    failed = False
    for id in ids or [each["id"] for each in fetch(url, "/api/v1/quarantine", {})]:
        try:
            answer, _ = call(url, path, {"id": id})
            typer.echo(f"{id}: {answer['samples']} samples {done}")
        except ExecutionError as error:
            failed = True
            typer.echo(f"error: {id}: {error}", err=True)
    if failed:
        raise typer.Exit(Exit.FAILURE)


def _amount(refusal: dict[str, Any]) -> str:
    return f"{refusal['events']} events" if refusal["events"] else str(refusal["samples"])


def _sample(sample: dict[str, Any]) -> tuple[str, str, str]:
    time = datetime.fromtimestamp(sample["time_ms"] / 1000, UTC).isoformat()
    if "summary" in sample:
        return f"event of category {sample['category']}", time, sample["summary"]
    value = "(series ended)" if sample["value"] is None else sample["value"]
    return format_labels(sample["labels"]), time, value
