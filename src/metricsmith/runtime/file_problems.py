"""What is wrong in the files that a configuration names, besides itself."""

from __future__ import annotations

from metricsmith.config.load import Configuration
from metricsmith.errors import Problem
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.runtime.rules import configured_files
from metricsmith.sources.exec.files import read_all
from metricsmith.sources.exec.settings import ExecConfig


def file_problems(configuration: Configuration) -> list[Problem]:
    """Return every mistake in rule files and files of integrations."""
    problems = [*configured_files(configuration, RuleEngine()).problems]
    for part in configuration.of("sources"):
        if isinstance(part.config, ExecConfig):
            problems += read_all(part.config).problems
    return problems
