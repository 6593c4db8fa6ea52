"""Claim: from scrape to durable store, metricsmith needs less CPU per sample than Prometheus.

100 targets of 1,000 series each, the same for every contender, one after the other in one run. Samples
are counted by each contender itself; our head has half its default size, so that flushes are measured too.
`bench_scrape.py [SECONDS]` scrapes for that long at an interval of one second.
"""

from __future__ import annotations

import sys
import time

from common import agent, counter, metricsmith_config, prometheus_config, table, targets, usage, workspace
from metricsmith.testing.services import prometheus, victoria_metrics

TARGETS, SERIES, WARM_UP_S = 100, 1000, 8
DEFAULT_STORAGE = 'storage: {{path: "{data}"}}'
HEAD = 'storage: {{path: "{data}", head_bytes: 32MB}}'
COUNTERS = {
    "prometheus": "prometheus_tsdb_head_samples_appended_total",
    "victoria-metrics": "vm_rows_inserted_total",
    "metricsmith": "metricsmith_samples_accepted_total",
}


def main(seconds: float) -> None:
    """Print CPU seconds per million samples, resident memory, and the ratio to Prometheus."""
    rows = {}
    with workspace() as folder, targets(SERIES) as port:
        scrape_file = folder / "scrape.yml"
        config = metricsmith_config(port, TARGETS, "1s").replace(DEFAULT_STORAGE, HEAD)
        scrape_file.write_text(prometheus_config(port, TARGETS, "1s"))
        starts = {
            "prometheus": lambda: prometheus(folder / "prometheus", scrape_file.read_text()),
            "victoria-metrics": lambda: victoria_metrics(folder / "vm", f"-promscrape.config={scrape_file}"),
            "metricsmith": lambda: agent(folder / "metricsmith", config),
        }
        for name, start in starts.items():
            with start() as server:
                time.sleep(WARM_UP_S)
                before, first = usage(server.pid), counter(server.url, COUNTERS[name])
                time.sleep(seconds)
                after, last = usage(server.pid), counter(server.url, COUNTERS[name])
                millions = (last - first) / 1e6
                if millions < 0.95 * seconds * TARGETS * SERIES / 1e6:
                    raise RuntimeError(f"{name} took only {millions:.2f} million samples in {seconds:g} s")
                rows[name] = ((after.cpu_s - before.cpu_s) / millions, after.resident_bytes / 2**20)
                if name == "metricsmith":
                    blocks = counter(server.url, "metricsmith_store_flushes_total")
                    print(f"metricsmith flushed its head {blocks:g} times")
    peer = rows["prometheus"]
    table(
        f"Scrape to durable store: {TARGETS} targets × {SERIES} series each second, {seconds:g} s",
        ("who", "CPU s per million samples", "resident MB", "CPU ratio", "memory ratio"),
        [(n, cpu, mb, cpu / peer[0], mb / peer[1]) for n, (cpu, mb) in rows.items()],
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 90)
