"""Claim: 100,000 active series, scraped for ten minutes, take at most 0.8 times Prometheus' memory.

Both scrape the same targets at the same time. `bench_memory.py [SECONDS]`.
"""

from __future__ import annotations

import sys
import time

from common import agent, metricsmith_config, prometheus_config, table, targets, usage, workspace
from metricsmith.testing.services import prometheus

TARGETS, SERIES, INTERVAL, EVERY_S = 100, 1000, "15s", 5


def main(seconds: float) -> None:
    """Print resident memory at the end and its peak."""
    with (
        workspace() as folder,
        targets(SERIES) as port,
        prometheus(folder / "prometheus", prometheus_config(port, TARGETS, INTERVAL)) as peer,
        agent(folder / "metricsmith", metricsmith_config(port, TARGETS, INTERVAL)) as ours,
    ):
        servers = {"prometheus": peer, "metricsmith": ours}
        seen: dict[str, list[float]] = {name: [] for name in servers}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(EVERY_S)
            for name, server in servers.items():
                seen[name].append(usage(server.pid).resident_bytes / 2**20)
    last = {name: sum(values[-6:]) / len(values[-6:]) for name, values in seen.items()}
    peak = {name: max(values) for name, values in seen.items()}
    table(
        f"{TARGETS * SERIES} active series, every {INTERVAL}, {seconds:g} s",
        ("who", "resident MB at the end", "peak MB", "ratio at the end", "ratio of peaks"),
        [(n, last[n], peak[n], last[n] / last["prometheus"], peak[n] / peak["prometheus"]) for n in servers],
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 600)
