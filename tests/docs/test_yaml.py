"""YAML of the pages is right: to us, or to the programs whose files it is, or by their schemas."""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from metricsmith.config import load_text
from metricsmith.integration.project import read_declaration
from metricsmith.net.bus_keys import write_keys
from metricsmith.rules.files import read_rule_text
from metricsmith.rules.unit_tests.files import read_test_file
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.testing.compose_schema import ComposeFile, Service

LANGUAGES = {"yaml"}
VARIABLE = re.compile(r"\$\{(\w+)")
VERSION = "1.31"
"""Of the Kubernetes whose schemas the blocks keep."""
PROMETHEUS = {"global", "scrape_configs", "remote_write", "remote_read", "rule_files", "alerting"}
CONTAINER = {"livenessProbe", "readinessProbe", "startupProbe", "resources", "env", "ports"}
KEYS = "/etc/metricsmith/bus.key"
Check = Callable[[str], None]


def configuration(text: str, given: str = "") -> None:
    """A whole configuration, or sections of one; parts of a list or of a scrape job find their place."""
    if text.startswith("  - type:"):
        text = "sources:\n" + text
    elif text.startswith("    ") and "type:" not in text.split("\n")[0]:
        text = "sources:\n  - type: scrape\n    name: page\n" + text
        if "_sd:" not in text:
            text += "    targets: ['127.0.0.1:1']\n"
    environment = dict.fromkeys(VARIABLE.findall(text), "value")
    environment |= dict(line.split("=", 1) for line in given.splitlines())
    load_text(text, "metricsmith.yaml", environment)


def with_keys(text: str, folder: Path) -> str:
    """Let the pair of keys be there that the pages have their reader make."""
    if KEYS in text:
        write_keys(folder / "bus.key")
    return text.replace(KEYS, str(folder / "bus.key"))


def rules(text: str) -> None:
    if text.startswith("- "):
        text = "groups:\n- name: page\n  rules:\n" + textwrap.indent(text, "  ")
    assert not read_rule_text(text, "rules.yml", RuleEngine(), 60_000).problems


def manifest(text: str) -> None:
    for document in yaml.safe_load_all(text):
        if "kind" in document:
            whole = document
        elif "metadata" in document:
            whole = {
                "apiVersion": "v1",
                "kind": "Pod",
                **document,
                "spec": {"containers": [{"name": "page"}]},
            }
            whole["metadata"] = {"name": "page", **document["metadata"]}
        else:
            metadata = {"name": "page"}
            container = {"name": "page", **document}
            whole = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": metadata,
                "spec": {"containers": [container]},
            }
        if "monitoring.coreos.com" not in whole["apiVersion"] and "kustomize" not in whole["apiVersion"]:
            kubernetes_validate.validate(whole, VERSION, strict=True)


def kind_of(data: Any, text: str) -> str:
    """Return what a block is, by its keys."""
    if isinstance(data, list):
        return "rules" if {"alert", "record"} & data[0].keys() else "configuration"
    keys = data.keys()
    if "tests" in keys:
        return "rule tests"
    if "integration" in keys:
        return "declaration"
    if {"groups"} == keys or ("namespace" in keys and "groups" in keys):
        return "rules"
    if "integrations" in keys:
        return "integrations"
    if {"route", "receivers", "inhibit_rules"} & keys:
        return "alertmanager"
    if PROMETHEUS & keys:
        return "prometheus"
    if "datasources" in keys:
        return "datasources"
    if "kind" in keys or "metadata" in keys or (CONTAINER & keys and keys <= CONTAINER):
        return "manifest"
    if {"components", "patches"} & keys:
        return "kustomization"
    if "volumes" in keys or "services" in keys:
        return "compose"
    return "configuration"


@pytest.fixture
def checks(
    tmp_path: Path, request: pytest.FixtureRequest, files: dict[str, dict[str, str]], block: Any
) -> dict[str, Check]:
    """What each kind of a block must pass."""
    given = block.given

    def program(*command: str | Path) -> None:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def prometheus(text: str) -> None:
        (tmp_path / "prometheus.yml").write_text(text)
        program(
            request.getfixturevalue("promtool"),
            "check",
            "config",
            "--syntax-only",
            tmp_path / "prometheus.yml",
        )

    def alertmanager(text: str) -> None:
        if "route:" not in text:
            text += "\nroute: {receiver: page}\nreceivers: [{name: page}]\n"
        (tmp_path / "alertmanager.yml").write_text(text)
        program(request.getfixturevalue("amtool"), "check-config", tmp_path / "alertmanager.yml")

    def ours(text: str) -> None:
        configuration(with_keys(text, tmp_path), given)

    def rule_tests(text: str) -> None:
        beside = next(found for found in files.values() if text in found.values())
        for name, content in beside.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(content)
        name = next(name for name, content in beside.items() if content == text)
        read_test_file(str(tmp_path / name), RuleEngine())

    def integrations(text: str) -> None:
        configuration("sources:\n  - type: exec\n" + textwrap.indent(text, "    "))

    def kustomization(text: str) -> None:
        assert yaml.safe_load(text).keys() <= {"resources", "components", "images", "patches", "namespace"}

    def datasources(text: str) -> None:
        for source in yaml.safe_load(text)["datasources"]:
            assert source["type"] == "prometheus" and source["url"].startswith("http://")

    def compose(text: str) -> None:
        data = yaml.safe_load(text)
        if "services" in data:
            ComposeFile.model_validate(data)
        else:
            assert set(data) == {"volumes"}
            named = {"image": "page:1", "restart": "no", "cap_drop": [], "security_opt": []}
            Service.model_validate(named | data)

    return {
        "configuration": ours, "declaration": read_declaration, "rules": rules,
        "rule tests": rule_tests, "manifest": manifest,
        "prometheus": prometheus, "alertmanager": alertmanager, "integrations": integrations,
        "kustomization": kustomization, "datasources": datasources, "compose": compose,
    }  # fmt: skip


def test_it_is_right(block: Any, checks: dict[str, Check]) -> None:
    data = next(iter(yaml.safe_load_all(textwrap.dedent(block.text))))
    checks[kind_of(data, block.text)](block.text)
