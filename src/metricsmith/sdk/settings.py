"""Settings of an application's exporter, from the environment: METRICSMITH_*, and KAMON_* as aliases."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from metricsmith.model.duration import parse_duration
from metricsmith.model.host_names import HOST_NAME

PREFIX, ALIAS_PREFIX = "METRICSMITH_", "KAMON_"
WRITE_PATH = "/api/v1/write"
MODULES = ("process", "memory", "gc", "threads", "asyncio", "allocations", "jvm")
DEFAULT_MODULES = ("process", "memory", "gc", "threads", "asyncio")
_BOOLEANS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_UNIT_WORDS = re.compile(r"\s*(milliseconds?|millis|seconds?|minutes?|hours?)\s*$")
_SHORT = {"mi": "ms", "se": "s", "ho": "h"}


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """How an application exports its metrics.

    A value that cannot be used leaves its default and a line in `problems`:
    metrics must not keep an application from starting.
    """

    enabled: bool = True
    service_name: str = "python"
    instance: str = ""
    """Tells this process from others of the service, where it pushes; `export.instance` unless set."""
    prometheus_enabled: bool = True
    prometheus_host: str = "127.0.0.1"
    prometheus_port: int = 9095
    status_page_enabled: bool = True
    status_page_host: str = "127.0.0.1"
    status_page_port: int = 5266
    allowed_hosts: tuple[str, ...] = ()
    """Names by which browsers may ask for the status page, besides addresses and this machine's."""
    tick_interval_s: float = 10.0
    push_url: str = ""
    bus_endpoint: str = ""
    bus_secret_key_file: str = ""
    bus_server_key: str = ""
    runtime_metrics: tuple[str, ...] = DEFAULT_MODULES
    problems: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return what is exported, without the address that may hold a password."""
        return f"ExportSettings(enabled={self.enabled}, service_name={self.service_name!r})"


def settings_from_environment(
    environment: Mapping[str, str] | None = None, modules: tuple[str, ...] = DEFAULT_MODULES
) -> ExportSettings:
    """Return the settings that environment variables name; METRICSMITH_* win over KAMON_*.

    `modules` are those of runtime metrics where the environment names none.

    >>> settings_from_environment({"KAMON_PROMETHEUS_PORT": "9100"}).prometheus_port
    9100
    """
    reader = _Reader(os.environ if environment is None else environment)
    defaults = ExportSettings(service_name=program_name(), runtime_metrics=modules)
    found = {
        field: reader.get(name, read, getattr(defaults, field)) for name, (field, read) in _SETTINGS.items()
    }
    return replace(defaults, **found, problems=tuple(reader.problems))


def program_name() -> str:
    """Return the running program's name: what to call a service that has not been named."""
    folder, name = os.path.split(sys.argv[0] if sys.argv else "")  # pathlib costs an import
    if name == "__main__.py":  # python -m package
        name = os.path.basename(folder)  # noqa: PTH119
    return "python" if name in ("", "-c", "-m", "-") else name.removesuffix(".py")


def write_url(text: str) -> str:
    """Return where remote write goes: an address without a path is an agent's.

    >>> write_url("http://127.0.0.1:9480")
    'http://127.0.0.1:9480/api/v1/write'

    Raises:
        ValueError: not an http address.
    """
    wanted = "an address such as http://127.0.0.1:9480, with %2F for / in a password"
    try:
        parts = urlsplit(text.strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        usable = usable and "@" not in parts.path + parts.fragment  # the end of a password with a / or #
    except ValueError:  # which may tell what stands where a port should, such as half a password
        raise ValueError(wanted) from None
    if not usable or not text.strip().isprintable() or " " in text.strip():
        raise ValueError(wanted)
    return parts.geturl() if parts.path.strip("/") else parts._replace(path=WRITE_PATH).geturl()


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def get(self, name: str, read: Callable[[str], Any], default: Any) -> Any:
        """Return what a variable says; the first that is set decides, even when it is wrong."""
        for variable in (PREFIX + name, ALIAS_PREFIX + name):
            text = self._environment.get(variable, "").strip()
            if not text:
                continue
            try:
                return read(text)
            except ValueError as wanted:
                # Addresses may hold passwords.
                got = "a value" if name == "PUSH_URL" else repr(text[:100])
                self.problems.append(f"{variable}: got {got}, wanted {wanted}; {default!r} is used")
                return default
        return default


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError("yes or no") from None


def _port(text: str) -> int:
    # int() would take blanks, underscores and digits of other scripts.
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65_535):
        raise ValueError("a port from 0 (any free one) to 65535")
    return int(text)


def _name(text: str) -> str:
    if len(text) > 200 or not text.isprintable():
        raise ValueError("a text of at most 200 characters")
    return text


def _hosts(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not all(map(HOST_NAME.fullmatch, names)):
        raise ValueError("names of hosts, such as metrics.example.com,*.example.org")
    return names


def _endpoint(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme not in ("tcp", "ipc") or not rest:
        raise ValueError("an address such as tcp://localhost:11001")
    return _name(text)


def _interval(text: str) -> float:
    try:
        milliseconds = parse_duration(_UNIT_WORDS.sub(_short_unit, text))
    except ValueError:
        milliseconds = 0
    if not 100 <= milliseconds <= 3_600_000:
        raise ValueError("a duration from 100ms to 1h, such as 10s")
    return milliseconds / 1000


def _short_unit(match: re.Match[str]) -> str:
    word = match[1]
    return "m" if word.startswith("minute") else _SHORT[word[:2]]


def _modules(text: str) -> tuple[str, ...]:
    names = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    if names == ("none",):
        return ()
    if names == ("all",):
        return MODULES
    if not set(names) <= set(MODULES):
        raise ValueError(f"none, all, or some of {', '.join(MODULES)}")
    return names


_SETTINGS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "ENABLED": ("enabled", _boolean),
    "SERVICE_NAME": ("service_name", _name),
    "INSTANCE": ("instance", _name),
    "PROMETHEUS_ENABLED": ("prometheus_enabled", _boolean),
    "PROMETHEUS_HOST": ("prometheus_host", _name),
    "PROMETHEUS_PORT": ("prometheus_port", _port),
    "STATUS_PAGE_ENABLED": ("status_page_enabled", _boolean),
    "STATUS_PAGE_HOST": ("status_page_host", _name),
    "STATUS_PAGE_PORT": ("status_page_port", _port),
    "ALLOWED_HOSTS": ("allowed_hosts", _hosts),
    "TICK_INTERVAL": ("tick_interval_s", _interval),
    "PUSH_URL": ("push_url", write_url),
    "BUS_ENDPOINT": ("bus_endpoint", _endpoint),
    "BUS_CURVE_SECRET_KEY_FILE": ("bus_secret_key_file", _name),
    "BUS_CURVE_SERVER_KEY": ("bus_server_key", _name),
    "RUNTIME_METRICS": ("runtime_metrics", _modules),
}
"""Variables without their prefix: field of ExportSettings, and how the text is read."""
VARIABLES = frozenset(_SETTINGS) | {"PROCESSES_ADDRESS"}
"""All that applications read, without the prefix; that of `sdk.processes` among them."""
