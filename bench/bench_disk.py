"""Claim: an hour of real metrics takes no more disk than Prometheus' blocks; VictoriaMetrics' is the aim.

All get the same samples by remote write. Then Prometheus makes a block of all (a snapshot with its head),
VictoriaMetrics merges its parts, and ours is stopped, which flushes. Journals are not counted.
`bench_disk.py [MACHINES]`.
"""

from __future__ import annotations

import sys
import time
import urllib.request
from pathlib import Path

from common import EMPTY_AGENT, agent, table, workspace
from common_realistic import Host, hosts, record, write_requests
from common_write import get, send
from metricsmith.testing.services import Server, prometheus, victoria_metrics

WINDOW_MS = 2 * 3_600_000


def main(machines: int) -> None:
    """Print bytes a sample of each, by kind of file, and ratios to both peers."""
    start_ms = (time.time_ns() // 1_000_000 // WINDOW_MS - 1) * WINDOW_MS
    with workspace() as folder:
        found = list(hosts(record(folder / "recording"), machines, start_ms))
        sizes = {
            "Prometheus": _prometheus(folder / "prometheus", found),
            "VictoriaMetrics": _victoria_metrics(folder / "victoria-metrics", found),
            "metricsmith": _metricsmith(folder / "metricsmith", found),
        }
    series, samples = sum(len(h.keys) for h in found), sum(h.values.size for h in found)
    whole = {name: sum(parts.values()) for name, parts in sizes.items()}
    table(
        f"An hour of {machines} hosts, 5 shops each: {series} series, {samples / 1e6:.2f} million samples",
        (
            "who",
            "bytes a sample",
            "samples, bytes each",
            "series, bytes each",
            "× Prometheus",
            "× VictoriaMetrics",
        ),
        [
            (
                name,
                whole[name] / samples,
                parts["samples"] / samples,
                parts["series"] / series,
                whole[name] / whole["Prometheus"],
                whole[name] / whole["VictoriaMetrics"],
            )
            for name, parts in sizes.items()
        ],
    )


def _prometheus(folder: Path, found: list[Host]) -> dict[str, int]:
    with prometheus(folder, "", "--web.enable-admin-api") as server:
        send(server.url, write_requests(found))
        _post(server, "/api/v1/admin/tsdb/snapshot")
    return _sizes(folder / "data" / "snapshots", "chunks")


def _victoria_metrics(folder: Path, found: list[Host]) -> dict[str, int]:
    with victoria_metrics(folder, "-retentionPeriod=1") as server:
        send(server.url, write_requests(found))
        get(server.url, "/internal/force_flush")
        get(server.url, "/internal/force_merge")
        time.sleep(3)  # it merges in the background and tells nobody
    return _sizes(folder / "data", "/data/data/")


def _metricsmith(folder: Path, found: list[Host]) -> dict[str, int]:
    with agent(folder, EMPTY_AGENT) as server:
        send(server.url, write_requests(found))
    return _sizes(folder / "data" / "blocks", "samples.parquet")


def _sizes(folder: Path, samples: str) -> dict[str, int]:
    """Return the bytes of files whose path has `samples` in it, and of all others."""
    sizes = {"samples": 0, "series": 0}
    for path in folder.rglob("*"):
        if path.is_file():
            sizes["samples" if samples in str(path) else "series"] += path.stat().st_size
    return sizes


def _post(server: Server, path: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{server.url}{path}", b""), timeout=60).read()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
