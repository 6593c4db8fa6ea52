"""What loads and is not done, or hardly meant so, is said with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metricsmith import registry
from metricsmith.config import load_text
from metricsmith.config.load import Configuration
from metricsmith.store_contracts import StoreConfig


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("storage:\n  type: embedded", []),
        (
            "storage:\n  type: prometheus\n  url: http://a\n  head_age: 1h",
            ['m.yaml:4: storage.head_age: is not used by storage of type "prometheus"'],
        ),
        (
            "rules:\n  files:\n  - nope.yml",
            ['m.yaml:3: rules.files[0]: no file matches "nope.yml"'],
        ),
        (
            "sources:\n- type: scrape\n  targets: [a]\n  interval: 10ms",
            ["m.yaml:4: sources[0].interval: 10ms collects 100 times a second"],
        ),
        ("sources: [{type: scrape, targets: [a], interval: 100ms}]", []),
        (
            "sinks:\n- type: newrelic\n  api_key: k\n  allowed_lag: 5s",
            [
                "m.yaml:4: sinks[0].allowed_lag: got 5s, but samples wait 10s for a full batch"
                " (flush_interval): the agent will not be ready"
            ],
        ),
        ("performance: {allowed_lag: 5m}\nsinks: [{type: newrelic, api_key: k}]", []),
    ],
)
def test_what_should_be_known_is_noted(load: Callable[..., Any], text: str, wanted: list[str]) -> None:
    assert [str(note) for note in load(text).notes] == wanted


def test_seed_file_is_noted_but_not_refused(load: Callable[..., Any], seed_002: str) -> None:
    start = seed_002.index("# config/metric.yaml")
    notes = load(seed_002[start : seed_002.index("```", start)]).notes
    assert notes == ()


def test_rule_files_that_exist_are_not_missed(load: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("groups: []")
    notes = load(f"rules: {{files: ['{tmp_path}/*.yml', '{tmp_path}/b.yml']}}").notes
    assert [note.path for note in notes] == ["rules.files[1]"]


PATHS = """
sources:
- type: python
  directory: col
  files: [one.py, "more/*.py"]
- type: exec
  files: "integ/*.yml"
  integrations:
  - {name: a, exec: x, working_dir: work, env: {KEY: "file:key"}}
- type: scrape
  file_sd: {files: [targets.json]}
  tls: {ca_file: ca.pem}
  authorization: {credentials: "file:token"}
rules: {files: ["rules/*.yml"]}
"""


def _paths(configuration: Configuration) -> list[str]:
    python, integrations, scrape = (part.config for part in configuration.parts[:3])
    (entry,) = integrations.integrations
    secrets = [secret.get_secret_value() for secret in (entry.env["KEY"], scrape.authorization.credentials)]
    return [
        python.directory,
        *python.files,
        *integrations.files,
        entry.working_dir,
        *scrape.file_sd.files,
        scrape.tls.ca_file,
        *configuration.settings.rules.files,
        *(secret.removeprefix("file:") for secret in secrets),
    ]


def test_relative_paths_begin_beside_the_file_and_what_is_not_there_is_noted() -> None:
    configuration = load_text(PATHS, "/nowhere/sub/m.yaml", {})
    names = ["col", "one.py", "more/*.py", "integ/*.yml", "work", "targets.json", "ca.pem", "rules/*.yml"]
    assert _paths(configuration) == [f"/nowhere/sub/{name}" for name in [*names, "key", "token"]]
    told = [(note.path, note.line, note.message) for note in configuration.notes]
    assert told == [
        ("sources[0].directory", 4, 'no such directory: "/nowhere/sub/col"'),
        ("sources[0].files[0]", 5, 'no file matches "/nowhere/sub/one.py"'),
        ("sources[0].files[1]", 5, 'no file matches "/nowhere/sub/more/*.py"'),
        ("sources[1].files[0]", 7, 'no file matches "/nowhere/sub/integ/*.yml"'),
        ("sources[2].file_sd.files[0]", 11, 'no file matches "/nowhere/sub/targets.json"'),
        ("rules.files[0]", 14, 'no file matches "/nowhere/sub/rules/*.yml"'),
    ]


def test_absolute_paths_and_those_of_no_file_stay_as_they_are() -> None:
    assert _paths(load_text(PATHS, "", {})) == _paths(load_text(PATHS, "m.yaml", {}))
    assert _paths(load_text(PATHS, "m.yaml", {}))[0] == "col"
    absolute = load_text("sources: [{type: python, directory: /tmp}]", "/nowhere/m.yaml", {})
    assert absolute.parts[0].config.directory == "/tmp" and not absolute.notes


def test_setting_of_a_variable_is_noted_under_the_variable(load: Callable[..., Any]) -> None:
    environment = {"METRICSMITH_STORAGE_URL": "http://a", "METRICSMITH_RULES_FILES": "nope.yml"}
    assert [str(note).split(": ")[:2] for note in load("rules: {}", environment).notes] == [
        ["environment variable METRICSMITH_RULES_FILES", "rules.files[0]"],
        ["environment variable METRICSMITH_STORAGE_URL", "storage.url"],
    ]


class ShelfConfig(StoreConfig):
    """Settings of a store that somebody else has written."""

    shelf: int


class ShelfStore:
    """A store that somebody else has written."""

    Config = ShelfConfig


def test_store_of_a_third_party_has_keys_of_its_own(
    load: Callable[..., Any], problems: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "load", lambda group, name: ShelfStore)
    configuration = load("storage:\n  type: mine\n  shelf: 3\n  url: http://a")
    assert configuration.store.config == ShelfConfig(shelf=3)
    assert [str(note) for note in configuration.notes] == [
        'm.yaml:4: storage.url: is not used by storage of type "mine"'
    ]
    assert problems("storage: {type: mine}") == ["m.yaml:1: storage.shelf: missing, wanted a value"]
    assert problems("storage: {type: mine, shelf: many, retention: 5}")[1].startswith(
        "m.yaml:1: storage.shelf: got"
    )
