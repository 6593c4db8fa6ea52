"""From the labels that discovery gives to what is scraped: URL, series labels, interval, phase."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import urlencode, urlsplit

from yarl import URL

from metricsmith.model.duration import format_duration, parse_duration
from metricsmith.model.labels import encode_labels
from metricsmith.model.relabel import relabel
from metricsmith.model.schedule import phase
from metricsmith.net.addresses import split_target
from metricsmith.sources.settings import DAY_MS, MIN_INTERVAL_MS, ScrapeConfig

ADDRESS = "__address__"
SCHEME = "__scheme__"
METRICS_PATH = "__metrics_path__"
INTERVAL = "__scrape_interval__"
TIMEOUT = "__scrape_timeout__"
PARAM = "__param_"
META = "__meta_"
HIDDEN = "<secret>"
DEFAULT_PORT = {"http": 80, "https": 443}

_SCHEME = re.compile(r"[a-zA-Z]{1,10}://")
_QUERY = re.compile(r"[?#]|%3[Ff]")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One target: equal endpoints are the same target, whatever provider names them.

    `labels` is the canonical key of the labels that its series get.
    """

    url: str
    labels: bytes
    interval_ms: int
    timeout_ms: int

    @property
    def shown(self) -> str:
        """The URL as logs and stream names may have it."""
        return without_secrets(self.url)

    def fingerprint(self) -> int:
        """Return a number that stays the same over restarts, 64 bits."""
        digest = blake2b(self.labels + b"\xff" + self.url.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big")

    def offset_ms(self) -> int:
        """Return the target's phase within its interval."""
        return phase(self.fingerprint(), self.interval_ms)


def without_secrets(target: str) -> str:
    """Return a target or URL without user, password, query and fragment.

    Where these stand in a malformed one is anybody's guess: then nothing is shown but the scheme.

    >>> without_secrets("http://me:pw@h:1/x?token=T"), without_secrets("http://me:p?w@h")
    ('http://h:1/x', 'http://…')
    """
    scheme = found[0] if (found := _SCHEME.match(target)) else ""
    path, *query = _QUERY.split(target[len(scheme) :], maxsplit=1)
    return scheme + ("…" if "@" in "".join(query) else path.rpartition("@")[2])


def discovered(target: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a target given as HOST:PORT or as a URL, the group's labels included.

    What is neither becomes an address that `endpoint` refuses: one bad target
    does not spoil a list.
    """
    found = dict(labels)
    try:
        scheme, address, path, query = split_target(target)
    except ValueError:
        return found | {ADDRESS: target}
    if scheme:
        found |= {SCHEME: scheme, METRICS_PATH: path or "/metrics"}
    return found | {ADDRESS: address} | {PARAM + name: value for name, value in query.items()}


def endpoint(found: Mapping[str, str], job: str, config: ScrapeConfig) -> Endpoint | None:
    """Return the endpoint of discovered labels, or None when a relabel rule drops it.

    Raises:
        ValueError: the labels do not name something that can be scraped.
    Source:
        Prometheus 2.42 `PopulateLabels`: defaults, then relabel rules, then the
        default port; `instance` is the address unless a rule or label sets it.
    """
    labels = relabel(_unrelabelled(found, job, config), config.relabel_configs)
    if labels is None:
        return None
    scheme = labels.get(SCHEME, "")
    address = _with_port(labels.get(ADDRESS, ""), scheme)
    interval_ms, timeout_ms = _timing(labels)
    series_labels = {name: value for name, value in labels.items() if not name.startswith("__")}
    series_labels.setdefault("instance", address)
    return Endpoint(
        _url(scheme, address, labels, config), encode_labels(series_labels), interval_ms, timeout_ms
    )


def shown_labels(found: Mapping[str, str], job: str, config: ScrapeConfig) -> dict[str, str]:
    """Return the labels that relabel rules are given, by name, as a page may have them: without secrets."""
    labels = _unrelabelled(found, job, config)
    return {name: _shown(name, labels[name]) for name in sorted(labels)}


def _shown(name: str, value: str) -> str:
    if name.startswith(PARAM):
        return HIDDEN
    return without_secrets(value) if name == ADDRESS else value


def _unrelabelled(found: Mapping[str, str], job: str, config: ScrapeConfig) -> dict[str, str]:
    defaults = {
        "job": job,
        SCHEME: config.scheme,
        METRICS_PATH: config.metrics_path,
        INTERVAL: format_duration(config.interval),
        TIMEOUT: format_duration(config.timeout_ms()),
        **{PARAM + name: values[0] for name, values in config.params.items() if values},
        **config.labels,
    }
    present = {name: value for name, value in found.items() if value}
    return {**defaults, **present}


def _with_port(address: str, scheme: str) -> str:
    if not address:
        raise ValueError(f"got no {ADDRESS}, wanted HOST:PORT")
    if scheme not in DEFAULT_PORT:
        raise ValueError(f'got {SCHEME} "{scheme[:50]}", wanted http or https')
    got = f'got address "{without_secrets(address)[:200]}"'
    if "@" in address:
        raise ValueError(f"{got} with a user or password, wanted HOST:PORT and `basic_auth`")
    if "?" in address:
        raise ValueError(f"{got} with a query, wanted HOST:PORT, or a URL with each parameter once")
    if any(c in "/#\\" or c.isspace() for c in address):
        raise ValueError(f"{got}, wanted HOST:PORT")
    try:
        port = urlsplit(f"//{address}").port
    except ValueError:
        raise ValueError(f"{got}, wanted HOST:PORT") from None
    if port is not None:
        return address
    return f"{address.rstrip(':')}:{DEFAULT_PORT[scheme]}"


def _timing(labels: Mapping[str, str]) -> tuple[int, int]:
    interval_ms = parse_duration(labels.get(INTERVAL, ""))
    timeout_ms = parse_duration(labels.get(TIMEOUT, ""))
    if not 0 < timeout_ms <= interval_ms or not MIN_INTERVAL_MS <= interval_ms <= DAY_MS:
        raise ValueError(
            f"got interval {format_duration(interval_ms)} and timeout {format_duration(timeout_ms)}, "
            "wanted an interval from 10ms to 1d and a timeout up to the interval"
        )
    return interval_ms, timeout_ms


def _url(scheme: str, address: str, labels: Mapping[str, str], config: ScrapeConfig) -> str:
    query = {name: list(values) for name, values in config.params.items()}
    for name, value in labels.items():
        if name.startswith(PARAM):
            query[name.removeprefix(PARAM)] = [value, *query.get(name.removeprefix(PARAM), [])[1:]]
    path = labels.get(METRICS_PATH, "")
    if path and not path.startswith("/"):
        path = f"/{path}"
    encoded = urlencode(sorted(query.items()), doseq=True)
    return f"{scheme}://{address}{URL.build(path=path or '/').raw_path}{'?' if encoded else ''}{encoded}"
