"""`metricsmith generate`: what is printed and written, and how mistakes are told."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

PAGE = Path(__file__).parents[2] / "docs" / "generate.md"
COMMANDS = re.findall(r"^\$ metricsmith ([^#|>\n]*)", PAGE.read_text(), flags=re.MULTILINE)
KINDS = ["compose", "grafana", "kubernetes", "otel-collector", "prometheus", "systemd"]
CONFIG = """
sources: [{type: host}]
storage: {type: influxdb, url: "http://influxdb:8086", database: m, username: u, password: "${PW}"}
rules: {packs: [agent, host]}
alerts: {rules: [{name: high, metric: cpu_usage, threshold: 80, operator: ">"}]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "metricsmith.yaml"
    file.write_text(CONFIG)
    return file


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_input_gives_the_same_bytes_in_every_process(
    here: Any, metricsmith: Any, config: Path, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    first = here("generate", kind, "-c", str(config), "--out", str(out))
    assert first.returncode == 0, first.stderr
    assert {line.split()[0] for line in first.stdout.splitlines()} == {"created"}
    again = metricsmith("generate", kind, "-c", str(config), "--out", str(out), PYTHONHASHSEED="2")
    assert {line.split()[0] for line in again.stdout.splitlines()} == {"unchanged"}
    assert [line.split()[1] for line in again.stdout.splitlines()] == [
        line.split()[1] for line in first.stdout.splitlines()
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_folder_it_is_printed(here: Any, config: Path, kind: str) -> None:
    done = here("generate", kind, METRICSMITH_CONFIG=str(config))
    assert done.returncode == 0, done.stderr
    if kind == "grafana":
        assert json.JSONDecoder().raw_decode(done.stdout)[0]["uid"] == "metricsmith-agent"
    elif kind == "systemd":
        assert "[Service]" in done.stdout
    else:
        assert all(isinstance(document, dict) for document in yaml.safe_load_all(done.stdout))


def test_a_change_of_the_configuration_changes_the_files_that_it_is_in(
    here: Any, config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    here("generate", "prometheus", "-c", str(config), "--out", str(out))
    config.write_text(CONFIG.replace("80", "90").replace("[agent, host]", "[agent]"))
    (out / "mine.yml").write_text("groups: []\n")
    done = here("generate", "prometheus", "-c", str(config), "--out", str(out))
    said = dict(reversed(line.split()) for line in done.stdout.splitlines())
    assert {Path(path).name: outcome for path, outcome in said.items()} == {
        "prometheus.yml": "changed",
        "agent.yml": "unchanged",
        "thresholds.yml": "changed",
    }
    assert f"{out / 'rules/host.yml'} is of an earlier run" in done.stderr
    assert (out / "rules/host.yml").exists() and (out / "mine.yml").read_text() == "groups: []\n"


def test_files_of_others_are_not_replaced(here: Any, config: Path, tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text("scrape_configs: []\n")
    done = here("generate", "prometheus", "-c", str(config), "--out", str(tmp_path))
    assert (done.returncode, "prometheus.yml: was not made by" in done.stderr) == (1, True)
    assert not (tmp_path / "rules").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["kubernetes", "--image", "metricsmith:latest"], 2, "with a version"),
        (["compose", "--image", "metricsmith"], 2, "with a version"),
        (["kubernetes", "--namespace", "Not_one"], 2, "--namespace"),
        (["systemd", "--program", "metricsmith"], 2, "absolute path"),
        (["systemd", "--installed", "/etc/a\nExecStart=/bin/x"], 2, "absolute path"),
        (["prometheus", "-c", "/not/there.yaml"], 3, "/not/there.yaml: cannot be read"),
        (["grafana", "--project", "/not/there"], 3, "/not/there/integration.yaml"),
        (["prometheus", "--out", "/proc/nothing"], 2, "/proc"),
    ],
)
def test_mistakes_are_told(here: Any, arguments: list[str], code: int, said: str) -> None:
    done = here("generate", *arguments)
    assert (done.returncode, said in " ".join(done.stderr.split())) == (code, True), done.stderr


def test_secrets_of_a_compose_file_are_not_printed(here: Any, config: Path) -> None:
    done = here("generate", "compose", "-c", str(config), PW="hunter2")
    assert "hunter2" not in done.stdout
    assert "metricsmith.env, which holds secrets, is written with --out only" in done.stderr


def test_the_commands_of_the_page_work(
    here: Any, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert here("integration", "new", "queue-depth").returncode == 0
    assert {command.split()[1] for command in COMMANDS} == {*KINDS}
    for command in COMMANDS:
        done = here(*shlex.split(command))
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert (tmp_path / "dashboards/queue-depth.json").exists()
    assert (tmp_path / "prometheus/rules/queue-depth.yml").exists()
