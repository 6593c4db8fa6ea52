"""What docs/migrate says: configurations load, rules give the old names (here and in promtool)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from metricsmith.promql import evaluate

PAGES = sorted((Path(__file__).parents[2] / "docs/migrate").glob("*.md"))
BLOCK = re.compile(r"^```(yaml|promql)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"# ([\w/.-]+\.ya?ml)\n")


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def said(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "metricsmith", *words], cwd=folder, text=True, timeout=60, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(params=PAGES, ids=lambda page: page.stem)
def page(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_configurations_and_rules(page: Path, tmp_path: Path, promtool: Path) -> None:
    files = [(match[1], text) for text in blocks(page, "yaml") if (match := NAME.match(text))]
    assert len(files) == len(blocks(page, "yaml")) >= 3
    (tmp_path / "rules/tests").mkdir(parents=True)
    for name, text in sorted(files, reverse=True):  # rules before the configurations that read them
        (tmp_path / name).write_text(text)
        if name == "metricsmith.yaml":
            assert "metricsmith.yaml: ok" in said(tmp_path, "check-config", name)
    test = tmp_path / "rules/tests/old-names.yml"
    assert "SUCCESS" in said(tmp_path, "rules", "test", str(test))
    promtool_says = subprocess.run(
        [promtool, "test", "rules", test], capture_output=True, text=True, timeout=60, check=False
    )
    assert promtool_says.returncode == 0, promtool_says.stdout + promtool_says.stderr


LAG = {"topic": "orders", "partition": "0"}
DIFFERS = {
    "kafka_exporter": [
        ("kafka_consumergroup_lag", {"job": "kafka", "consumergroup": "mail", **LAG}, 5),
        ("kafka_consumergroup_lag", {"job": "kafka-exporter", "consumergroup": "mail", **LAG}, 5005),
        ("kafka_consumergroup_lag", {"job": "kafka-exporter", "consumergroup": "gone", **LAG}, 1),
    ],
    "burrow": [
        ("kafka_consumergroup_lag", {"consumergroup": "mail", **LAG}, 5),
        ("burrow_kafka_consumer_lag_total", {"job": "burrow", "consumer_group": "mail"}, 3),
        ("kafka_consumergroup_lag_state", {"consumergroup": "mail", "reason": "caught_up", **LAG}, 1),
        ("burrow_kafka_consumer_status", {"job": "burrow", "consumer_group": "mail"}, 2),
    ],
    "telegraf": [
        ("cpu_usage_percent", {"host": "a", "service": "system"}, 50),
        ("cpu_usage_idle", {"host": "a", "cpu": "cpu-total", "db": "telegraf"}, 40),
        ("host_network_receive_bytes_total", {"host": "a", "device": "eth0"}, 1),
        ("net_bytes_recv", {"host": "a", "interface": "eth0", "db": "telegraf"}, 2),
    ],
}
"""Over these each comparison finds one difference; values grow by as much in each minute."""


def test_comparisons_find_what_differs(page: Path) -> None:
    minutes = range(6)
    series = [
        ({"__name__": name, **labels}, [60_000 * i for i in minutes], [value * i for i in minutes])
        for name, labels, value in DIFFERS[page.stem]
    ]
    queries = blocks(page, "promql")
    assert len(queries) == 2
    for query in queries:
        assert len(evaluate(query, series, time=300_000)["result"]) == 1, query
