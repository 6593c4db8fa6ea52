"""Claim: from scrape to durable store, metricsmith needs less CPU per sample than Prometheus.

100 targets of 1,000 series each, the same for every contender, one after the other in one run.
`bench_scrape.py [SECONDS]` scrapes for that long at an interval of one second.
"""

from __future__ import annotations

import sys
import time

from common import agent, metricsmith_config, prometheus_config, table, targets, usage, workspace
from metricsmith.testing.services import prometheus, victoria_metrics

TARGETS, SERIES, WARM_UP_S = 100, 1000, 8


def main(seconds: float) -> None:
    """Print CPU seconds per million samples, resident memory, and the ratio to Prometheus."""
    rows = {}
    with workspace() as folder, targets(SERIES) as port:
        scrape_file = folder / "scrape.yml"
        scrape_file.write_text(prometheus_config(port, TARGETS, "1s"))
        starts = {
            "prometheus": lambda: prometheus(folder / "prometheus", scrape_file.read_text()),
            "victoria-metrics": lambda: victoria_metrics(folder / "vm", f"-promscrape.config={scrape_file}"),
            "metricsmith": lambda: agent(folder / "metricsmith", metricsmith_config(port, TARGETS, "1s")),
        }
        for name, start in starts.items():
            with start() as server:
                time.sleep(WARM_UP_S)
                before, started = usage(server.pid), time.monotonic()
                time.sleep(seconds)
                after = usage(server.pid)
                millions = (time.monotonic() - started) * TARGETS * SERIES / 1e6
                rows[name] = ((after.cpu_s - before.cpu_s) / millions, after.resident_bytes / 2**20)
    peer = rows["prometheus"]
    table(
        f"Scrape to durable store: {TARGETS} targets × {SERIES} series each second, {seconds:g} s",
        ("who", "CPU s per million samples", "resident MB", "CPU ratio", "memory ratio"),
        [(n, cpu, mb, cpu / peer[0], mb / peer[1]) for n, (cpu, mb) in rows.items()],
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 30)
