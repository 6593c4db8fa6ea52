from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from metricsmith.integration.generate.configured import Configured, read_configured
from metricsmith.integration.project import DECLARATION, Project, read_project

Configure = Callable[..., Configured]

DECLARED = """
integration: {name: queue-depth, kind: python, collector: queue_depth.py, description: How full they are.}
metrics:
  - name: queue_depth
    type: gauge
    help: Messages that wait.
    labels: {queue: Its name.}
    alerts: [{alert: QueueFull, when: "> 100", for: 5m}]
  - {name: queue_messages_total, type: counter, help: Messages taken., labels: {queue: Its name.}}
  - {name: queue_read_bytes_total, type: counter, unit: bytes, help: Bytes read.}
  - {name: queue_wait_seconds, type: histogram, unit: seconds, help: Time that messages wait.}
  - {name: queue_size_bytes, type: summary, unit: bytes, help: Sizes of messages.}
  - {name: queue_info, type: info, help: What it is., labels: {version: Of the server.}}
"""


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Read a configuration from its text; keywords are the environment."""

    def read(text: str, **environment: str) -> Configured:
        file = tmp_path / "metricsmith.yaml"
        file.write_text(text)
        return read_configured(file, environment)

    return read


@pytest.fixture
def projects(tmp_path: Path) -> Sequence[Project]:
    """One integration with a metric of each kind."""
    folder = tmp_path / "queue-depth"
    folder.mkdir()
    (folder / DECLARATION).write_text(DECLARED)
    return [read_project(folder)]
