"""Where target lists come from: the configuration, files, a URL. The last good list stays."""

from __future__ import annotations

import asyncio
import glob
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson
import yaml
from yarl import URL

from metricsmith.contracts import Context
from metricsmith.errors import LimitExceeded, MetricsmithError, WireError
from metricsmith.model.relabel import LABEL_NAME
from metricsmith.model.settings_types import format_size
from metricsmith.model.yaml_guard import check_depth
from metricsmith.sources.client import HttpClient, gunzip
from metricsmith.sources.endpoint import without_secrets
from metricsmith.sources.settings import FileDiscovery, HttpDiscovery, ScrapeConfig

log = logging.getLogger(__name__)

MAX_LIST_BYTES = 16 << 20
MAX_TARGETS = 100_000
MAX_GROUP_LABELS = 256
MAX_LABEL_BYTES = 64 << 20
"""Of all targets of a list together, as each has its group's labels for itself in the end."""
MAX_JSON_MARKS = 1_000_000
"""Commas and opening brackets, of which each may begin a value of a hundred bytes in memory."""
POLL_MS = 5000
"""How often files are looked at; reading happens only when one has changed."""
HTTP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Listed:
    """A target as it is listed; one mapping of labels serves its whole group."""

    target: str
    labels: Mapping[str, str]


Found = list[Listed]
Update = Callable[[Found], Awaitable[None]]


class Provider(Protocol):
    """Tells of targets: calls `update` with the whole list, at first and whenever it has changed."""

    kind: str

    async def run(self, update: Update) -> None:
        """Run until cancelled."""
        ...


def providers(config: ScrapeConfig, context: Context) -> list[Provider]:
    """Return the providers that the settings ask for."""
    found: list[Provider] = [StaticProvider(config.targets)]
    if config.file_sd is not None:
        found.append(FileProvider(config.file_sd, context))
    if config.http_sd is not None:
        found.append(HttpProvider(config.http_sd, context))
    return found


class StaticProvider:
    """The targets of the configuration."""

    kind = "static"

    def __init__(self, targets: Iterable[str]) -> None:
        self._found = [Listed(target, {}) for target in targets]

    async def run(self, update: Update) -> None:
        await update(self._found)


class FileProvider:
    """The targets of files; a file that cannot be read keeps its last good list, a deleted one has none."""

    kind = "file_sd"

    def __init__(self, config: FileDiscovery, context: Context) -> None:
        self._config = config
        self._context = context
        self._seen: dict[str, tuple[int, ...]] = {}
        self._good: dict[str, Found] = {}

    async def run(self, update: Update) -> None:
        first = True
        while True:
            if await asyncio.to_thread(self._look) or first:
                await update([target for path in sorted(self._good) for target in self._good[path]])
            first = False
            await self._context.clock.sleep(min(self._config.refresh, POLL_MS) / 1000)

    def _look(self) -> bool:
        # Names are compared by modification time, size and inode: an atomic rename changes the inode.
        paths = {path for pattern in self._config.files for path in glob.glob(pattern)}  # noqa: PTH207 - patterns may be absolute
        gone = self._seen.keys() - paths
        for path in gone:
            del self._seen[path]
            self._good.pop(path, None)
        changed = bool(gone)
        for path in sorted(paths):
            changed |= self._look_at(path)
        return changed

    def _look_at(self, path: str) -> bool:
        try:
            status = Path(path).stat()
            mark = (status.st_mtime_ns, status.st_size, status.st_ino)
            if self._seen.get(path) == mark:
                return False
            text = _read_file(path)
        except OSError as error:  # too many open files, say: not seen, the next look may succeed
            self._failed(path, error)
            return False
        self._seen[path] = mark
        try:
            self._good[path] = parse_groups(_decode_file(path, text), {"__meta_filepath": path})
        except MetricsmithError as error:
            self._failed(path, error)
            return False
        return True

    def _failed(self, path: str, error: Exception) -> None:
        _failed(self._context, self.kind, f"{path}: {error}", subject=path)


class HttpProvider:
    """The targets that a URL answers, as Prometheus' http_sd has it."""

    kind = "http_sd"

    def __init__(self, config: HttpDiscovery, context: Context) -> None:
        self._config = config
        self._context = context

    async def run(self, update: Update) -> None:
        refresh_s = self._config.refresh / 1000
        headers = {"Accept": "application/json", "X-Prometheus-Refresh-Interval-Seconds": f"{refresh_s:g}"}
        last: Found | None = None
        async with HttpClient(self._config) as client:
            while True:
                try:
                    found = await self._ask(client, headers, min(HTTP_TIMEOUT_S, refresh_s))
                except MetricsmithError as error:
                    _failed(self._context, self.kind, f"{without_secrets(self._config.url)}: {error}")
                else:
                    if found != last:
                        await update(found)
                        last = found
                await self._context.clock.sleep(refresh_s)

    async def _ask(self, client: HttpClient, headers: Mapping[str, str], timeout_s: float) -> Found:
        answer = await client.get(URL(self._config.url), headers, timeout_s, MAX_LIST_BYTES)
        if not answer.content_type.lower().startswith("application/json"):
            raise WireError(f"got Content-Type {answer.content_type[:100]!r}, wanted application/json")
        labels = {"__meta_url": self._config.url}
        return await asyncio.to_thread(_decode, answer.body, answer.gzip, labels)


def _decode(body: bytes, gzip: bool, labels: Mapping[str, str]) -> Found:
    plain = gunzip(body, MAX_LIST_BYTES) if gzip else body
    return parse_groups(_json(plain), labels)


def parse_groups(data: Any, labels: Mapping[str, str]) -> Found:
    """Return the targets of a list of groups, each with its group's labels and `labels`.

    Raises:
        WireError: not a list of {"targets": […], "labels": {…}}.
        LimitExceeded: too many targets, or too many labels on them.
    """
    if not isinstance(data, list):
        raise WireError(f"got {type(data).__name__}, wanted a list of target groups")
    found: Found = []
    size = 0
    for index, group in enumerate(data):
        targets, group_labels = _group(index, group)
        if len(found) + len(targets) > MAX_TARGETS:
            raise LimitExceeded(f"got more than {MAX_TARGETS} targets")
        shared = {**group_labels, **labels}
        size += len(targets) * sum(len(name) + len(value) for name, value in shared.items())
        if size > MAX_LABEL_BYTES:
            raise LimitExceeded(f"got labels over {format_size(MAX_LABEL_BYTES)} on all targets together")
        found += [Listed(target, shared) for target in targets]
    return found


def _group(index: int, group: Any) -> tuple[list[str], dict[str, str]]:
    if not isinstance(group, dict) or not group.keys() <= {"targets", "labels"}:
        raise WireError(f"group {index}: wanted a mapping with targets and labels only")
    targets, labels = group.get("targets") or [], group.get("labels") or {}
    if not isinstance(targets, list) or not all(isinstance(t, str) for t in targets):
        raise WireError(f"group {index}: targets: wanted a list of strings")
    if len(labels) > MAX_GROUP_LABELS:
        raise LimitExceeded(f"group {index}: got {len(labels)} labels, wanted at most {MAX_GROUP_LABELS}")
    pairs = labels.items() if isinstance(labels, dict) else [(None, None)]
    if not all(isinstance(name, str) and isinstance(value, str) for name, value in pairs):
        raise WireError(f"group {index}: labels: wanted a mapping of strings to strings")
    bad = next((name for name in labels if not LABEL_NAME.fullmatch(name)), None)
    if bad is not None:
        raise WireError(f"group {index}: labels: got {bad[:100]!r}, wanted a label name such as environment")
    return targets, labels


def _read_file(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(MAX_LIST_BYTES + 1)


def _decode_file(path: str, text: bytes) -> Any:
    if len(text) > MAX_LIST_BYTES:
        raise LimitExceeded(f"got a file over {format_size(MAX_LIST_BYTES)}")
    if path.endswith(".json"):
        return _json(text)
    try:
        check_depth(text)
        return yaml.load(text, Loader=yaml.CSafeLoader)
    except (ValueError, yaml.YAMLError) as error:  # a bad YAML date is a ValueError
        raise WireError(f"cannot be read as YAML: {error}") from None


def _json(text: bytes) -> Any:
    if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_JSON_MARKS:
        raise LimitExceeded(f"got a list of more than {MAX_JSON_MARKS} values")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise WireError(f"not JSON: {error}") from None


def _failed(context: Context, kind: str, message: str, subject: str = "") -> None:
    context.telemetry.problem(
        log,
        "metricsmith_discovery_failures_total",
        f"{context.name}: {kind}: {message}; the last good targets stay",
        subject=subject,
        source=context.name,
        kind=kind,
    )
