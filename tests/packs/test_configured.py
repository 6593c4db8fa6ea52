"""Packs in the configuration: named, loaded beside other rule files, a wrong name told."""

from __future__ import annotations

from pathlib import Path

import pytest

from metricsmith.config import load_text
from metricsmith.errors import ConfigError
from metricsmith.packs import pack_names, rule_file
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.runtime.rules import configured_files


def test_packs_are_loaded_before_the_files(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("groups: [{name: mine, rules: [{record: a, expr: b}]}]")
    text = "rules: {packs: [kafka, cost], files: [mine.yml]}"
    found = configured_files(load_text(text, file=str(tmp_path / "metricsmith.yaml")), RuleEngine())
    assert found.problems == ()
    expected = [str(rule_file("kafka")), str(rule_file("cost")), str(tmp_path / "mine.yml")]
    assert [file.name for file in found.files] == expected


def test_an_unknown_pack_is_a_mistake_that_names_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text("rules:\n  packs: [kafak]\n")
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == ("rules.packs", 2)
    assert problem.message == f"got kafak, wanted one of {', '.join(pack_names())}"
