"""Claim: parsing 50,000 exposition samples beside prometheus_client, as a ratio in one run.

At least 100 times on an unchanged layout, 20 times on another layout of known series, 5 times on
unseen series. Run: .venv/bin/python bench/bench_exposition.py
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from prometheus_client.openmetrics.parser import text_string_to_metric_families as peer_openmetrics
from prometheus_client.parser import text_string_to_metric_families as peer_text

from metricsmith.wire.exposition import ExpositionFormat, ExpositionParser

BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf")
SAMPLES = 50_000
REPEAT = 7


def families(rng: random.Random, samples: int, services: int = 60) -> list[list[list[str]]]:
    """Return families, each a list of series groups, each a list of lines without values."""
    result: list[list[list[str]]] = []
    made = number = 0
    while made < samples:
        number += 1
        groups = []
        for service in range(services):
            labels = (
                f'instance="10.2.{service % 7}.{service}:8080",method="{("GET", "POST", "PUT")[service % 3]}",'
                f'path="/api/v1/resource/{service}",status_code="{200 + service % 5}",zone="eu-west-1{"abc"[number % 3]}"'
            )
            if number % 3 == 0:
                groups.append([f"request_latency_{number}_seconds_bucket{{{labels},le=\"{le}\"}}" for le in BOUNDS])
                groups[-1] += [f"request_latency_{number}_seconds_{part}{{{labels}}}" for part in ("sum", "count")]
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


def best(run: Callable[[], object], repeat: int = REPEAT) -> float:
    """Return the shortest of some times of a call, in seconds."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    rng = random.Random(7)
    content = families(rng, SAMPLES)
    print(f"{'format':12} {'layout':24} {'ours':>9} {'peer':>9} {'ratio':>7} {'aim':>5}")
    for format, peer in (
        (ExpositionFormat.TEXT, peer_text),
        (ExpositionFormat.OPENMETRICS, peer_openmetrics),
    ):
        openmetrics = format is ExpositionFormat.OPENMETRICS
        same = [document(rng, content, openmetrics) for _ in range(REPEAT)]
        text = same[0].decode()
        peer_s = best(lambda: [family for family in peer(text)], 2)  # noqa: B023, C416
        parser = ExpositionParser(format)
        samples = len(parser.parse(same[0]).values)

        fresh = iter(same)
        report(format, f"unchanged, {samples} samples", best(lambda: parser.parse(next(fresh))), peer_s, 100)  # noqa: B023

        fewer = [groups[1:] for groups in content]
        shuffled = [rng.sample(groups, len(groups)) for groups in content]
        others = [document(rng, c, openmetrics) for c in (fewer, content, shuffled, content, fewer, shuffled)]
        turns = iter(others)
        report(format, "other, series known", best(lambda: parser.parse(next(turns)), 6), peer_s, 20)  # noqa: B023
        report(format, "series never seen", best(lambda: ExpositionParser(format).parse(same[0]), 3), peer_s, 5)  # noqa: B023


def report(format: ExpositionFormat, layout: str, ours: float, peer: float, aim: int) -> None:
    """Print one line of the table."""
    print(f"{format:12} {layout:24} {ours * 1e3:7.1f}ms {peer * 1e3:7.0f}ms {peer / ours:6.0f}x {aim:4}x")


if __name__ == "__main__":
    main()
