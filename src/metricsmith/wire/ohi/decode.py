"""One line of an integration's output to a document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from metricsmith.errors import LimitExceeded, WireError
from metricsmith.wire.ohi import metrics_v4
from metricsmith.wire.ohi.document import Dataset, Document, Event, Request, Sample
from metricsmith.wire.ohi.reading import Limits, Reading, shown, text

DEFAULT_CATEGORY = "notifications"
REQUESTS = ("command_request_version", "config_protocol_version")
"""Keys of lines that ask the agent to do something."""
DEFAULTS = Limits()
_BLANKS = b" \t\r\n"


def decode(line: bytes, limits: Limits = DEFAULTS) -> Document | Request | None:
    """Return the document of a line, what it asks for, or None for a heartbeat (`{}`).

    A metric, sample or event that cannot be used is left out and told in the
    document's oddities; the rest is used.

    Raises:
        LimitExceeded: too large, too many metrics or attributes.
        WireError: not a document; the message says why.
    """
    if len(line) > limits.bytes:
        raise LimitExceeded(f"got a document of {len(line)} bytes, wanted at most {limits.bytes}")
    try:
        root = orjson.loads(line.strip(_BLANKS))
    except orjson.JSONDecodeError as error:
        raise WireError(f"got {shown(line[:60])}, wanted one JSON document a line ({error})") from None
    if not isinstance(root, dict):
        raise WireError(f"got {shown(root)}, wanted a JSON object")
    if not root:
        return None
    for kind in REQUESTS:
        if kind in root:
            return Request(kind)
    protocol = _protocol(root.get("protocol_version"))
    reading = Reading(limits)
    name, version = _identity(root, protocol)
    datasets = tuple(_datasets(root, protocol, reading))
    return Document(protocol, name, version, datasets, tuple(reading.oddities))


def _protocol(raw: Any) -> int:
    number = raw
    if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) < 4:
        number = int(raw)
    if isinstance(number, bool) or not isinstance(number, int | float) or number not in (1, 2, 3, 4):
        got = "nothing" if raw is None else shown(raw)
        raise WireError(f"protocol_version: got {got}, wanted 1, 2, 3 or 4")
    return int(number)


def _identity(root: Mapping[str, Any], protocol: int) -> tuple[str, str]:
    if protocol < 4:
        return text(root.get("name"), "name"), text(root.get("integration_version"), "integration_version")
    integration = root.get("integration")
    if integration is None:
        return "", ""
    if not isinstance(integration, dict):
        raise WireError(f"integration: got {shown(integration)}, wanted an object with name and version")
    name = text(integration.get("name"), "integration.name")
    return name, text(integration.get("version"), "integration.version")


def _datasets(root: Mapping[str, Any], protocol: int, reading: Reading) -> Iterator[Dataset]:
    read: Callable[[Mapping[str, Any], Reading, str], Dataset] = _dataset_v4 if protocol == 4 else _dataset
    if protocol == 1:
        yield read(root, reading, "document")
        return
    data = root.get("data")
    if not isinstance(data, list):
        raise WireError(f"data: got {'nothing' if data is None else shown(data)}, wanted a list")
    if len(data) > reading.limits.datasets:
        raise LimitExceeded(f"data: got {len(data)} entries, wanted at most {reading.limits.datasets}")
    for index, raw in enumerate(data):
        where = f"data[{index}]"
        if not isinstance(raw, dict):
            reading.odd("shape", f"{where}: got {shown(raw)}, wanted an object")
            continue
        try:
            yield read(raw, reading, where)
        except LimitExceeded:
            raise
        except WireError as error:  # one entity's data must not take another's with it
            reading.odd("dataset", str(error))


def _dataset(raw: Mapping[str, Any], reading: Reading, where: str) -> Dataset:
    return Dataset(
        reading.entity(raw, where),
        samples=tuple(_samples(raw, reading, where)),
        inventory=reading.inventory(raw, where),
        events=tuple(_events(raw, reading, where)),
    )


def _dataset_v4(raw: Mapping[str, Any], reading: Reading, where: str) -> Dataset:
    return Dataset(
        reading.entity(raw, where),
        metrics=tuple(metrics_v4.read(raw, reading, where)),
        inventory=reading.inventory(raw, where),
        events=tuple(_events(raw, reading, where)),
    )


def _samples(raw: Mapping[str, Any], reading: Reading, where: str) -> Iterator[Sample]:
    for index, item in enumerate(reading.objects(raw, "metrics", where)):
        event_type = item.get("event_type")
        if isinstance(event_type, str) and event_type:
            fields = reading.attributes(item, f"{where}.metrics[{index}]")
            yield Sample(event_type, {k: v for k, v in fields.items() if k != "event_type"})
        else:
            reading.odd("event_type", f"{where}.metrics[{index}]: got {shown(event_type)} as event_type")


def _events(raw: Mapping[str, Any], reading: Reading, where: str) -> Iterator[Event]:
    # Attributes stand in an object of their own; what stands beside the known keys belongs to them, too.
    for index, item in enumerate(reading.objects(raw, "events", where)):
        here = f"{where}.events[{index}]"
        try:
            summary = text(item.get("summary"), f"{here}.summary")
            if not summary:
                raise WireError(f"{here}: got no summary, wanted text")
            category = text(item.get("category"), f"{here}.category") or DEFAULT_CATEGORY
            time_ms = reading.time_ms(item.get("timestamp"), here)
        except WireError as error:
            reading.odd("event", str(error))
            continue
        known = ("summary", "category", "timestamp", "attributes")
        beside = {k: v for k, v in item.items() if k not in known}
        attributes = reading.attributes({**beside, **reading.mapping(item, "attributes", here)}, here)
        yield Event(summary, category, time_ms, attributes)
