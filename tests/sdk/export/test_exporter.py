"""Exporting as a whole: pages, the end of a process, forks, and trouble that stays here."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest

from metricsmith.model.series import SeriesTable
from metricsmith.sdk import Counter, Reading, Registry
from metricsmith.sdk.export import Export, ExportSettings
from metricsmith.sdk.export.remote_write import TIMEOUT_S
from metricsmith.testing.programs import LIMIT_S
from metricsmith.wire.remote_write import RemoteWriteDecoder

ANY_PORTS = ExportSettings(prometheus_port=0, status_page_port=0, runtime_metrics=())


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    Counter("orders", "Orders.", registry=registry).inc(3)
    return registry


@pytest.fixture
def export(registry: Registry) -> Iterator[Export]:
    found = Export(ANY_PORTS, registry)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(LIMIT_S)
        yield listening


def read_post(client: socket.socket) -> bytes:
    """Return the body of a request."""
    with client.makefile("rb") as stream:
        length = 0
        while (line := stream.readline().strip().lower()) != b"":
            length = int(line.partition(b":")[2]) if line.startswith(b"content-length") else length
        return stream.read(length)


def orders_of(body: bytes) -> float:
    """Return the value of `orders_total` in a write request."""
    series = SeriesTable()
    batch = RemoteWriteDecoder(series).decode(body, max_decompressed=1 << 20).batch
    names = [series.labels(number)["__name__"] for number in batch.layout.ids.tolist()]
    return float(batch.value[names.index("orders_total")])


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
        return str(answer.read().decode())


def test_pages_are_served_until_it_stops(export: Export) -> None:
    metrics, status = export.addresses["metrics"], export.addresses["status"]
    assert "orders_total 3.0" in fetch(f"{metrics}/metrics")
    assert 'metricsmith_sdk_exports_total{target="scrape"} 1.0' in fetch(f"{metrics}/metrics")
    assert json.loads(fetch(f"{status}/status.json"))["ways"][0]["sent"] == 2
    export.stop()
    with pytest.raises(OSError):
        fetch(f"{metrics}/metrics")
    assert [r.name for r in export.registry.read()] == ["orders"]


def test_it_can_start_again(export: Export) -> None:
    export.stop()
    export.start()
    export.start()
    assert "orders_total" in fetch(f"{export.addresses['metrics']}/metrics")


def test_what_fails_is_tried_again_before_the_next_tick(registry: Registry, receiver: socket.socket) -> None:
    settings = ExportSettings(
        prometheus_enabled=False,
        status_page_enabled=False,
        runtime_metrics=(),
        tick_interval_s=3600,
        push_url=f"http://127.0.0.1:{receiver.getsockname()[1]}",
    )
    export = Export(settings, registry)
    export.start()
    bodies = []
    for answer in (b"503 Busy", b"204 No Content"):
        client, _ = receiver.accept()
        with client:
            bodies.append(read_post(client))
            client.sendall(b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % answer)
    export.stop(0.1)
    assert bodies[0] == bodies[1] and b"orders_total" in bodies[0]
    assert export.outboxes[0].failures["http_503"] == 1


def test_each_page_is_off_by_one_setting(registry: Registry) -> None:
    for settings, pages in (
        (ExportSettings(prometheus_enabled=False, status_page_port=0), ["status"]),
        (ExportSettings(prometheus_port=0, status_page_enabled=False), ["metrics"]),
        (ExportSettings(prometheus_enabled=False, status_page_enabled=False), []),
        (ExportSettings(enabled=False), []),
    ):
        export = Export(settings, registry)
        export.start()
        assert list(export.addresses) == pages
        assert (export.server is None) is (pages == [])
        export.stop()


def test_a_port_in_use_is_a_warning(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        export = Export(
            ExportSettings(prometheus_port=port, status_page_port=0, runtime_metrics=()), registry
        )
        with caplog.at_level(logging.WARNING, "metricsmith.sdk"):
            export.start()
    (record,) = caplog.records
    wanted = f"127.0.0.1:{port}: Address already in use; METRICSMITH_PROMETHEUS_PORT sets another port"
    assert wanted in record.getMessage()
    (warning,) = json.loads(fetch(f"{export.addresses['status']}/status.json"))["warnings"]
    assert warning["kind"] == "listen_metrics"
    export.stop()


def test_all_wrong_settings_are_told(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    wrong = ("A: got b", "C: got d")
    export = Export(replace(ANY_PORTS, problems=wrong), registry)
    with caplog.at_level(logging.WARNING, "metricsmith.sdk"):
        export.start()
    page = fetch(f"{export.addresses['metrics']}/metrics")
    assert 'metricsmith_sdk_problems_total{kind="setting"} 2.0' in page
    status = fetch(export.addresses["status"])
    export.stop()
    for text in wrong:
        assert text in caplog.text and text in status


@pytest.mark.parametrize("field", ["push_url", "bus_endpoint"])
def test_a_destination_that_cannot_be_used_stops_nobody(registry: Registry, field: str) -> None:
    wrong = {"push_url": "http://host:port/x", "bus_endpoint": "nowhere"}[field]
    settings = ExportSettings(
        prometheus_enabled=False, status_page_enabled=False, runtime_metrics=(), **{field: wrong}
    )
    export = Export(settings, registry)
    export.start()
    export.stop()
    assert list(export.problems.last()) == ["target"]


APP = """
import os, sys, socket, threading
from metricsmith.sdk import Counter
from metricsmith.sdk.export import Export, settings_from_environment
heavy = {"numpy", "pydantic", "aiohttp", "starlette", "zmq", "cramjam", "prometheus_client", "http.server"}
orders = Counter("orders", "Orders.")
export = Export(settings_from_environment())
export.start()
"""


WITHOUT_HASTE = "Export.stop.__defaults__ = (60.0,)\n"
"""A busy machine may need longer than an application waits."""
NO_PAGES = {"METRICSMITH_PROMETHEUS_ENABLED": "no", "METRICSMITH_STATUS_PAGE_ENABLED": "no"}


def run(code: str, **environment: str) -> str:
    """Run a program; return what it prints."""
    base = {"METRICSMITH_STATUS_PAGE_PORT": "0", "METRICSMITH_PROMETHEUS_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", APP + code],
        env=base | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def test_what_was_counted_last_is_sent_at_the_end(receiver: socket.socket) -> None:
    url = f"http://127.0.0.1:{receiver.getsockname()[1]}"
    program = subprocess.Popen(
        [sys.executable, "-c", APP + WITHOUT_HASTE + "sys.stdin.read(); orders.inc(42)\n"],
        env={"METRICSMITH_PUSH_URL": url, "METRICSMITH_TICK_INTERVAL": "1h"} | NO_PAGES,
        stdin=subprocess.PIPE,
    )
    with program:
        client, _ = receiver.accept()
        values = []
        with client:
            for _ in range(2):
                values.append(orders_of(read_post(client)))
                client.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                program.stdin.close()  # type: ignore[union-attr]
        assert program.wait(LIMIT_S) == 0
    assert values == [0.0, 42.0]


def test_the_end_waits_for_a_bounded_time_only(receiver: socket.socket) -> None:
    url = f"http://127.0.0.1:{receiver.getsockname()[1]}"  # takes connections, and never answers
    out = run(
        """
import atexit, time
began = time.monotonic()
atexit.register(lambda: print(time.monotonic() - began))
export.stop(0.5)
""",
        METRICSMITH_PUSH_URL=url,
    )
    assert float(out) < TIMEOUT_S


def test_a_forked_child_exports_nothing_and_leaves_its_parent_alone() -> None:
    out = run(
        """
import urllib.request
page = export.addresses["metrics"] + "/metrics"
urllib.request.urlopen(page).read()
child = os.fork()
if child == 0:
    orders.inc(100)
    assert export.addresses == {} and export.server is None
    assert [t.name for t in threading.enumerate()] == ["MainThread"]
    export.start()   # its own, on ports of its own
    text = urllib.request.urlopen(export.addresses["metrics"] + "/metrics").read().decode()
    assert "orders_total 100.0" in text, text
    export.stop(0.1)
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
orders.inc(1)
for _ in range(3):
    text = urllib.request.urlopen(page).read().decode()
print([line for line in text.splitlines() if line.startswith("orders_total")])
export.stop(0.1)
""",
        METRICSMITH_PUSH_URL="http://127.0.0.1:1",
        METRICSMITH_BUS_ENDPOINT="tcp://127.0.0.1:1",
        METRICSMITH_TICK_INTERVAL="100ms",
    )
    assert out == "['orders_total 1.0']\n"


def test_importing_and_being_off_starts_and_loads_nothing() -> None:
    out = run(
        """
print(sorted(heavy & set(sys.modules)), threading.active_count(), export.addresses)
""",
        METRICSMITH_ENABLED="no",
    )
    assert out == "[] 1 {}\n"


def test_serving_pages_loads_nothing_heavy() -> None:
    out = run(
        """
import http.client
for page in ("metrics", "status"):
    host = export.addresses[page].removeprefix("http://")
    client = http.client.HTTPConnection(host)
    client.request("GET", "/metrics" if page == "metrics" else "/")
    assert client.getresponse().read()
    client.close()
print(sorted(heavy & set(sys.modules)))
"""
    )
    assert out == "[]\n"


@pytest.mark.parametrize("host", ["nowhere..invalid", "x" * 100])
def test_a_host_that_is_none_costs_its_page_only(registry: Registry, host: str) -> None:
    export = Export(ExportSettings(prometheus_host=host, status_page_port=0, runtime_metrics=()), registry)
    export.start()
    assert list(export.addresses) == ["status"]
    assert list(export.problems.last()) == ["listen_metrics"]
    export.stop()


def test_a_page_whose_own_name_points_here_does_not_get_the_status(registry: Registry) -> None:
    export = Export(replace(ANY_PORTS, allowed_hosts=("apps.example.com",)), registry)
    export.start()
    status: dict[tuple[str, str], int] = {}
    for page, path in (("metrics", "/metrics"), ("status", "/status.json")):
        for name in ("evil.example", "apps.example.com", "localhost"):
            request = urllib.request.Request(export.addresses[page] + path, headers={"Host": name})
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    status[page, name] = answer.status
            except urllib.error.HTTPError as error:
                status[page, name] = error.code
                assert b"METRICSMITH_ALLOWED_HOSTS" in error.read()
    assert [pair for pair, code in status.items() if code != 200] == [("status", "evil.example")]
    assert status["status", "evil.example"] == 421
    assert export.server is not None and export.server.refused == {"host": 1}
    assert "evil.example" in export.problems.last()["host"]
    export.stop()


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_address_of_version_6(registry: Registry, host: str) -> None:
    export = Export(replace(ANY_PORTS, prometheus_host=host, status_page_enabled=False), registry)
    export.start()
    address = export.addresses["metrics"]
    assert address.startswith("http://[::1]:") and "orders_total" in fetch(f"{address}/metrics")
    export.stop()


class Leaver:
    """A collector that ends its thread, unless somebody minds."""

    leave = True

    def read(self) -> list[Reading]:
        if self.leave:
            raise SystemExit
        return []


def test_a_collector_that_exits_ends_no_thread_of_ours(registry: Registry, receiver: socket.socket) -> None:
    leaver = Leaver()
    registry.register(leaver)
    settings = ExportSettings(
        prometheus_port=0,
        status_page_enabled=False,
        runtime_metrics=(),
        tick_interval_s=0.1,
        push_url=f"http://127.0.0.1:{receiver.getsockname()[1]}",
    )
    export = Export(settings, registry)
    export.start()
    page = f"{export.addresses['metrics']}/metrics"
    with pytest.raises(urllib.error.HTTPError, match="500"):
        fetch(page)
    leaver.leave = False
    assert "orders_total 3.0" in fetch(page)
    client, _ = receiver.accept()
    with client:
        assert orders_of(read_post(client)) == 3
    export.stop(0.1)
