"""Claim: parsing 50,000 exposition samples beside prometheus_client, as a ratio of CPU times in one run.

At least 100 times on an unchanged layout, 20 times on another layout of known series, 5 times on
unseen series. Run: .venv/bin/python bench/bench_exposition.py
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable

from prometheus_client.openmetrics.parser import text_string_to_metric_families as peer_openmetrics
from prometheus_client.parser import text_string_to_metric_families as peer_text

from metricsmith.wire.exposition import ExpositionFormat, ExpositionParser

BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf")
SAMPLES = 50_000
REPEAT = 7


def families(samples: int, services: int = 60) -> list[list[list[str]]]:
    """Return families, each a list of series groups, each a list of lines without values."""
    result: list[list[list[str]]] = []
    made = number = 0
    while made < samples:
        number += 1
        groups = []
        for service in range(services):
            labels = ",".join(
                (
                    f'instance="10.2.{service % 7}.{service}:8080"',
                    f'method="{("GET", "POST", "PUT")[service % 3]}"',
                    f'path="/api/v1/resource/{service}"',
                    f'status_code="{200 + service % 5}"',
                    f'zone="eu-west-1{"abc"[number % 3]}"',
                )
            )
            if number % 3 == 0:
                name = f"request_latency_{number}_seconds"
                buckets = [f'{name}_bucket{{{labels},le="{bound}"}}' for bound in BOUNDS]
                groups.append([*buckets, f"{name}_sum{{{labels}}}", f"{name}_count{{{labels}}}"])
            else:
                groups.append([f"application_events_{number}_total{{{labels}}}"])
            made += len(groups[-1])
        result.append(groups)
    return result


def document(rng: random.Random, content: list[list[list[str]]], openmetrics: bool) -> bytes:
    """Return an exposition document with fresh values."""
    lines = []
    for groups in content:
        name = groups[0][0].partition("{")[0]
        histogram = name.endswith("_bucket")
        family = name.removesuffix("_bucket") if histogram or not openmetrics else name.removesuffix("_total")
        lines.append(f"# HELP {family} What the service did, counted where it was done.")
        lines.append(f"# TYPE {family} {'histogram' if histogram else 'counter'}")
        for group in groups:
            total = 0
            for series in group:
                if not histogram or "_sum{" in series:
                    lines.append(f"{series} {rng.random() * 10 ** rng.randrange(7)!r}")
                    continue
                total += 0 if "_count{" in series else rng.randrange(1000)
                lines.append(f"{series} {total}")
    if openmetrics:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode()


def best(run: Callable[[], object], repeat: int) -> float:
    """Return the least CPU time of some calls, in seconds: other load on the machine does not count."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def measure(format: ExpositionFormat, peer: Callable[[str], Iterable[object]]) -> None:
    """Print the lines of the table for one format."""
    rng = random.Random(7)
    openmetrics = format is ExpositionFormat.OPENMETRICS
    content = families(SAMPLES)
    same = [document(rng, content, openmetrics) for _ in range(REPEAT)]
    text = same[0].decode()
    peer_s = best(lambda: list(peer(text)), 2)
    parser = ExpositionParser(format)
    samples = len(parser.parse(same[0]).values)
    print(f"{format}: {samples} samples, {len(text) / 1e6:.1f} MB, prometheus_client {peer_s * 1e3:.0f} ms")

    turns = iter(same)
    report("unchanged layout", best(lambda: parser.parse(next(turns)), REPEAT), peer_s, 100)

    fewer = [groups[1:] for groups in content]
    shuffled = [rng.sample(groups, len(groups)) for groups in content]
    order = (fewer, content, shuffled, content, fewer, shuffled)
    others = iter([document(rng, layout, openmetrics) for layout in order])
    report("other layout, known series", best(lambda: parser.parse(next(others)), len(order)), peer_s, 20)
    report("series never seen", best(lambda: ExpositionParser(format).parse(same[0]), 3), peer_s, 5)


def report(layout: str, ours: float, peer: float, aim: int) -> None:
    """Print one line of the table."""
    print(f"  {layout:28} {ours * 1e3:7.1f} ms {peer / ours:6.0f}x  aim {aim}x")


if __name__ == "__main__":
    measure(ExpositionFormat.TEXT, peer_text)
    measure(ExpositionFormat.OPENMETRICS, peer_openmetrics)
