"""`metricsmith topics` and `metricsmith tail`: what is on the bus, listed or shown as it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metricsmith.cli.bus_options import (
    AuthorizedKeys,
    Bind,
    Connect,
    NothingHeard,
    SecretKey,
    ServerKey,
    listening,
)
from metricsmith.cli.client import DEFAULT_URL, URL_VARIABLE, fetch, http_address
from metricsmith.cli.table import print_table, printable
from metricsmith.model.duration import parse_duration
from metricsmith.model.settings_types import format_size

if TYPE_CHECKING:
    from metricsmith.sources.bus.listen import Heard

TOPICS_EXAMPLES = """Examples:

metricsmith topics

metricsmith topics --connect tcp://127.0.0.1:11002 --for 10s 'metrics.org.*'
"""
TAIL_EXAMPLES = """Examples:

metricsmith tail

metricsmith tail 'metrics.*.Brewer' --bind tcp://127.0.0.1:11001 --count 10 --json
"""
AGAIN_S = 0.5
Patterns = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TOPICS]...", help="Topics; `*` stands for any text. Default: all."),
]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")]


def topics(
    patterns: Patterns = None,
    url: Annotated[
        str, typer.Option(metavar="URL", envvar=URL_VARIABLE, help="Agent that is asked what it has seen.")
    ] = DEFAULT_URL,
    connect: Connect = None,
    bind: Bind = None,
    listen_for: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="How long to listen, with --connect or --bind.")
    ] = "5s",
    as_json: Json = False,
    secret_key: SecretKey = None,
    server_key: ServerKey = None,
    authorized_keys: AuthorizedKeys = None,
) -> None:
    """List the topics on the bus with their rates: those that an agent has seen, or that come now."""
    if connect or bind:
        from metricsmith.model.clock import SystemClock
        from metricsmith.sources.bus.listen import listen
        from metricsmith.sources.bus.seen import SeenTopics

        settings = listening(connect, bind, secret_key, server_key, authorized_keys)
        seen = SeenTopics(SystemClock())
        for heard in listen(settings, tuple(patterns or "*"), _seconds(listen_for)):
            if heard is not None:
                seen.note(heard.topic, len(heard.body))
        found = [each.as_json() for each in seen.topics()]
    else:
        found = _of_agent(http_address(url), patterns or [])
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif found:
        print_table([_row(each) for each in found], ("topic", "messages", "messages/s", "size", "last"))
    if not found:
        raise NothingHeard("no topic was seen: nobody publishes, or elsewhere")


def tail(
    patterns: Patterns = None,
    url: Annotated[
        str, typer.Option(metavar="URL", envvar=URL_VARIABLE, help="Agent that is asked what comes to it.")
    ] = DEFAULT_URL,
    connect: Connect = None,
    bind: Bind = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", metavar="NUMBER", min=1, help="End after so many messages.")
    ] = None,
    listen_for: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="End after that time; default: Ctrl-C.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print a JSON object a line: topic and message.")
    ] = False,
    secret_key: SecretKey = None,
    server_key: ServerKey = None,
    authorized_keys: AuthorizedKeys = None,
) -> None:
    """Show messages on the bus as they come, until Ctrl-C: those that come to an agent, or that we hear.

    One socket listens at an address: where that is the agent's, the agent is asked.
    """
    wanted, seconds = tuple(patterns or "*"), _seconds(listen_for)
    if connect or bind or secret_key or server_key or authorized_keys:
        from metricsmith.sources.bus.listen import listen

        settings = listening(connect, bind, secret_key, server_key, authorized_keys)
        typer.echo(f"listening {'at' if settings.bind else 'to'} {settings.endpoint}", err=True)
        coming = listen(settings, wanted, seconds)
    else:
        typer.echo(f"what comes to the agent at {http_address(url)}", err=True)
        coming = _coming_to(http_address(url), wanted, seconds)
    shown = 0
    for heard in coming:
        if heard is None:
            continue
        typer.echo(_json_line(heard) if as_json else _line(heard))
        shown += 1
        if shown == count:
            return
    if not shown:
        raise NothingHeard("no message came: nobody publishes such topics there")


def _coming_to(url: str, topics: tuple[str, ...], for_s: float | None) -> Iterator[Heard | None]:
    """Yield the messages of some topics that come to an agent; None when there is none for a moment."""
    from metricsmith.sources.bus.listen import read
    from metricsmith.wire.bus import TopicFilter

    wanted, end = TopicFilter(topics), None if for_s is None else time.monotonic() + for_s
    after: dict[str, str] = {}
    while end is None or time.monotonic() < end:
        answer = fetch(url, "/api/v1/bus/messages", after)
        after = {"after": str(answer["next"])}
        found = [read([m["topic"].encode(), m["body"].encode()]) for m in answer["messages"]]
        yield from (heard for heard in found if wanted.takes(heard.topic))
        if not found:
            yield None
            time.sleep(AGAIN_S)


def _of_agent(url: str, patterns: list[str]) -> list[dict[str, Any]]:
    from metricsmith.wire.bus import TopicFilter

    found: list[dict[str, Any]] = fetch(url, "/api/v1/bus/topics", {})
    wanted = TopicFilter(tuple(patterns))
    return [each for each in found if not patterns or wanted.takes(each["topic"])]


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration(text) / 1000
    except ValueError as error:
        raise typer.BadParameter(f"--for: {error}") from None


def _row(topic: dict[str, Any]) -> tuple[str, ...]:
    last = datetime.fromtimestamp(topic["last_ms"] / 1000, UTC)
    return (
        topic["topic"],
        f"{topic['messages']:,}",
        f"{topic['rate']:.2f}",
        format_size(topic["size_bytes"]),
        f"{last:%H:%M:%S}Z",
    )


def _json_line(heard: Heard) -> str:
    if heard.problem:
        shown = heard.body[:1000].decode(errors="backslashreplace")
        return json.dumps({"topic": heard.topic, "problem": heard.problem, "body": shown})
    return json.dumps({"topic": heard.topic, "message": heard.document})


def _line(heard: Heard) -> str:
    if heard.problem:
        return printable(f"{heard.topic} ({heard.problem}) {heard.body[:200]!r}")
    document = heard.document
    metrics, tags = document.get("metrics"), document.get("tags")
    parts = [f"{document.get('timestamp', 'now')}", heard.topic]
    parts += (
        [f"{name}={value}" for name, value in metrics.items()]
        if isinstance(metrics, dict)
        else ["no metrics"]
    )
    parts += [f"{name}:{value}" for name, value in tags.items()] if isinstance(tags, dict) else []
    return printable(" ".join(parts))
