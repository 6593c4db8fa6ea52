"""Run the example: python examples/pipeline/run.py --journal /tmp/dataflow/events.jsonl

Metrics at http://127.0.0.1:9095/metrics, status at http://127.0.0.1:5266. Kill it and start it again: states
are as they were, and no event counts twice.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from pathlib import Path

from dataflow.aggregate import Pipelines
from dataflow.journal import EventJournal
from dataflow.work import start, work_a_batch

from metricsmith.sdk.pipeline import MetricsReporter


def main() -> None:
    """Work batches until told to stop."""
    options = argparse.ArgumentParser(description="An event-sourced pipeline with metrics.")
    options.add_argument("--journal", type=Path, default=Path("dataflow-events.jsonl"))
    options.add_argument("--pipelines", type=int, default=3)
    options.add_argument("--rate", type=float, default=10.0, help="batches per second, of all pipelines")
    options.add_argument("--trouble", type=float, default=0.05, help="share of attempts that fail")
    chosen = options.parse_args()
    # A container is stopped with SIGTERM, which would end Python without the last export.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    reporter = MetricsReporter()
    journal = EventJournal(chosen.journal)
    pipelines = Pipelines(journal, reporter)
    reporter.initialise(pipelines.statuses())
    try:
        names = [f"pipeline-{number}" for number in range(1, chosen.pipelines + 1)]
        for name in names:
            start(pipelines, name)
        chance = random.Random()
        while True:
            work_a_batch(pipelines, chance.choice(names), chance, chosen.trouble)
            time.sleep(1 / chosen.rate)
    except KeyboardInterrupt:
        return
    finally:
        reporter.shut_down()
        journal.close()


if __name__ == "__main__":
    main()
