"""What checks of a configuration tell of it, besides what loading does."""

from __future__ import annotations

from metricsmith.config.load import Configuration
from metricsmith.errors import Problem
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.runtime.rules import configured_files
from metricsmith.sources.exec.files import read_all
from metricsmith.sources.exec.settings import ExecConfig


def summary(configuration: Configuration) -> str:
    """Return what a configuration is, in a few words."""
    counts = ", ".join(_count(len(configuration.of(g)), g) for g in ("sources", "processors", "sinks"))
    mode = configuration.settings.service.type.value
    return f"{mode}; storage {configuration.settings.storage.type}; {counts}"


def file_problems(configuration: Configuration) -> list[Problem]:
    """Return every mistake in rule files and files of integrations."""
    problems = [*configured_files(configuration, RuleEngine()).problems]
    for part in configuration.of("sources"):
        if isinstance(part.config, ExecConfig):
            problems += read_all(part.config).problems
    return problems


def _count(number: int, plural: str) -> str:
    return f"{number} {plural.removesuffix('s') if number == 1 else plural}"
