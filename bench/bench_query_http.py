"""Claims: a range query over 1,000 series takes at most 0.2 times Prometheus' time through HTTP,
and one series over the last two hours is answered beside Prometheus, the head just flushed: ours is
asked once with the data in the head and once after a restart, which leaves all of it in blocks.

All contenders hold the same data, loaded by remote write in the same run. VictoriaMetrics' cache of
finished answers is switched off: the others have none.
"""

from __future__ import annotations

import functools
import json
import time
import urllib.request

from common import best_of, contenders, table, workspace
from common_write import bodies, get, labels, send

SERIES, STEPS, STEP_MS = 1000, 1440, 15_000
QUERIES = {
    "sum(rate(x[5m])), 1,440 steps": "sum(rate(bench_requests_total[5m]))",
    "sum by (zone) (rate(x[5m])), 1,440 steps": "sum by (zone) (rate(bench_requests_total[5m]))",
    "max_over_time(x[5m]) summed": "sum(max_over_time(bench_requests_total[5m]))",
    "rate(x[5m]) whole": "rate(bench_requests_total[5m])",
}
ONE = 'bench_requests_total{instance="host-00500:9100"}'


def main() -> None:
    """Print milliseconds (best and median) and the ratio to Prometheus for every query."""
    end_ms = int(time.time() * 1000) // STEP_MS * STEP_MS
    start_ms = end_ms - (STEPS - 1) * STEP_MS
    load = list(bodies(labels(SERIES), start_ms, STEP_MS, STEPS, 60, 1000))
    spans = {"start": f"{start_ms / 1000:.3f}", "end": f"{end_ms / 1000:.3f}", "step": "15"}
    two_hours = {**spans, "start": f"{end_ms / 1000 - 7200:.3f}"}
    results: dict[str, dict[str, tuple[float, float]]] = {}
    answers: dict[str, dict[str, object]] = {}
    with workspace() as folder:
        starts = contenders(folder)
        starts["metricsmith, flushed"] = starts["metricsmith"]  # the same folder: stopping has flushed it
        for name, start in starts.items():
            with start() as server:  # type: ignore[attr-defined]
                if name != "metricsmith, flushed":
                    send(server.url, load)
                if name == "victoria-metrics":
                    get(server.url, "/internal/force_flush")
                if name == "metricsmith, flushed":
                    state = json.loads(urllib.request.urlopen(f"{server.url}/storage/status").read())
                    if not state["blocks"]:
                        raise RuntimeError(f"nothing was flushed: {state}")
                cases = {title: (query, spans) for title, query in QUERIES.items()}
                cases["one series, last 2 h"] = (ONE, two_hours)
                for title, (query, span) in cases.items():
                    rounds = 3 if "whole" in title else 9
                    body = get(server.url, "/api/v1/query_range", query=query, **span)
                    answers.setdefault(title, {})[name] = _shape(body)
                    form = {"query": query, **span} | ({"nocache": "1"} if name == "victoria-metrics" else {})
                    ask = functools.partial(get, server.url, "/api/v1/query_range", **form)
                    least, median = best_of(rounds, ask)
                    results.setdefault(title, {})[name] = (least * 1000, median * 1000)
    for title, rows in results.items():
        peer = rows["prometheus"]
        table(
            f"{title}: {SERIES} series × {STEPS} samples",
            ("who", "best ms", "median ms", "ratio of medians", "answer"),
            [(n, a, b, b / peer[1], answers[title][n]) for n, (a, b) in rows.items()],
        )


def _shape(body: bytes) -> str:
    result = json.loads(body)["data"]["result"]
    return f"{len(result)} series, {sum(len(s['values']) for s in result)} values"


if __name__ == "__main__":
    main()
