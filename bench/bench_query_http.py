"""Claims: no query is slower than Prometheus, one over 1,000 series and more takes at most 0.2 times
its time, and cost grows linearly with the samples touched.

All contenders hold the same data, loaded by remote write in the same run. VictoriaMetrics' cache of
finished answers is switched off: the others have none. `--flushed` asks ours once more after a
restart, which leaves all data in blocks.

    python bench/bench_query_http.py --data 1k,20k-jitter --query "sum(rate),topk" --who metricsmith
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import time

from common import best_of, contenders, table, workspace
from common_queries import ONE, SHARES, STEP_MS, DataSet, data_sets
from common_write import get, send

FLUSHED = "metricsmith, flushed"
MOST_S = 2.0
"""A query is repeated for about this long, at least three times."""

Milliseconds = tuple[float, float]


def main() -> None:
    """Print milliseconds (best and median) and ratios to both peers for every query."""
    chosen = _arguments()
    known = data_sets()
    for name in chosen.data.split(",") if chosen.data else known:
        data = known[name]
        who = chosen.who.split(",") + ([FLUSHED] if chosen.flushed else [])
        wanted = chosen.query.split(",") if chosen.query else [*data.queries, *data.instant]
        _report(data, _measured(data, who, wanted), wanted)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="", help=f"of {', '.join(data_sets())}; all when absent")
    parser.add_argument("--query", default="", help="titles of queries; all when absent")
    parser.add_argument("--who", default="metricsmith,prometheus,victoria-metrics")
    parser.add_argument("--flushed", action="store_true", help="ask ours from blocks, too")
    return parser.parse_args()


def _measured(data: DataSet, who: list[str], wanted: list[str]) -> dict[str, dict[str, Milliseconds]]:
    """Return best and median of each query and contender."""
    start_ms = data.start_ms()
    load = list(data.load(start_ms))
    found: dict[str, dict[str, Milliseconds]] = {title: {} for title in wanted}
    shapes: dict[str, dict[str, str]] = {title: {} for title in wanted}
    with workspace() as folder:
        starts = contenders(folder)
        starts[FLUSHED] = starts["metricsmith"]  # the same folder: stopping has flushed it
        for name in who:
            with starts[name]() as server:  # type: ignore[attr-defined]
                if name != FLUSHED:
                    spent = send(server.url, load)
                    print(f"{data.name}: loaded {name} in {spent:.1f} s", flush=True)
                if name == "victoria-metrics":
                    get(server.url, "/internal/force_flush")
                for title in wanted:
                    path, form = _request(data, title, start_ms)
                    if name == "victoria-metrics":
                        form["nocache"] = "1"
                    shapes[title][name] = _shape(get(server.url, path, **form))
                    found[title][name] = _timed(server.url, path, form)
    for title, shape in shapes.items():
        if len(set(shape.values())) > 1:
            print(f"{data.name}, {title}: answers differ in size: {shape}")
    return found


def _request(data: DataSet, title: str, start_ms: int) -> tuple[str, dict[str, str]]:
    end_s = start_ms / 1000 + (data.steps - 1) * STEP_MS / 1000
    if title in data.instant:
        return "/api/v1/query", {"query": data.instant[title], "time": f"{end_s:.3f}"}
    first_s = max(start_ms / 1000, end_s - 7200) if title in ONE else start_ms / 1000
    times = {"start": f"{first_s:.3f}", "end": f"{end_s:.3f}", "step": f"{STEP_MS / 1000:g}"}
    return "/api/v1/query_range", {"query": data.queries[title], **times}


def _timed(url: str, path: str, form: dict[str, str]) -> Milliseconds:
    ask = functools.partial(get, url, path, **form)
    began = time.perf_counter()
    ask()
    rounds = min(max(3, int(MOST_S / max(time.perf_counter() - began, 1e-4))), 200)
    least, median = best_of(rounds, ask)
    return least * 1000, median * 1000


def _shape(body: bytes) -> str:
    if len(body) > 10_000_000:
        count = body.count(b'"metric"')
        return f"{count} series"
    result = json.loads(body)["data"]["result"]
    return f"{len(result)} series, {sum(len(s['values']) for s in result)} values"


def _report(data: DataSet, found: dict[str, dict[str, Milliseconds]], wanted: list[str]) -> None:
    rows = []
    for title in wanted:
        times = found[title]
        for name, (least, median) in times.items():
            ratios = [
                median / times[peer][1] if peer in times and name.startswith("metricsmith") else ""
                for peer in ("prometheus", "victoria-metrics")
            ]
            rows.append([title, name, least, median, *ratios])
    columns = ("query", "who", "best ms", "median ms", "× Prometheus", "× VictoriaMetrics")
    table(f"{data.name}: {data.steps} samples a series", columns, rows)
    shares = [title for title in SHARES if title in wanted]
    if len(shares) == len(SHARES):
        per_share = {name: [found[t][name][1] for t in shares] for name in found[shares[0]]}
        parts = [int(re.findall(r"(\d+)/16", t)[0]) for t in shares]
        rows = [
            [name, *(ms / n for ms, n in zip(times, parts, strict=True))] for name, times in per_share.items()
        ]
        table("the same, ms for each 1/16 of the samples", ("who", *(f"{n}/16" for n in parts)), rows)


if __name__ == "__main__":
    main()
