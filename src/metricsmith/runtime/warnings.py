"""What somebody should look into although the agent works, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from metricsmith.delivery.status import SinkStatus
from metricsmith.rules.notify.line import DestinationStatus

LONGEST_REASON = 500
NO_RECEIVER = "remote write receiver needs to be enabled"
"""Words of a Prometheus that was started without."""


def of_sinks(sinks: Iterable[SinkStatus]) -> Iterator[str]:
    """Yield what is wrong with sinks whose destination takes nothing.

    One that is away is no warning: it gets everything when it is back.
    """
    for sink in sinks:
        if sink.state == "refusing":
            yield (
                f"sink {sink.name}: its destination refuses all that it is sent ({_line(sink.last_error)}): "
                f"see `metricsmith quarantine list --sink {sink.name}`, mend the settings or the "
                f"destination, then `metricsmith sink test {sink.name}`"
            )


def of_storage(writing: SinkStatus | None) -> Iterator[str]:
    """Yield what to do about a server that takes no samples until it is told to."""
    if writing is not None and writing.state == "retrying" and NO_RECEIVER in writing.last_error:
        yield (
            "the server of storage.url takes no samples: start it with --web.enable-remote-write-receiver, "
            "or let it scrape the agent at storage.metrics_path, with storage.push: false and "
            "server.metrics.collected: true"
        )


def of_destinations(destinations: Iterable[DestinationStatus]) -> Iterator[str]:
    """Yield who is not told of alerts."""
    for each in destinations:
        if each.last_error:
            what = f"{each.waiting} wait and are sent again" if each.waiting else "none waits"
            yield (
                f"alerts do not reach {each.kind} {each.address} ({_line(each.last_error)}; {what}): check "
                "its address and that it runs; /api/v1/alerts/destinations has more"
            )


def of_reload(error: str) -> Iterator[str]:
    """Yield why the file of the configuration is not what the agent runs with."""
    if error:
        yield (
            f"the configuration was not reloaded, the old one is in use ({_line(error)}): mend the "
            "file, try it with `metricsmith check`, then reload again"
        )


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"
