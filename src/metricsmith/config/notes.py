"""What is not wrong in a configuration, but that its author should know."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, get_args

from pydantic import BaseModel, SecretStr

from metricsmith.config.settings import PerformanceSettings, Settings
from metricsmith.contracts import SinkConfig
from metricsmith.errors import Problem
from metricsmith.model.duration import format_duration
from metricsmith.model.settings_types import FOLDER_PATH, PATTERN
from metricsmith.model.yaml_lines import Origins, Path
from metricsmith.rules.notify.settings import ALERTMANAGER_HINT, is_alertmanager
from metricsmith.rules.thresholds import threshold_remarks

SHORT_INTERVAL_MS = 100


def notes(settings: Settings, parts: Mapping[Path, BaseModel], origins: Origins) -> Iterator[Problem]:
    """Yield a note for everything in settings, and those of parts, that is not done or hardly meant so."""
    for path, config in {(): settings, **parts}.items():
        yield from _not_there(config, path, origins)
    for i, key, message in threshold_remarks(settings.alerts.rules):
        yield origins.problem(("alerts", "rules", i, key), message)
    yield from _webhooks(settings, origins)
    for path, config in parts.items():
        interval = getattr(config, "interval", None)
        if isinstance(interval, int) and interval < SHORT_INTERVAL_MS:
            each = format_duration(interval)
            yield origins.problem((*path, "interval"), f"{each} collects {1000 // interval} times a second")
        if isinstance(config, SinkConfig):
            yield from _short_lag(config, path, settings.performance, origins)


def _not_there(config: BaseModel, path: Path, origins: Origins) -> Iterator[Problem]:
    """Yield a note for each folder that is not there, and each pattern that no file matches."""
    for name, field in type(config).model_fields.items():
        value, place = getattr(config, name), (*path, name)
        if isinstance(value, BaseModel):
            yield from _not_there(value, place, origins)
        elif FOLDER_PATH in field.metadata:
            if value and not FilePath(value).is_dir():
                yield origins.problem(place, f'no such directory: "{value}"')
        elif _are_patterns(field.annotation):
            for i, pattern in enumerate(value):
                if not glob.glob(pattern):  # noqa: PTH207 - patterns may be absolute
                    yield origins.problem((*place, i), f'no file matches "{pattern}"')


def _short_lag(
    config: SinkConfig, path: Path, performance: PerformanceSettings, origins: Origins
) -> Iterator[Problem]:
    """Yield a note for a sink that is late by its settings alone."""
    lag = performance.allowed_lag if config.allowed_lag is None else config.allowed_lag
    flush = performance.flush_interval if config.flush_interval is None else config.flush_interval
    if lag is not None and lag <= flush:
        place = ("performance", "allowed_lag") if config.allowed_lag is None else (*path, "allowed_lag")
        waits = f"samples wait {format_duration(flush)} for a full batch (flush_interval)"
        yield origins.problem(place, f"got {format_duration(lag)}, but {waits}: the agent will not be ready")


def _are_patterns(annotation: Any) -> bool:
    return any(PATTERN in get_args(inner) for inner in get_args(annotation))


def _webhooks(settings: Settings, origins: Origins) -> Iterator[Problem]:
    """Yield a note for each webhook that is an Alertmanager: such files are around, and are to load."""
    urls: list[tuple[Path, SecretStr | None]] = [(("alerts", "webhook_url"), settings.alerts.webhook_url)]
    urls += [
        (("alerts", "rules", i, "webhook_url"), rule.webhook_url)
        for i, rule in enumerate(settings.alerts.rules)
    ]
    for path, url in urls:
        if url is not None and is_alertmanager(url.get_secret_value()):
            message = "got the address of an Alertmanager; it is not used"
            yield origins.problem(path, message, ALERTMANAGER_HINT)
