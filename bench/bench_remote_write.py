"""Claim: remote write is taken in at least as fast as by Prometheus, in 1-sample and 20-sample series.

Each contender gets the same bodies over one connection, in one run; bodies are made before the clock starts.
"""

from __future__ import annotations

import time

from common import contenders, table, usage, workspace
from common_write import bodies, labels, send

SERIES = 10_000
FORMS = {"1-sample series": (1, 60), "20-sample series": (20, 200)}


def main() -> None:
    """Print samples per second, CPU seconds per million samples, and ratios to Prometheus."""
    for form, (per_message, steps) in FORMS.items():
        rows = {}
        now_ms = int(time.time()) * 1000
        step_ms = 15_000
        start_ms = (now_ms - steps * step_ms) // step_ms * step_ms
        requests = list(bodies(labels(SERIES), start_ms, step_ms, steps, per_message))
        with workspace() as folder:
            for name, start in contenders(folder).items():
                with start() as server:  # type: ignore[attr-defined]
                    before = usage(server.pid)
                    spent = send(server.url, requests)
                    cpu = usage(server.pid).cpu_s - before.cpu_s
                    millions = SERIES * steps / 1e6
                    rows[name] = (millions / spent, cpu / millions)
        peer = rows["prometheus"]
        table(
            f"Remote write in: {form}, {len(requests)} messages, {SERIES * steps / 1e6:g} million samples",
            ("who", "million samples/s", "CPU s per million", "speed ratio", "CPU ratio"),
            [(n, speed, cpu, speed / peer[0], cpu / peer[1]) for n, (speed, cpu) in rows.items()],
        )


if __name__ == "__main__":
    main()
