"""What is generated for Prometheus is what its own tool takes, and says what the agent would do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from metricsmith.errors import ConfigError
from metricsmith.integration.generate.configured import Configured
from metricsmith.integration.generate.files import write
from metricsmith.integration.generate.prometheus import prometheus
from metricsmith.integration.project import Project
from metricsmith.packs import pack_names

Configure = Callable[..., Configured]

FULL = f"""
server: {{listen: "0.0.0.0:9480", metrics: {{collected: true}}}}
rules:
  packs: [{", ".join(pack_names())}]
  files: [mine.yml, more/mine.yml]
  external_url: https://agent.example/metricsmith/
  external_labels: {{region: "on"}}
alerts:
  rules:
    - {{name: high_cpu, metric: cpu_usage, threshold: 80, operator: ">", message: "{{{{ $value }}}} is high"}}
    - {{name: down, metric: uptime_seconds, threshold: 60, operator: "<"}}
  alertmanagers:
    - {{url: "https://am.example:9093/alerts", basic_auth: {{username: u, password: "${{PW}}"}}}}
"""
MINE = "groups: [{name: mine, interval: 1m, rules: [{record: 'a:b', expr: sum(b)}, {alert: A, expr: b > 1}]}]"


def main(configured: Configured) -> Any:
    return yaml.safe_load(prometheus(configured).files["prometheus.yml"])


def test_promtool_takes_the_configuration_and_all_rule_files(
    configure: Configure, projects: Sequence[Project], tmp_path: Path, promtool: Path
) -> None:
    (tmp_path / "more").mkdir()
    for name in ("mine.yml", "more/mine.yml"):
        (tmp_path / name).write_text(MINE)
    generated = prometheus(configure(FULL), projects)
    write(generated, tmp_path / "out")
    said = subprocess.run(
        [promtool, "check", "config", tmp_path / "out/prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    expected = [*pack_names(), "mine", "mine-2", "thresholds", "queue-depth"]
    assert sorted(generated.files) == sorted(["prometheus.yml", *(f"rules/{n}.yml" for n in expected)])
    assert said.stdout.count("rules found") == len(expected)


def test_names_of_rule_files_are_no_patterns(configure: Configure, tmp_path: Path, promtool: Path) -> None:
    (tmp_path / "my rules [1].yml").write_text(MINE)
    write(prometheus(configure("rules: {files: ['*1].yml']}")), tmp_path / "out")
    command = [promtool, "check", "config", tmp_path / "out/prometheus.yml"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "rules/my-rules-1.yml\n  SUCCESS: 2 rules found" in said.stdout


def test_rules_are_those_that_the_agent_evaluates(configure: Configure, projects: Sequence[Project]) -> None:
    text = (
        "alerts: {rules: [{name: high_cpu, metric: cpu_usage, threshold: 80, operator: '>', duration: 5m}]}"
    )
    files = prometheus(configure(text), projects).files
    (group,) = yaml.safe_load(files["rules/thresholds.yml"])["groups"]
    (rule,) = group["rules"]
    assert (rule["alert"], rule["for"], rule["labels"]) == ("high_cpu", "5m", {"severity": "warning"})
    assert rule["expr"] == "cpu_usage > 80 or (cpu_usage_percent > 80 unless on () cpu_usage)"
    (group,) = yaml.safe_load(files["rules/queue-depth.yml"])["groups"]
    assert [(r["alert"], r["expr"], r["for"]) for r in group["rules"]] == [
        ("QueueFull", "queue_depth > 100", "5m")
    ]


def test_rules_that_were_generated_before_are_not_there_twice(
    configure: Configure, projects: Sequence[Project], tmp_path: Path
) -> None:
    """The samples of `integration new` have such a configuration beside the project."""
    first = prometheus(configure("rules: {interval: 5s}"), projects)
    write(first, tmp_path / "generated")
    again = prometheus(configure("rules: {files: [generated/rules/*.yml]}"), projects)
    assert sorted(again.files) == ["prometheus.yml", "rules/queue-depth.yml"]
    (tmp_path / "generated/rules/queue-depth.yml").write_text(MINE)
    changed = prometheus(configure("rules: {files: [generated/rules/*.yml]}"), projects)
    assert sorted(changed.files) == ["prometheus.yml", "rules/queue-depth-2.yml", "rules/queue-depth.yml"]


@pytest.mark.parametrize(
    ("settings", "scheme", "path", "target"),
    [
        ("{}", "http", "/metrics", "127.0.0.1:9480"),
        ("server: {listen: '[::1]:9000'}", "http", "/metrics", "[::1]:9000"),
        ("rules: {external_url: 'https://a.example/m/'}", "https", "/m/metrics", "a.example"),
        ("rules: {external_url: 'http://user:pw@a:9480'}", "http", "/metrics", "a:9480"),
    ],
)
def test_the_agent_is_scraped_where_people_reach_it(
    configure: Configure, settings: str, scheme: str, path: str, target: str
) -> None:
    (scrape,) = main(configure(settings))["scrape_configs"]
    assert (scrape["scheme"], scrape["metrics_path"]) == (scheme, path)
    assert scrape["static_configs"] == [{"targets": [target]}]
    assert "honor_labels" not in scrape


def test_collected_metrics_keep_their_job_and_instance(configure: Configure) -> None:
    (scrape,) = main(configure("server: {metrics: {collected: true}}"))["scrape_configs"]
    assert scrape["honor_labels"] is True


def test_what_prometheus_cannot_say_is_told(configure: Configure, tmp_path: Path) -> None:
    for name in ("mine.yml", "more/mine.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(MINE)
    generated = prometheus(configure(FULL, PW="very-secret"))
    assert [note.partition(":")[0] for note in generated.notes] == ["alerts.alertmanagers", "down"]
    assert "very-secret" not in "".join(generated.files.values())


def test_an_agent_that_does_not_alert_gives_recording_rules_only(
    configure: Configure, tmp_path: Path
) -> None:
    (tmp_path / "mine.yml").write_text(MINE)
    generated = prometheus(configure("rules: {files: [mine.yml]}\nalerts: {enabled: false}"))
    (group,) = yaml.safe_load(generated.files["rules/mine.yml"])["groups"]
    assert [rule.get("record") for rule in group["rules"]] == ["a:b"]


def test_mistakes_in_rule_files_are_told(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("groups: [{name: a, rules: [{record: a, expr: 'sum('}]}]")
    with pytest.raises(ConfigError, match=r"mine\.yml:1"):
        prometheus(configure("rules: {files: [mine.yml]}"))


def test_variables_need_not_be_set_here_unless_their_value_matters(configure: Configure) -> None:
    secret = "sinks: [{type: remote_write, url: http://a, authorization: {credentials: '${TOKEN}'}}]"
    assert configure(secret).variables == {"TOKEN": None}
    with pytest.raises(ConfigError, match="environment variable WAIT is not set"):
        configure("service: {interval: '${WAIT}'}")
