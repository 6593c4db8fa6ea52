"""The page for scrapers: forms, gzip, HEAD, and a real Prometheus client's view of it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from metricsmith.sdk import Counter, Registry
from metricsmith.sdk.export.endpoint import MetricsPage, takes_gzip
from metricsmith.sdk.export.http_server import Request
from metricsmith.testing.clock import FakeClock

Ask = Callable[..., tuple[bytes, dict[str, str], int, str]]


@pytest.fixture
def page() -> MetricsPage:
    registry = Registry()
    orders = Counter("orders", "Orders.", ["kind"], registry=registry)
    for number in range(100):
        orders.labels(f"kind-{number}").inc(number)
    return MetricsPage(registry, FakeClock())


def test_text_openmetrics_and_gzip(page: MetricsPage) -> None:
    plain = page(Request("/metrics", "", {}))
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    assert sum(len(f.samples) for f in read_text(plain.body.decode())) == 100
    om = page(
        Request("/metrics", "", {"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"})
    )
    assert om.content_type.startswith("application/openmetrics-text")
    assert sum(len(f.samples) for f in read_openmetrics(om.body.decode())) == 100
    packed = page(Request("/metrics", "", {"accept-encoding": "gzip"}))
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert zlib.crc32(plain.body) and len(packed.body) < len(plain.body) / 4
    assert (page.scrapes, page.last_scrape_ms) == (3, 1_700_000_000_000)
    assert page.sent_bytes == len(plain.body) + len(om.body) + len(packed.body)


def test_other_paths(page: MetricsPage) -> None:
    assert page(Request("/", "", {})).status == 200
    assert page(Request("/nothing", "", {})).status == 404
    assert page.scrapes == 0


def test_what_is_small_is_not_packed() -> None:
    answer = MetricsPage(Registry(), FakeClock())(Request("/metrics", "", {"accept-encoding": "gzip"}))
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize(
    ("accepted", "wanted"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=1.0, *;q=0.5", True),
        ("*", True),
        ("gzip;q=0.001", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("identity", False),
        ("", False),
    ],
)
def test_who_takes_gzip(accepted: str, wanted: bool) -> None:
    assert takes_gzip(accepted) is wanted
