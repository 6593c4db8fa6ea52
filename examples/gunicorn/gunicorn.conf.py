"""Four workers. The master shows what all have counted at http://127.0.0.1:9095/metrics."""

from __future__ import annotations

from typing import Any

from metricsmith.sdk import processes

bind = "127.0.0.1:8000"
workers = 4


def when_ready(server: Any) -> None:
    """Collect in the master. Not needed where an agent with a source `processes` runs: it collects."""
    processes.collect()
