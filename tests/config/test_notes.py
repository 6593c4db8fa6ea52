"""What loads and is not done, or hardly meant so, is said with its line."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from metricsmith import registry


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("storage:\n  type: embedded", []),
        ("storage:\n  type: file", ['m.yaml:2: storage.type: "file" cannot be run by this version yet']),
        (
            "rules:\n  files:\n  - nope.yml",
            ['m.yaml:3: rules.files[0]: no file matches "nope.yml"'],
        ),
        (
            "sources:\n- type: scrape\n  targets: [a]\n  interval: 10ms",
            ["m.yaml:4: sources[0].interval: 10ms collects 100 times a second"],
        ),
        ("sources: [{type: scrape, targets: [a], interval: 100ms}]", []),
    ],
)
def test_what_should_be_known_is_noted(load: Callable[..., Any], text: str, wanted: list[str]) -> None:
    assert [str(note) for note in load(text).notes] == wanted


def test_seed_file_is_noted_but_not_refused(load: Callable[..., Any], seed_002: str) -> None:
    start = seed_002.index("# config/metric.yaml")
    notes = load(seed_002[start : seed_002.index("```", start)]).notes
    assert {note.path for note in notes} == {"storage.type"}
    assert all(note.line for note in notes)


def test_rule_files_that_exist_are_not_missed(load: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("groups: []")
    notes = load(f"rules: {{files: ['{tmp_path}/*.yml', '{tmp_path}/b.yml']}}").notes
    assert [note.path for note in notes] == ["rules.files[1]"]


def test_setting_of_a_variable_is_noted_under_the_variable(load: Callable[..., Any]) -> None:
    environment = {"METRICSMITH_STORAGE_TYPE": "file", "METRICSMITH_RULES_FILES": "nope.yml"}
    assert [str(note).split(": ")[:2] for note in load("rules: {}", environment).notes] == [
        ["environment variable METRICSMITH_RULES_FILES", "rules.files[0]"],
        ["environment variable METRICSMITH_STORAGE_TYPE", "storage.type"],
    ]


def test_store_of_a_third_party_is_neither_refused_nor_noted(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint("influxdb", "x:y", group)])
    assert load("storage: {type: influxdb}").notes == ()
    monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint("mine", "x:y", group)])
    assert load("storage: {type: mine}").notes == ()
