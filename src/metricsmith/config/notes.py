"""What is not wrong in a configuration, but that its author should know."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath

from pydantic import SecretStr

from metricsmith import registry
from metricsmith.config.settings import LATER_STORES, Settings
from metricsmith.errors import Problem
from metricsmith.model.duration import format_duration
from metricsmith.model.yaml_lines import Origins, Path
from metricsmith.rules.notify.settings import ALERTMANAGER_HINT, is_alertmanager
from metricsmith.rules.thresholds import threshold_remarks

SHORT_INTERVAL_MS = 100


def notes(settings: Settings, intervals: Mapping[Path, int], origins: Origins) -> Iterator[Problem]:
    """Yield a note for everything that loads and is not done, or hardly meant so."""
    base = FilePath(origins.file).parent
    for i, pattern in enumerate(settings.rules.files):
        if not glob.glob(str(base / pattern)):  # noqa: PTH207 - patterns may be absolute
            yield origins.problem(("rules", "files", i), f'no file matches "{pattern}"')
    for i, key, message in threshold_remarks(settings.alerts.rules):
        yield origins.problem(("alerts", "rules", i, key), message)
    yield from _webhooks(settings, origins)
    storage = settings.storage.type
    if storage in LATER_STORES and storage not in registry.known("stores"):
        yield origins.problem(("storage", "type"), f'"{storage}" cannot be run by this version yet')
    for path, interval in intervals.items():
        if interval < SHORT_INTERVAL_MS:
            each = format_duration(interval)
            yield origins.problem((*path, "interval"), f"{each} collects {1000 // interval} times a second")


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
