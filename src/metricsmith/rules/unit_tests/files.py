"""One file of rule tests: YAML, checked, and the rule files that it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from metricsmith.errors import ConfigError, Problem
from metricsmith.model.file_kinds import TEST_FILE, refuse_other_kinds
from metricsmith.model.wording import brief, mistakes, one_of
from metricsmith.model.yaml_lines import Origins, read_yaml
from metricsmith.rules.files import read_text
from metricsmith.rules.model import Engine, Group
from metricsmith.rules.ruleset import load_rules
from metricsmith.rules.unit_tests.schema import TestFileConfig


@dataclass(frozen=True, slots=True)
class TestFile:
    """A file that can be run: its tests, and the groups of its rules in the order of evaluation."""

    __test__ = False  # not for pytest

    name: str
    config: TestFileConfig
    groups: tuple[Group, ...]
    origins: Origins


def read_test_file(name: str, engine: Engine) -> TestFile:
    """Return a file of tests and the rules that it is about.

    Raises:
        ConfigError: it cannot be read, or has mistakes, or its rule files have.
    """
    document = read_yaml(read_text(name), name, {}, as_written=True)
    refuse_other_kinds(document, TEST_FILE)
    problems = list(document.problems)
    if not isinstance(document.data, dict):
        message = (
            f"got {brief(document.data)}, wanted a mapping with {one_of([*TestFileConfig.model_fields])}"
        )
        problems.append(document.origins.problem((), message))
        raise ConfigError(problems)
    try:
        config = TestFileConfig.model_validate(document.data)
    except ValidationError as error:
        found = mistakes(TestFileConfig, document.data, (), error)
        problems += [document.origins.problem(*mistake) for mistake in found]
        raise ConfigError(sorted(problems, key=lambda problem: problem.line)) from None
    rules = load_rules(
        config.rule_files, engine, default_interval_ms=config.evaluation_interval, base=Path(name).parent
    )
    problems += rules.problems
    problems += _repeated(config.group_eval_order, document.origins)
    if problems:
        raise ConfigError(problems)
    return TestFile(name, config, _ordered(rules.groups, config.group_eval_order), document.origins)


def _repeated(names: Sequence[str], origins: Origins) -> list[Problem]:
    return [
        origins.problem(("group_eval_order", index), f'got "{name}" twice, wanted each group once')
        for index, name in enumerate(names)
        if name in names[:index]
    ]


def _ordered(groups: Sequence[Group], names: Sequence[str]) -> tuple[Group, ...]:
    """Return groups in order of evaluation; those without a place come beside the first, as in promtool."""
    place = {name: index for index, name in enumerate(names)}
    return tuple(sorted(groups, key=lambda group: place.get(group.name, 0)))
