"""Which agents a configuration makes in a cluster of machines: one in the middle, one on each node, or both.

One file starts both sides of a bus, and the host's metrics are those of one machine: an agent that is
placed anywhere cannot tell them of others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from metricsmith.config.load import Configuration
from metricsmith.config.settings import BusSettings, Mode, Settings
from metricsmith.integration.generate.configured import Configured
from metricsmith.integration.generate.named_files import named_files
from metricsmith.integration.generate.secrets import Separated, separated
from metricsmith.integration.generate.yaml_text import yaml_text
from metricsmith.model.yaml_lines import Path, show

NAME = "metricsmith"
FOLDER = "/etc/metricsmith"
FILE = "metricsmith.yaml"
DATA = "/var/lib/metricsmith"
NODE = "${NODE_NAME}"
_HOST = "host"
_EVERYWHERE = frozenset({"host", "self", "pushgateway", "application"})
"""Sources that an agent on each node may have without collecting anything twice."""
_OF_PRODUCERS = ("service", "logging", "server", "journal", "bus", "collection", "performance")
_LOOPBACK = re.compile(r"(^|//|@)(localhost|127\.0\.0\.1|\[::1\])([:/]|$)")


@dataclass(frozen=True, slots=True)
class Role:
    """One agent, or one on each node: its configuration, and the ports that others reach it at."""

    name: str
    component: str
    per_node: bool
    data: dict[str, Any]
    ports: Mapping[str, int]
    variables: Mapping[str, str | None] = field(repr=False)

    @property
    def http(self) -> int:
        """The port of the HTTP server."""
        return self.ports["http"]


def roles(configured: Configured) -> tuple[Role, ...]:
    """Return the agents that a configuration makes, the one in the middle first.

    Raises:
        ConfigError: secrets cannot be told from what is none.
    """
    settings = configured.meaning.settings
    apart = separated(configured)
    mode, sources = settings.service.type, _types(apart.data)
    if mode is Mode.PRODUCER:
        return (_role(settings, apart, apart.data, NAME, per_node=True),)
    if mode is Mode.CONSUMER:
        producer = _producer(apart.data, settings)
        centre = _consumer(apart.data, settings)
        return (
            _role(settings, apart, centre, NAME, per_node=False),
            _role(settings, apart, producer, f"{NAME}-producer", per_node=True),
        )
    if _HOST not in sources:
        return (_role(settings, apart, apart.data, NAME, per_node=False),)
    if sources <= _EVERYWHERE:
        return (_role(settings, apart, apart.data, NAME, per_node=True),)
    centre = _with_sources(apart.data, lambda kind: kind != _HOST)
    return (
        _role(settings, apart, centre, NAME, per_node=False),
        _role(
            settings,
            apart,
            _with_sources(apart.data, _EVERYWHERE.__contains__),
            f"{NAME}-node",
            per_node=True,
        ),
    )


def files_of(role: Role, rules: Mapping[str, str], first_line: str = "") -> dict[str, str]:
    """Return the texts of an agent's folder: its configuration, and the rule files that it names."""
    data = dict(role.data)
    section = dict(data.get("rules") or {})
    named = rules if section.pop("files", None) else {}
    if section or named:
        data["rules"] = section | ({"files": list(named)} if named else {})
    texts = {FILE: yaml_text(data), **named}
    return {name: first_line + text for name, text in texts.items()}


def cautions(found: tuple[Role, ...], meaning: Configuration) -> Iterator[str]:
    """Yield what works on one machine and is otherwise in a container."""
    settings = meaning.settings
    for role in found:
        for path, text in _texts(role.data, ()):
            if _LOOPBACK.search(text):
                yield f"{role.name}: {show(path)}: {text} is the container itself there"
            elif path[0] == "sinks" and path[-1] == "path" and not text.startswith(f"{DATA}/"):
                yield f"{role.name}: {show(path)}: {text} is read-only there; choose a folder in {DATA}"
    for setting, file in sorted({*named_files(meaning)}):
        yield f"{setting}: give the container the file {file}"
    names = [name for role in found for name, value in role.variables.items() if value is None]
    for name in dict.fromkeys(names):
        yield f"{name} is not set here: fill it in where the secrets are"
    if settings.service.type is Mode.CONSUMER:
        yield from _about_bus(found[0], settings.bus or BusSettings())
    elif len(found) > 1:
        yield (
            "source host runs on each node, in an agent of its own that keeps its samples there;"
            " sinks bring them together, or modes consumer and producer"
        )


def _about_bus(consumer: Role, bus: BusSettings) -> Iterator[str]:
    if "bus" not in consumer.ports:
        return
    if bus.ack_endpoint is None:
        yield "bus.ack_endpoint is not set: what producers send while the consumer restarts is lost"
    if bus.curve is None:
        yield "bus.curve is not set: whoever reaches the port of the bus can send metrics"


def used_variables(data: Mapping[str, Any], known: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return those of some variables that a configuration refers to."""
    used = "\n".join(text for _, text in _texts(data, ()))
    return {name: value for name, value in known.items() if f"${{{name}}}" in used}


def _role(settings: Settings, apart: Separated, data: dict[str, Any], name: str, *, per_node: bool) -> Role:
    port = settings.server.address()[1]
    done = _deep(data)
    _section(done, "server")["listen"] = f"0.0.0.0:{port}"
    _section(done, "storage")["path"] = DATA
    service = _section(done, "service")
    if per_node:
        service["name"] = NODE
        for source in done.get("sources") or ():
            if source.get("type") == _HOST:
                source["labels"] = {"host": NODE, **(source.get("labels") or {})}
    else:
        service.setdefault("name", name)
    # Not the mode: it may change, and what selects pods must not.
    component = "node" if per_node else "agent"
    variables = used_variables(done, apart.variables)
    return Role(name, component, per_node, done, {"http": port, **_bus_ports(done)}, variables)


def _consumer(data: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the consumer's configuration: it listens where producers on other nodes reach it."""
    done = _with_sources(data, lambda kind: kind != _HOST)
    _section(done, "service")["type"] = Mode.CONSUMER.value
    _rewritten(done, settings, "0.0.0.0")
    return done


def _producer(data: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Return what of a consumer's file is its producers' too."""
    kept = {key: data[key] for key in _OF_PRODUCERS if key in data}
    done = _with_sources({**kept, "sources": data.get("sources") or []}, lambda kind: kind == _HOST)
    _section(done, "service")["type"] = Mode.PRODUCER.value
    _rewritten(done, settings, NAME)
    return done


def _rewritten(done: dict[str, Any], settings: Settings, host: str) -> None:
    """Put a host into the addresses of the bus, where the consumer is the one that listens."""
    bus = settings.bus or BusSettings()
    section = _section(done, "bus")
    if bus.driver == "zmq" and bus.bind is not False and bus.endpoint.startswith("tcp:"):
        section["endpoint"] = f"tcp://{host}:{_port(bus.endpoint)}"
    if bus.ack_endpoint is not None and bus.ack_endpoint.startswith("tcp:"):
        section["ack_endpoint"] = f"tcp://{host}:{_port(bus.ack_endpoint)}"


def _bus_ports(data: Mapping[str, Any]) -> dict[str, int]:
    bus = data.get("bus") or {}
    if data["service"].get("type") != Mode.CONSUMER.value:
        return {}
    named = {"bus": bus.get("endpoint") or "", "transfer": bus.get("ack_endpoint") or ""}
    return {name: _port(address) for name, address in named.items() if "//0.0.0.0:" in address}


def _port(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


def _types(data: Mapping[str, Any]) -> set[str]:
    return {source["type"] for source in data.get("sources") or ()}


def _with_sources(data: Mapping[str, Any], wanted: Any) -> dict[str, Any]:
    kept = [source for source in data.get("sources") or () if wanted(source["type"])]
    return {key: value for key, value in data.items() if key != "sources"} | (
        {"sources": kept} if kept else {}
    )


def _section(data: dict[str, Any], name: str) -> dict[str, Any]:
    section = dict(data.get(name) or {})
    data[name] = section
    return section


def _deep(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _deep(inner) for key, inner in value.items()}
    return [_deep(inner) for inner in value] if isinstance(value, list) else value


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _texts(inner, (*path, i))
    elif isinstance(value, str):
        yield path, value
