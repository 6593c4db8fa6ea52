"""`metricsmith sink` and `metricsmith quarantine`: try a sink, and look after what was refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from metricsmith.cli.client import DEFAULT_URL, URL_VARIABLE, call, fetch, http_address
from metricsmith.cli.exits import Exit
from metricsmith.cli.table import print_table, printable
from metricsmith.errors import ExecutionError
from metricsmith.model.duration import format_duration
from metricsmith.model.labels import format_labels

DEFAULT_LIMIT = 100
MOST = 10_000
"""Refusals that a quarantine has room for."""

sink = typer.Typer(no_args_is_help=True, help="Look at sinks, and try one.")
quarantine = typer.Typer(no_args_is_help=True, help="What destinations refused for good.")

Url = Annotated[str, typer.Option(metavar="URL", envvar=URL_VARIABLE, help="Address of the agent.")]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")]
OfSink = Annotated[str, typer.Option("--sink", metavar="NAME", help="Only of this sink.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Which; or --sink, or --all.")]
All = Annotated[bool, typer.Option("--all", metavar="", help="All that there is.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="As `quarantine list` shows it.")]


@sink.command(
    "list",
    epilog="Examples:\n\nmetricsmith sink list\n\nmetricsmith sink list --url http://edge-7:9480 --json",
)
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
            each["circuit"],
            str(each["behind_batches"]),
            format_duration(int(each["lag_seconds"]) * 1000),
            str(each["delivered_samples"]),
            str(each["dropped_samples"]),
            f"held until {each['held_until']}" if each["held_until"] else each["last_error"],
        )
        for each in sinks
    ]
    titles = ("sink", "type", "state", "circuit", "behind", "lag", "delivered", "not delivered", "last error")
    print_table(rows, titles, prose=True)


@sink.command("test", epilog="Example:\n\nmetricsmith sink test central")
def test(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a sink.")],
    url: Url = DEFAULT_URL,
) -> None:
    """Send one sample to a sink and tell what comes back; exit code 1 when it is not taken."""
    try:
        done, _ = call(http_address(url), "/api/v1/sinks/test", {"name": name})
    except ExecutionError as error:
        typer.echo(printable(f"{name}: not taken: {error}"), err=True)
        raise typer.Exit(Exit.FAILURE) from None
    said = f": {done['said']}" if done["said"] else ""
    typer.echo(f"{name}: taken in {done['seconds'] * 1000:.0f} ms{printable(said)}")


@quarantine.command(
    "list",
    epilog="Examples:\n\nmetricsmith quarantine list\n\nmetricsmith quarantine list --sink oci --limit 10",
)
def list_refusals(
    sink: OfSink = "",
    limit: Annotated[
        int, typer.Option(metavar="N", min=0, max=MOST, help="Only the newest so many, 0 for all.")
    ] = DEFAULT_LIMIT,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List what destinations refused, oldest first."""
    asked = min(limit + 1, MOST) if limit else 0  # one more says whether there are more
    found = _refusals(http_address(url), sink, asked)
    more, shown = bool(limit) and len(found) > limit, found[-limit:]
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
    elif not found:
        typer.echo(_nothing(sink))
    else:
        rows: list[tuple[str, ...]] = [
            (r["id"], r["sink"], r["at"], _amount(r), _series(r), r["reason"]) for r in shown
        ]
        print_table(rows, ("id", "sink", "at", "samples", "series", "reason"), prose=True)
    if more:
        typer.echo(f"the newest {limit} of more; --limit 0 shows all", err=True)


@quarantine.command("show", epilog="Example:\n\nmetricsmith quarantine show 1763740800000-0000")
def show(id: Id, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Show the samples and events of one refusal."""
    found = fetch(http_address(url), "/api/v1/quarantine/show", {"id": id})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(printable(f"{found['sink']}, {found['at']}: {found['reason']}"))
    print_table(list(map(_sample, found["content"])), ("series", "time", "value"))


@quarantine.command(
    "retry",
    epilog="Examples:\n\nmetricsmith quarantine retry 1763740800000-0000\n\n"
    "metricsmith quarantine retry --sink oci",
)
def retry(ids: Ids = None, all_of_them: All = False, sink: OfSink = "", url: Url = DEFAULT_URL) -> None:
    """Send what was refused again; what is taken now leaves the quarantine. Exit code 1 when some is not."""
    _each(ids, all_of_them, sink, http_address(url), "/api/v1/quarantine/retry", "sent again")


@quarantine.command(
    "drop",
    epilog="Examples:\n\nmetricsmith quarantine drop 1763740800000-0000\n\n"
    "metricsmith quarantine drop --sink oci",
)
def drop(ids: Ids = None, all_of_them: All = False, sink: OfSink = "", url: Url = DEFAULT_URL) -> None:
    """Forget what was refused."""
    _each(ids, all_of_them, sink, http_address(url), "/api/v1/quarantine/drop", "dropped")


def _each(ids: list[str] | None, all_of_them: bool, sink: str, url: str, path: str, done: str) -> None:
    if [bool(ids), all_of_them, bool(sink)].count(True) != 1:
        raise typer.BadParameter("wanted ids of refusals, --sink NAME, or --all")
    chosen = ids or [each["id"] for each in _refusals(url, sink)]
    if not chosen:
        typer.echo(_nothing(sink))
    failed = False
    for id in chosen:
        try:
            answer, _ = call(url, path, {"id": id})
            typer.echo(f"{id}: {answer['samples']} samples {done}")
        except ExecutionError as error:
            failed = True
            typer.echo(printable(f"error: {id}: {error}"), err=True)
    if failed:
        raise typer.Exit(Exit.FAILURE)


def _refusals(url: str, sink: str, limit: int = 0) -> list[dict[str, Any]]:
    asked = ({"sink": sink} if sink else {}) | ({"limit": str(limit)} if limit else {})
    found: list[dict[str, Any]] = fetch(url, "/api/v1/quarantine", asked)
    return found


def _nothing(sink: str) -> str:
    return f"nothing of the sink {sink} is in quarantine" if sink else "nothing is in quarantine"


def _series(refusal: dict[str, Any]) -> str:
    """Return the name of the first series, and how many there are beside it.

    >>> _series({"series": 3, "metric": "up"}), _series({"series": 0, "metric": ""})
    ('up and 2 more', '')
    """
    others = refusal["series"] - 1
    return f"{refusal['metric']} and {others} more" if others > 0 else refusal["metric"]


def _amount(refusal: dict[str, Any]) -> str:
    return f"{refusal['events']} events" if refusal["events"] else str(refusal["samples"])


def _sample(sample: dict[str, Any]) -> tuple[str, str, str]:
    time = datetime.fromtimestamp(sample["time_ms"] / 1000, UTC).isoformat()
    if "summary" in sample:
        return f"event of category {sample['category']}", time, sample["summary"]
    value = "(series ended)" if sample["value"] is None else sample["value"]
    return format_labels(sample["labels"]), time, value
