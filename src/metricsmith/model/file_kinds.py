"""The kinds of YAML files that people write, and how one that is taken for another is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metricsmith.errors import ConfigError
from metricsmith.model.yaml_lines import Document


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file: its name, keys that only it has, and the command that checks it."""

    name: str
    keys: frozenset[str]
    command: str


CONFIGURATION = FileKind(
    "configuration",
    frozenset(("service", "server", "storage", "sources", "processors", "sinks", "alerts", "rules")),
    "metricsmith check-config",
)
RULE_FILE = FileKind("rule file", frozenset(("groups",)), "metricsmith rules check")
TEST_FILE = FileKind("file of rule tests", frozenset(("tests",)), "metricsmith rules test")
INTEGRATION = FileKind(
    "declaration of an integration", frozenset(("integration",)), "metricsmith integration test"
)


def refuse_other_kinds(document: Document, wanted: FileKind) -> None:
    """Refuse a file that is clearly of another kind: else each of its keys is told to be unknown.

    Raises:
        ConfigError: with the kind that it is, and the command for it.
    """
    data: Any = document.data
    if not isinstance(data, dict) or wanted.keys & data.keys():
        return
    for kind in (CONFIGURATION, RULE_FILE, TEST_FILE, INTEGRATION):
        for key in data:
            if key in kind.keys:
                message = f"this looks like a {kind.name}, wanted a {wanted.name}"
                raise ConfigError([document.origins.problem((key,), message, f"use {kind.command}")])
