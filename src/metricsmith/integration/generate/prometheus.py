"""What Prometheus needs beside the agent: a scrape configuration, and the rules as plain rule files."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from metricsmith.config.settings import Settings
from metricsmith.integration.alerts import rule_file
from metricsmith.integration.generate.configured import Configured
from metricsmith.integration.generate.files import Generated, header
from metricsmith.integration.generate.rule_files import free_name, is_pack, plain_stem, read_rule_files
from metricsmith.integration.generate.yaml_text import yaml_text
from metricsmith.integration.project import Project
from metricsmith.model.duration import format_duration
from metricsmith.rules.model import AlertingRule, Group, RecordingRule
from metricsmith.rules.notify.settings import AlertmanagerConfig
from metricsmith.rules.printer import format_groups
from metricsmith.runtime.rules import configured_groups, external_url
from metricsmith.sources.own import JOB

KIND = "prometheus"
MAIN = "prometheus.yml"
INTERVAL_MS = 15_000


def prometheus(configured: Configured, projects: Sequence[Project] = ()) -> Generated:
    """Return a configuration of Prometheus that scrapes the agent, and rule files.

    These hold the rules that the agent has, and the alerts that integrations suggest.

    Raises:
        ConfigError: rule files that the configuration names have mistakes.
    """
    by_file: dict[str, tuple[Group, ...]] = {}
    for file in read_rule_files(configured).files:
        by_file[_rule_name(file.name, by_file)] = file.groups
    if thresholds := configured_groups(configured.meaning):
        by_file[_rule_name("thresholds", by_file)] = thresholds
    settings = configured.meaning.settings
    if not settings.alerts.enabled:
        by_file = {name: tuple(_recording(groups)) for name, groups in by_file.items()}
    rules = {name: header(KIND) + format_groups(groups) for name, groups in by_file.items() if groups}
    there = [group["rules"] for text in rules.values() for group in yaml.safe_load(text)["groups"]]
    for project in projects:
        content = rule_file(project.declaration)
        if not settings.alerts.enabled:
            continue
        # The configuration may name the very file that an earlier run made: each alert is told once.
        if any(group["rules"] not in there for group in content["groups"]):
            rules[_rule_name(project.name, rules)] = header(KIND) + yaml_text(content)
    main = header(KIND) + yaml_text(_main(settings, list(rules)))
    every = [group for groups in by_file.values() for group in groups]
    return Generated({MAIN: main, **rules}, tuple(_notes(settings, every)))


def _main(settings: Settings, rule_files: list[str]) -> dict[str, Any]:
    done: dict[str, Any] = {
        "global": {
            "scrape_interval": format_duration(INTERVAL_MS),
            "evaluation_interval": format_duration(settings.rules.interval),
        },
    }
    if settings.rules.external_labels:
        done["global"]["external_labels"] = dict(sorted(settings.rules.external_labels.items()))
    done["scrape_configs"] = [_scrape(settings)]
    if rule_files:
        done["rule_files"] = rule_files
    managers = [_alertmanager(m) for m in settings.alerts.alertmanagers if m.addresses()]
    if managers and settings.alerts.enabled:
        done["alerting"] = {"alertmanagers": [each for several in managers for each in several]}
    return done


def _scrape(settings: Settings) -> dict[str, Any]:
    address = urlsplit(external_url(settings))
    done: dict[str, Any] = {"job_name": JOB}
    if settings.server.metrics.collected:
        # What was collected elsewhere keeps the job and instance that it came with.
        done["honor_labels"] = True
    done["metrics_path"] = address.path.rstrip("/") + "/metrics"
    done["scheme"] = address.scheme
    target = address.netloc.rpartition("@")[2]
    done["static_configs"] = [{"targets": [target]}]
    return done


def _alertmanager(config: AlertmanagerConfig) -> Iterator[dict[str, Any]]:
    for text in config.addresses():
        address = urlsplit(text if "://" in text else f"{config.scheme}://{text}")
        prefix = address.path.rstrip("/") + config.path_prefix.rstrip("/")
        done: dict[str, Any] = {"scheme": address.scheme}
        if prefix:
            done["path_prefix"] = prefix
        done["static_configs"] = [{"targets": [address.netloc.rpartition("@")[2]]}]
        yield done


def _rule_name(file: str, taken: Container[str]) -> str:
    return free_name(f"rules/{Path(file).parent.name if is_pack(file) else plain_stem(file)}.yml", taken)


def _recording(groups: Iterable[Group]) -> Iterator[Group]:
    for group in groups:
        rules = tuple(rule for rule in group.rules if isinstance(rule, RecordingRule))
        if rules:
            yield replace(group, rules=rules)


def _notes(settings: Settings, groups: Iterable[Group]) -> Iterator[str]:
    if not settings.server.metrics.collected:
        yield (
            "server.metrics.collected is false: Prometheus scrapes the agent's own metrics alone; rules over"
            " collected ones need it, or a sink remote_write"
        )
    if any(m.basic_auth or m.authorization for m in settings.alerts.alertmanagers):
        yield "alerts.alertmanagers: credentials are left out, add them where Prometheus keeps its secrets"
    if any(m.file_sd for m in settings.alerts.alertmanagers):
        yield "alerts.alertmanagers: file_sd is left out, the files are those of the agent's machine"
    for group in groups:
        for rule in group.rules:
            if isinstance(rule, AlertingRule) and rule.no_data is not None:
                yield f"{rule.name}: no_data is left out, Prometheus has no such field"
