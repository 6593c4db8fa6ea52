"""The typed settings of the `python` source."""

from __future__ import annotations

import socket
from typing import Annotated

from pydantic import Field

from metricsmith.collector import Options
from metricsmith.contracts import PartConfig
from metricsmith.model.settings_types import DurationMs, FilePattern, FolderPath
from metricsmith.sources.python.limits import Limits

DAY_MS = 86_400_000
MIN_INTERVAL_MS = 100
Labels = Annotated[dict[str, str], Field(max_length=64)]


class CollectorConfig(PartConfig):
    """What is set for one collector, by its name; it wins over what the collector says of itself."""

    enabled: bool = Field(True, description="Whether it runs.")
    interval: DurationMs | None = Field(
        None, ge=MIN_INTERVAL_MS, le=DAY_MS, description="Time between collections."
    )
    timeout: DurationMs | None = Field(None, ge=1, le=DAY_MS, description="Longest collection.")
    max_samples: int | None = Field(None, ge=1, description="Most samples of one collection.")
    max_series: int | None = Field(None, ge=1, description="Most different series within an hour.")
    labels: Labels = Field(default_factory=dict, description="More labels of its series.")


class PythonConfig(PartConfig):
    """Settings of the `python` source."""

    files: tuple[FilePattern, ...] = Field(
        (), max_length=1000, description="Python files with collectors; globs are allowed."
    )
    modules: tuple[str, ...] = Field(
        (),
        max_length=1000,
        description="Installed modules, `package.module`, or one thing in one, `package.module:Name`.",
    )
    directory: FolderPath = Field(
        "",
        max_length=4096,
        description="Such as `collectors.d`: its `*.py` are read, but none that begins with `_` or `.`.",
    )
    entry_points: bool = Field(
        False, description="Run what installed packages offer as `metricsmith.collectors`."
    )
    interval: DurationMs = Field(
        10_000,
        ge=MIN_INTERVAL_MS,
        le=DAY_MS,
        description="Time between collections, unless a collector says.",
    )
    timeout: DurationMs = Field(
        5_000, ge=1, le=DAY_MS, description="Longest collection, unless a collector says."
    )
    load_timeout: DurationMs = Field(
        10_000, ge=1, le=DAY_MS, description="Longest reading of a file or module, which runs its code."
    )
    max_samples: int = Field(10_000, ge=1, description="Most samples of one collection; above it, it fails.")
    max_series: int = Field(
        20_000, ge=1, description="Most different series of a collector within an hour; others are left out."
    )
    max_labels: int = Field(64, ge=1, le=1000, description="Most labels of a series.")
    max_label_length: int = Field(1024, ge=1, le=65_536, description="Longest value of a label, in bytes.")
    max_collectors: int = Field(1000, ge=1, le=10_000, description="Most collectors of this source.")
    labels: Labels = Field(
        default_factory=dict, description="Labels of all series, where a collector does not give them itself."
    )
    instance: str = Field(
        default_factory=socket.gethostname, min_length=1, description="`instance` label of the series."
    )
    refresh: DurationMs = Field(5_000, ge=100, le=DAY_MS, description="How often files are looked at.")
    collectors: dict[str, CollectorConfig] = Field(
        default_factory=dict, max_length=10_000, description="Settings of single collectors, by name."
    )


def limits_of(name: str, options: Options, config: PythonConfig, job: str) -> Limits:
    """Return the limits of a collector."""
    own = config.collectors.get(name, CollectorConfig())
    interval_ms = own.interval or options.interval_ms or config.interval
    return Limits(
        max(interval_ms, MIN_INTERVAL_MS),
        own.timeout or options.timeout_ms or config.timeout,
        own.max_samples or options.max_samples or config.max_samples,
        own.max_series or options.max_series or config.max_series,
        config.max_labels,
        config.max_label_length,
        {"job": job, "instance": config.instance, **config.labels, **options.labels, **own.labels},
    )
