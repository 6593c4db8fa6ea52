"""`metricsmith collect`: a file's collectors printed and served, whatever they do."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from metricsmith.cli.collect import listen_address
from metricsmith.testing.programs import LIMIT_S, eventually

FOO_BAR = """
    from prometheus_client import Metric

    class FooCollector:
        def describe(self):
            return [
                Metric("foo_metric", "Shows whether a foo has occurred in our cluster", "counter"),
                Metric("bar_metric", "Shows whether a bar has occurred in our cluster", "counter"),
            ]

        def collect(self):
            for metric in self.describe():
                metric.add_sample(metric.name, {}, 1)
                yield metric
"""
SHORT = """
    from metricsmith.collector import collector, counter

    @collector()
    def foo_bar():
        for name in ("foo", "bar"):
            yield counter(f"{name}_metric", 1, help=f"Shows whether a {name} has occurred in our cluster")
"""
SEED = """\
# HELP bar_metric Shows whether a bar has occurred in our cluster
# TYPE bar_metric counter
bar_metric 1
# HELP foo_metric Shows whether a foo has occurred in our cluster
# TYPE foo_metric counter
foo_metric 1
"""
MIXED = """
    import sys, time
    from metricsmith.collector import collector, counter, gauge, untyped

    @collector()
    def good():
        print("this is no metric")
        yield counter("orders_total", 3, {"shop": 'n"1'}, help="Orders.")
        yield gauge("queue_length", 2.5, help="Waiting.")
        yield untyped("odd_number", float("nan"), help="Who knows.")

    @collector(timeout="50ms")
    def hangs():
        time.sleep(1000)

    @collector(max_samples=10)
    def floods():
        while True:
            yield 1

    @collector()
    def exits():
        sys.exit(7)
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def put(text: str, name: str = "mine.py") -> str:
        (tmp_path / name).write_text(textwrap.dedent(text))
        return str(tmp_path / name)

    return put


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A running command that serves, and its address."""
    command = [sys.executable, "-m", "metricsmith", "collect", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            yield process.stderr.readline().strip(), process
        finally:
            process.kill()


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return answer.read().decode()


def fetched(url: str) -> str:
    """Return what a page holds, nothing when it does not come in time."""
    try:
        return fetch(url)
    except OSError:
        return ""


@pytest.mark.parametrize("text", [FOO_BAR, SHORT], ids=["class", "function"])
def test_the_foo_bar_collector_gives_exactly_the_lines_of_the_guide(here, write, text):
    done = here("collect", write(text), "--once")
    assert (done.returncode, done.stdout) == (0, SEED)
    assert "warning: foo_metric: a counter's name ends in _total" in done.stderr
    assert "warning: foo_metric: a state goes up and down: make it a gauge" in done.stderr


def test_what_fails_hangs_or_floods_is_told_and_the_others_are_printed(here, write):
    done = here("collect", write(MIXED), "--once")
    assert done.stdout == textwrap.dedent("""\
        # HELP odd_number Who knows.
        # TYPE odd_number untyped
        odd_number NaN
        # HELP orders_total Orders.
        # TYPE orders_total counter
        orders_total{shop="n\\"1"} 3
        # HELP queue_length Waiting.
        # TYPE queue_length gauge
        queue_length 2.5
    """)
    assert done.returncode == 1
    assert "this is no metric" in done.stderr
    for line in (
        "hangs: took longer than its timeout of 0.05 s",
        "floods: got more than 10 samples",
        "exits: ",
    ):
        assert f"error: mine.{line}" in done.stderr


def test_json(here, write):
    done = here("collect", write(MIXED), "--once", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["orders_total"] == {
        "name": "orders_total", "labels": {"shop": 'n"1'}, "value": 3, "type": "counter",
        "help": "Orders.", "unit": "",
    }  # fmt: skip
    assert rows["odd_number"]["value"] == "NaN"


@pytest.mark.parametrize(
    ("text", "told", "code"),
    [
        ("x = 1\ny = x.z\n", r"mine.py:2: AttributeError", 1),
        ("x = 1\n", r"mine.py: got no collector in it, wanted a function with @collector", 1),
        (None, r"mine.py: cannot be read: No such file", 1),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_line(here, write, tmp_path, text, told, code):
    path = str(tmp_path / "mine.py") if text is None else write(text)
    done = here("collect", path, "--once")
    assert (done.returncode, done.stdout) == (code, "")
    assert re.search(told, done.stderr) and len(done.stderr.splitlines()) == 1


def test_a_file_imports_its_neighbours(here, write):
    write("def orders(): return 5", "neighbour.py")
    text = "from metricsmith.collector import collector\nimport neighbour\n"
    done = here("collect", write(f"{text}@collector()\ndef n(): return neighbour.orders()"), "--once")
    assert done.stdout == "# TYPE n untyped\nn 5\n"


@pytest.mark.parametrize(
    "options",
    [["--listen", "8080"], ["--listen", ":99999"], ["--listen", ":x"], ["--interval", "0s"],
     ["--timeout", "5"], ["--listen", ":0", "--once"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_options_are_refused(here, write, options):
    done = here("collect", write(SHORT), *options)
    assert (done.returncode, done.stdout) == (2, "") and "wanted" in done.stderr


def test_without_a_host_it_listens_on_loopback_only():
    assert listen_address(":8080") == ("127.0.0.1", 8080)
    assert listen_address("0.0.0.0:8080") == ("0.0.0.0", 8080)


def test_it_serves_with_process_metrics_and_survives_collectors_that_do_not(write):
    with serving(write(MIXED), "--listen", ":0", "--interval", "1h") as (url, process):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", url)
        page = fetch(url)
        assert 'orders_total{shop="n\\"1"} 3' in page
        for name in ("process_resident_memory_bytes ", "python_info{", "python_gc_collections_total{"):
            assert f"\n{name}" in page
        for name, up in (("good", 1), ("hangs", 0), ("floods", 0), ("exits", 0)):
            assert f'\ncollector_up{{collector="mine.{name}"}} {up}\n' in page
        assert fetch(url) == page, "within the interval it is what was collected"
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


def test_process_metrics_can_be_left_out_and_a_page_is_collected_when_it_is_asked_for(write):
    text = """
        from metricsmith.collector import collector, counter
        calls = []
        @collector()
        def c():
            calls.append(1)
            return counter("calls_total", len(calls), help="Calls.")
    """
    with serving(write(text), "--listen", ":0", "--no-process") as (url, _):
        for number in (1, 2):
            assert fetch(url) == (
                f"# HELP calls_total Calls.\n# TYPE calls_total counter\ncalls_total {number}\n"
            )


def test_who_connects_and_says_nothing_is_cut_off(write, monkeypatch):
    code = "import metricsmith.runtime.collect_server as s; s.REQUEST_LIMIT_S = 0.2; " \
           "from metricsmith.cli.main import main; main()"  # fmt: skip
    command = [sys.executable, "-c", code, "collect", write(SHORT), "--listen", ":0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            port = int(process.stderr.readline().rpartition(":")[2].partition("/")[0])
            for said in (b"", b"GET /metrics HTTP/1.1\r\nHost: a\r\n"):
                with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as client:
                    client.sendall(said)
                    with suppress(ConnectionResetError):
                        assert client.recv(1) == b""
            assert eventually(lambda: "foo_metric 1" in fetched(f"http://127.0.0.1:{port}/metrics"))
        finally:
            process.kill()


def test_promtool_has_no_complaint_that_we_do_not_have(here, write, promtool):
    text = """
        from metricsmith.collector import collector, counter, gauge, untyped
        @collector()
        def c():
            yield counter("orders", 1)
            yield gauge("waiting_total", 1, help="h")
            yield gauge("latency_milliseconds", 1, help="h")
            yield gauge("camelCase", 1, help="h")
            yield gauge("with:colon", 1, help="h")
    """
    done = here("collect", write(text), "--once")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=done.stdout, capture_output=True, text=True
    )
    theirs = {line.split()[0] for line in checked.stderr.splitlines() if line and " " in line}
    ours = {line.split()[1].rstrip(":") for line in done.stderr.splitlines() if line.startswith("warning: ")}
    assert {"orders", "waiting_total", "camelCase", "with:colon"} <= theirs
    assert theirs <= ours


def test_labels_that_explode_are_warned_of(here, write):
    text = """
        from metricsmith.collector import collector, gauge
        import uuid
        @collector()
        def c():
            for n in range(60):
                yield gauge("by_user_seconds", 1, {"user": n}, help="h")
            yield gauge("by_request_bytes", 1, {"id": uuid.uuid4()}, help="h")
            yield gauge("fine_bytes", 1, {"queue": "mail"}, help="h")
    """
    told = here("collect", write(text), "--once").stderr
    assert "by_user_seconds: label user has 60 values" in told
    assert "by_request_bytes: label id looks like an id" in told
    assert "fine" not in told


def test_rounds_are_printed_again_and_again(write):
    command = [sys.executable, "-m", "metricsmith", "collect", write(SHORT), "--json", "--interval", "10ms"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            assert [len(json.loads(process.stdout.readline())) for _ in range(3)] == [2, 2, 2]
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(LIMIT_S) == 130
        finally:
            process.kill()
