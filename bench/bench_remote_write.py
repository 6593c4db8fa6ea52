"""Claim: remote write is taken in at least as fast as by Prometheus, in 1-sample and 20-sample series.

Each contender gets the same bodies over one connection, in one run; bodies are made before the clock starts.
Ours gets the same samples as version 2.0, too, which Prometheus 2.42 does not take.
"""

from __future__ import annotations

import time
from itertools import groupby
from operator import itemgetter

from common import contenders, table, usage, workspace
from common_write import HEADERS, bodies, labels, send
from metricsmith.model.series import SeriesTable
from metricsmith.testing.remote_write_2 import HEADERS as HEADERS_2
from metricsmith.testing.remote_write_2 import body as body_2
from metricsmith.testing.remote_write_2 import request
from metricsmith.wire.remote_write import RemoteWriteDecoder

SERIES = 10_000
FORMS = {"1-sample series": (1, 60), "20-sample series": (20, 200)}


VERSION_2 = "metricsmith, version 2.0"


def as_version_2(body: bytes) -> bytes:
    """Return the samples of a request as one of version 2.0, with metadata as Prometheus sends it."""
    table = SeriesTable()
    batch = RemoteWriteDecoder(table).decode(body, max_decompressed=1 << 30).batch
    ids = batch.layout.ids.tolist()
    rows = zip(ids, batch.times().tolist(), batch.value.tolist(), strict=True)
    series = [
        (table.labels(i), [(t, v) for _, t, v in found]) for i, found in groupby(rows, key=itemgetter(0))
    ]
    return body_2(request(series, type=1, help="Requests of the benchmark."))


def main() -> None:
    """Print samples per second, CPU seconds per million samples, and ratios to Prometheus."""
    for form, (per_message, steps) in FORMS.items():
        rows = {}
        now_ms = int(time.time()) * 1000
        step_ms = 15_000
        start_ms = (now_ms - steps * step_ms) // step_ms * step_ms
        requests = list(bodies(labels(SERIES), start_ms, step_ms, steps, per_message))
        sent = {VERSION_2: ([as_version_2(body) for body in requests], HEADERS_2)}
        with workspace() as folder:
            starts = contenders(folder) | {VERSION_2: contenders(folder / "2")["metricsmith"]}
            for name, start in starts.items():
                with start() as server:  # type: ignore[attr-defined]
                    before = usage(server.pid)
                    spent = send(server.url, *sent.get(name, (requests, HEADERS)))
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
