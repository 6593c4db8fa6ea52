"""What checks of a configuration tell of it, besides what loading does."""

from __future__ import annotations

from metricsmith.config.load import Configuration
from metricsmith.errors import Problem
from metricsmith.model.wording import counted
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.runtime.rules import configured_files
from metricsmith.sources.exec.files import read_all
from metricsmith.sources.exec.settings import ExecConfig


def summary(configuration: Configuration) -> str:
    """Return what a configuration is, in a few words."""
    things = ("source", "processor", "sink")
    counts = ", ".join(counted(len(configuration.of(f"{thing}s")), thing) for thing in things)
    mode = configuration.settings.service.type.value
    return f"{mode}; storage {configuration.settings.storage.type}; {counts}"


def file_problems(configuration: Configuration) -> list[Problem]:
    """Return every mistake in rule files and files of integrations."""
    problems = [*configured_files(configuration, RuleEngine()).problems]
    for part in configuration.of("sources"):
        if isinstance(part.config, ExecConfig):
            problems += read_all(part.config).problems
    return problems
