"""Lists of targets, as Prometheus' file_sd has them: the format, its limits, and files that are watched."""

from __future__ import annotations

import asyncio
import glob
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any

import orjson
import yaml
from pydantic import AfterValidator, Field

from metricsmith.contracts import Context, PartConfig
from metricsmith.errors import LimitExceeded, MetricsmithError, WireError
from metricsmith.model.relabel import LABEL_NAME
from metricsmith.model.settings_types import DurationMs, FilePattern, format_size
from metricsmith.model.yaml_guard import check_depth

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
MAX_LIST_BYTES = 16 << 20
MAX_TARGETS = 100_000
MAX_GROUP_LABELS = 256
MAX_LABEL_BYTES = 64 << 20
"""Of all targets of a list together, as each has its group's labels for itself in the end."""
MAX_JSON_MARKS = 1_000_000
"""Commas and opening brackets, of which each may begin a value of a hundred bytes in memory."""
POLL_MS = 5000
"""How often files are looked at; reading happens only when one has changed."""


def _targets_file(value: str) -> str:
    if PurePath(value).suffix not in (".json", ".yml", ".yaml"):
        raise ValueError(f'got "{value[:200]}", wanted a path that ends in .json, .yml or .yaml')
    return value


TargetsFile = Annotated[FilePattern, AfterValidator(_targets_file)]


class FileDiscovery(PartConfig):
    """Targets from files."""

    files: tuple[TargetsFile, ...] = Field(
        min_length=1, max_length=1000, description="Paths ending in .json, .yml or .yaml; globs are allowed."
    )
    refresh: DurationMs = Field(
        300_000, ge=100, le=DAY_MS, description="Longest time until a change is seen; usually it is 5 s."
    )


@dataclass(frozen=True, slots=True)
class Listed:
    """A target as it is listed; one mapping of labels serves its whole group.

    One that is not `wanted` is there to be shown: who lists it says that it is not to be scraped.
    """

    target: str
    labels: Mapping[str, str]
    wanted: bool = True


Found = list[Listed]
Update = Callable[[Found], Awaitable[None]]


class FileProvider:
    """The targets of files; a file that cannot be read keeps its last good list, a deleted one has none."""

    kind = "file_sd"

    def __init__(self, config: FileDiscovery, context: Context) -> None:
        self._config = config
        self._context = context
        self._seen: dict[str, tuple[int, ...]] = {}
        self._good: dict[str, Found] = {}
        self._failing: dict[str, float] = {}

    def age_s(self) -> float:
        """Return for how long a file could not be read; 0 while all can be."""
        since = list(self._failing.values())
        return self._context.clock.monotonic() - min(since) if since else 0.0

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
        for path in self._failing.keys() - paths:
            del self._failing[path]
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
            self._seen.pop(path, None)
            self._failed(path, error)
            return False
        self._seen[path] = mark
        try:
            self._good[path] = parse_groups(_decode_file(path, text), {"__meta_filepath": path})
        except MetricsmithError as error:
            self._failed(path, error)
            return False
        self._failing.pop(path, None)
        return True

    def _failed(self, path: str, error: Exception) -> None:
        self._failing.setdefault(path, self._context.clock.monotonic())
        discovery_failed(self._context, self.kind, f"{path}: {error}", subject=path)


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
        return decode_json(text)
    try:
        check_depth(text)
        return yaml.load(text, Loader=yaml.CSafeLoader)
    except (ValueError, yaml.YAMLError) as error:  # a bad YAML date is a ValueError
        raise WireError(f"cannot be read as YAML: {error}") from None


def decode_json(text: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        WireError: not JSON.
        LimitExceeded: too many values.
    """
    if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_JSON_MARKS:
        raise LimitExceeded(f"got a list of more than {MAX_JSON_MARKS} values")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise WireError(f"not JSON: {error}") from None


def discovery_failed(context: Context, kind: str, message: str, subject: str = "") -> None:
    """Count and log that a list of targets could not be read."""
    context.telemetry.problem(
        log,
        "metricsmith_discovery_failures_total",
        f"{context.name}: {kind}: {message}; the last good targets stay",
        subject=subject,
        source=context.name,
        kind=kind,
    )
