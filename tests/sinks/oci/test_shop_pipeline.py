"""The documented exporter, whole: shop, load and agent as programs, and every value that the service got.

What is right is computed here, from the pages that the shop gave, as another parser reads them.
"""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from metricsmith.demo.load import TRAFFIC
from metricsmith.testing.oci_server import Fault, OciServer
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.targets import running_target

EXAMPLE = Path(__file__).parents[3] / "examples" / "oci.yaml"
FAST = "server: {listen: '127.0.0.1:@port'}\nstorage: {path: '@data'}\nperformance: {flush_interval: 100ms}\n"
METRICS = {
    "http_requests_total",
    "http_request_duration_seconds_avg",
    "http_request_duration_seconds_count",
    "external_call_latency_ms_avg",
    "external_call_latency_ms_count",
    "orders_created_total",
    "orders_success_total",
    "orders_failed_total",
    "payments_processed_total",
    "chaos_events_total",
    "service_restarts_total",
    "simulated_latency_ms",
}
"""Those of the documented exporter."""
STRAY = {"/not-found", "/does/not/exist", "/.git/config"}
"""Paths of the documented traffic that no route serves."""
IDLE = "# TYPE shop_idle gauge\nshop_idle NaN\n# TYPE queue_sum gauge\nqueue_sum 4\n"
"""Beside the shop's: a value that is no number, and a name that looks like a part of a histogram."""

Labels = tuple[tuple[str, str], ...]
Values = dict[tuple[str, Labels], float]


def _program(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "metricsmith", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@dataclass
class Window:
    """What the agent scrapes: hands on the shop's page and keeps it, with the time when it was asked for."""

    shop: str
    pages: list[tuple[int, str]] = field(default_factory=list)
    shut: threading.Event = field(default_factory=threading.Event)

    def serve(self, handler: BaseHTTPRequestHandler, _closing: threading.Event) -> None:
        asked_ms = time.time_ns() // 1_000_000
        text = ""
        if not self.shut.is_set():
            with urllib.request.urlopen(f"{self.shop}/metrics") as answer:
                text = answer.read().decode() + IDLE
        handler.send_response(200 if text else 503)
        handler.send_header("Content-Type", "text/plain; version=0.0.4")
        handler.send_header("Content-Length", str(len(text.encode())))
        handler.end_headers()
        handler.wfile.write(text.encode())
        if text:
            self.pages.append((asked_ms, text))

    def page_of(self, time_ms: int) -> tuple[int, str]:
        """Return the page of a scrape of this time: the first that was asked for since."""
        return min(page for page in self.pages if page[0] >= time_ms)


@pytest.fixture
def shop() -> Iterator[str]:
    """The address of a shop, a program of its own."""
    with _program("demo-shop", "--port", "0", "--seed", "4") as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.terminate()


@dataclass
class Run:
    """A run of the whole pipeline: pages of the shop, and the service's points by time."""

    pages: list[tuple[int, str]]
    got: dict[int, Values]
    agent: AgentProgram


@pytest.fixture
def run(oci: OciServer, shop: str, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Run the example under load, with more lines in its sink, and kills of the agent meanwhile."""
    agents: list[AgentProgram] = []
    window = Window(shop)

    def go(settings: str, kills: int = 0) -> Run:
        text = FAST + EXAMPLE.read_text()
        for documented, here in (
            ("http://localhost:3000/metrics", target.url),
            ("interval: 30s", "interval: 800ms"),
            ("~/.oci/config", str(oci.key.write_config(tmp_path))),
            ("endpoint: null ", f"endpoint: {oci.url} "),
            ("average: delta ", f"{settings}  "),
        ):
            assert documented in text, "the example is as documented"
            text = text.replace(documented, here)
        braces = text.replace("{", "{{").replace("}", "}}")
        agent = AgentProgram(tmp_path, braces.replace("@port", "{port}").replace("@data", "{data}"))
        agents.append(agent)
        agent.start()
        with _program("loadgen", shop, "--rate", "150", "--for", f"{3 + 2 * kills}s") as load:
            for _ in range(kills):
                target.wait_for_scrapes(2)
                agent.kill()
                agent.start()
            assert load.wait() == 0
        target.wait_for_scrapes(4)
        window.shut.set()
        shut_ms = time.time_ns() // 1_000_000
        eventually(lambda: any(p.name == "up" and not p.value and p.time_ms > shut_ms for p in oci.points))
        eventually(lambda: agent.get("/api/v1/sinks")["data"][0]["behind_batches"] == 0)
        got = _by_time(oci)
        return Run([window.page_of(time_ms) for time_ms in got], got, agent)

    with running_target(behave=window.serve) as target:
        yield go
        for agent in agents:
            assert agent.stop() == 0


def _by_time(oci: OciServer) -> dict[int, Values]:
    """Return what the service has, by time; of the time when the window was open."""
    found: dict[int, Values] = {}
    for point in oci.points:
        assert point.namespace == "bharatmart" and point.compartment == "ocid1.compartment.oc1..example"
        known = found.setdefault(point.time_ms, {}).setdefault((point.name, point.dimensions), point.value)
        assert known == point.value, "what comes again is the same"
    return {time_ms: values for time_ms, values in sorted(found.items()) if _ups(values) == (1.0,)}


def _ups(values: Values) -> tuple[float, ...]:
    return tuple(value for (name, _), value in values.items() if name == "up")


@dataclass
class Page:
    """A page as another parser reads it, with the labels of its target."""

    plain: Values = field(default_factory=dict)
    sums: Values = field(default_factory=dict)
    counts: Values = field(default_factory=dict)
    buckets: dict[tuple[str, Labels], list[tuple[float, float]]] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str, of_target: dict[str, str]) -> Page:
        page = cls()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = tuple(sorted({**sample.labels, **of_target}.items()))
                own = tuple(pair for pair in labels if pair[0] != "le")
                if family.type != "histogram":
                    page.plain[sample.name, labels] = sample.value
                elif sample.name.endswith("_bucket"):
                    level = float(sample.labels["le"]), sample.value
                    page.buckets.setdefault((family.name, own), []).append(level)
                elif sample.name.endswith("_sum"):
                    page.sums[family.name, own] = sample.value
                else:
                    page.counts[family.name, own] = sample.value
        return page

    def sent(self) -> Values:
        """What goes as it is."""
        counts = {(f"{family}_count", labels): value for (family, labels), value in self.counts.items()}
        return counts | {stream: value for stream, value in self.plain.items() if math.isfinite(value)}

    def since(self, before: Page) -> Page:
        """What was observed since another page, of label sets that both have."""
        grown = Page()
        for stream in before.counts:
            grown.sums[stream] = self.sums[stream] - before.sums[stream]
            grown.counts[stream] = self.counts[stream] - before.counts[stream]
            levels = zip(self.buckets[stream], before.buckets[stream], strict=True)
            grown.buckets[stream] = [(upper, now - then) for (upper, now), (_, then) in levels]
        return grown

    def averages(self, quantiles: tuple[int, ...]) -> Values:
        """Averages, and percentiles, of each label set in which something was observed."""
        found: Values = {}
        for (family, labels), count in self.counts.items():
            if count:
                found[f"{family}_avg", labels] = self.sums[family, labels] / count
                for percent in quantiles:
                    level = _percentile(self.buckets[family, labels], percent)
                    found[f"{family}_p{percent}", labels] = level
        return found


def _percentile(buckets: list[tuple[float, float]], percent: int) -> float:
    """Return where a share of all that was counted is reached, by straight lines within buckets."""
    rank, below, lower = buckets[-1][1] * percent / 100, 0.0, 0.0
    for upper, reached in buckets:
        if reached >= rank:
            if math.isinf(upper):
                return lower
            return lower + (upper - lower) * (rank - below) / (reached - below)
        below, lower = reached, upper
    raise AssertionError("no last bucket")


@pytest.mark.parametrize(
    ("settings", "quantiles"),
    [
        ("average: delta", ()),
        ("average: lifetime\n    quantiles: [0.5, 0.95]", (50, 95)),
    ],
    ids=["since the scrape before", "lifetime"],
)
def test_every_value_of_every_page_arrives_and_nothing_else(
    oci: OciServer, run: Callable[[str], Run], settings: str, quantiles: tuple[int, ...]
) -> None:
    ran = run(settings)
    pages = _check_values(ran, quantiles)
    all_names = {name for values in ran.got.values() for name, _ in values}
    assert all_names - {f"{f}_p{q}" for f, _ in pages[0].counts | pages[-1].counts for q in quantiles} == (
        METRICS | {"up", "queue_sum"}
    )
    assert _routes(ran.got) == {path.replace("{id}", ":id") for _, path in TRAFFIC} - STRAY | {"unmatched"}
    assert oci.problems == [] and oci.largest_call == 50, "in whole calls"
    _check_times(ran)
    _check_counts(ran)


@pytest.mark.parametrize("kills", [1, pytest.param(8, marks=pytest.mark.soak)])
def test_faults_and_kills_lose_and_change_nothing_that_was_kept(
    oci: OciServer, run: Callable[..., Run], kills: int
) -> None:
    wrong = [Fault(0, taken=True), Fault(500), Fault(200, cut=True), Fault(429, "TooManyRequests"), Fault()]
    faults = [fault for each in wrong * kills for fault in (each, None)]
    oci.fault = lambda number: faults[number] if number < len(faults) else None
    ran = run("average: delta", kills=kills)
    assert oci.problems == [] and oci.calls > 2
    _check_values(ran, ())


def _kept(agent: AgentProgram) -> list[tuple[float, str]]:
    (series,) = agent.query('up{job="bharatmart"}[1h]')
    return [(time_s, value) for time_s, value in series["values"] if value == "1"]


def _check_values(ran: Run, quantiles: tuple[int, ...]) -> list[Page]:
    """Each page's values are there, and no others; averages are of all time where there are quantiles."""
    kept = {round(float(time_s) * 1000) for time_s, _ in _kept(ran.agent)}
    assert set(ran.got) == kept and len(kept) > 3, "every scrape that the agent kept is there"
    assert len(set(ran.pages)) == len(ran.pages)
    of_target = _of_target(ran)
    pages = [Page.read(text, of_target) for _, text in ran.pages]
    spans = [None, *(now.since(then) for then, now in pairwise(pages))] if not quantiles else pages
    up = {("up", tuple(sorted(of_target.items()))): 1.0}
    for got, page, span in zip(ran.got.values(), pages, spans, strict=True):
        wanted = page.sent() | up | (span.averages(quantiles) if span else {})
        assert got.keys() == wanted.keys()
        assert got == {stream: pytest.approx(value, rel=1e-12) for stream, value in wanted.items()}
    return pages


def _check_times(ran: Run) -> None:
    """Each point has the time at which its page was asked for."""
    asked = [asked_ms for asked_ms, _ in ran.pages]
    for time_ms, (before_ms, asked_ms) in zip(ran.got, pairwise([0, *asked]), strict=True):
        assert before_ms < time_ms <= asked_ms


def _check_counts(ran: Run) -> None:
    """What is no number is counted, and nothing else is missing."""
    not_finite = ran.agent.own("metricsmith_sink_unsent_samples_total", sink="oci", reason="not_finite")
    assert not_finite == len(ran.pages)
    assert ran.agent.own("metricsmith_sink_dropped_samples_total", sink="oci") == 0


def _of_target(ran: Run) -> dict[str, str]:
    ((_, labels),) = {stream for values in ran.got.values() for stream in values if stream[0] == "up"}
    of_target = dict(labels)
    assert of_target.keys() == {"job", "instance"} and of_target["job"] == "bharatmart"
    return of_target


def _routes(got: dict[int, Values]) -> set[str]:
    *_, last = got.values()
    return {dict(labels)["route"] for name, labels in last if name == "http_requests_total"}
