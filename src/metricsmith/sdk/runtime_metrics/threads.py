"""Threads, as Python and as the system count them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from metricsmith.sdk.reading import Reading
from metricsmith.sdk.runtime_metrics.families import gauge
from metricsmith.sdk.runtime_metrics.memory import process_status


class ThreadMetrics:
    """Counts threads."""

    def read(self) -> Iterator[Reading]:
        """Yield Python's threads, and where it can be known all threads of the process."""
        yield gauge("python_threads", "Threads that Python knows.", threading.active_count())
        status = process_status()
        if "Threads" in status:
            yield gauge(
                "process_threads", "Threads of the process, those of libraries too.", status["Threads"]
            )
