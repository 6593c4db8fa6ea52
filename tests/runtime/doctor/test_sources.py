"""Sources before they run: what is away, refused or wrong is told; what is well, is told, too."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from metricsmith.model.findings import Level
from metricsmith.testing.kubernetes_server import running_kubernetes
from metricsmith.testing.services import Server, free_port
from metricsmith.testing.targets import Target, running_target, silent

Examine = Callable[..., Any]
PAGE = '# TYPE up_to gauge\nup_to 1\nother 2\nthird{a="b"} 3\n'


def answers(status: int, body: str = "", **headers: str) -> Callable[..., None]:
    def behave(handler: BaseHTTPRequestHandler, _closing: threading.Event) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body.encode())

    return behave


@pytest.fixture
def target() -> Iterator[Target]:
    with running_target(PAGE) as found:
        yield found


def scrape(target: Target, more: str = "") -> str:
    return f'sources: [{{type: scrape, name: shop, targets: ["{target.url}"]{more}}}]\n'


def test_of_a_thousand_targets_each_is_told_what_is_wrong_with_it(examine: Examine) -> None:
    port = free_port()
    away = ", ".join(f'"http://127.0.0.1:{port}/{number}"' for number in range(998))
    found = examine(f"sources: [{{type: scrape, targets: [{away}]}}]", "sources", timeout_s=60)
    assert len(found.of(Level.PROBLEM)) == 998
    assert all("Connection refused" in line.got for line in found.of(Level.PROBLEM)), found


def test_a_target_that_is_well_is_told_with_its_series(examine: Examine, target: Target) -> None:
    found = examine(scrape(target), "sources")
    assert found.told("ok", target.url, "up 1, 3 series") and not found.of(Level.PROBLEM), found
    assert target.served == 1


@pytest.mark.parametrize(
    ("behave", "more", "level", "text"),
    [
        (answers(404), "", "problem", "got HTTP status 404"),
        (answers(200, "<html>"), "", "problem", "malformed"),
        (answers(200, "a 1\n", Content_Type="text/html"), "", "warning", "Content-Type text/html"),
        (silent, ", timeout: 200ms", "problem", "no complete answer within 0.2s"),
        (silent, ", interval: 1m, timeout: 1m", "problem", "no complete answer within"),
        (None, ", sample_limit: 2", "problem", "got 3 samples, wanted at most 2"),
        (None, ", sample_limit: 3", "warning", "near to sample_limit 3"),
        (None, ", body_size_limit: 10", "problem", "body over 10B"),
        (
            None,
            ', authorization: {credentials_file: "/nowhere/token"}',
            "problem",
            "the secret cannot be read",
        ),
        (
            None,
            ", metric_relabel_configs: [{source_labels: [__name__], action: drop}]",
            "warning",
            "no series are left",
        ),
        (None, ", relabel_configs: [{source_labels: [job], action: drop}]", "warning", "targets: none"),
        (
            None,
            ', labels: {a: b}, relabel_configs: [{target_label: __address__, replacement: "a b"}]',
            "problem",
            "it is not scraped",
        ),
    ],
)
def test_what_is_wrong_with_a_target_is_told(
    examine: Examine, target: Target, behave: Any, more: str, level: str, text: str
) -> None:
    target.text, target.behave = PAGE, behave
    limit_s = 2.0 if "timeout: 1m" in more else 30.0
    found = examine(scrape(target, more), "shop", timeout_s=limit_s)
    assert found.told(level, "", text), found
    assert not found.told("problem", "", "the check itself failed")
    assert not found.told("problem", "", "not done within"), "what a target may take is cut to what is left"


def test_a_target_that_is_away_and_one_of_plain_http_where_tls_is_wanted(
    examine: Examine, target: Target
) -> None:
    away = f"127.0.0.1:{free_port()}"
    text = f'sources: [{{type: scrape, scheme: https, targets: ["{away}", "127.0.0.1:{target.port}"]}}]'
    found = examine(text, "sources")
    assert found.told("problem", away, "Connection refused"), found
    assert found.told("problem", str(target.port), "TLS"), found


def test_of_many_targets_that_are_well_a_few_have_lines(examine: Examine, target: Target) -> None:
    many = ", ".join(f'"{target.url}?number={n}"' for n in range(1, 51))
    params = "relabel_configs: [{source_labels: [__param_number], target_label: number}]"
    found = examine(f"sources: [{{type: scrape, name: many, targets: [{many}], {params}}}]", "sources")
    assert target.served == 50 and len(found.lines) == 21, found
    assert found.told("ok", "30 more targets", "up 1, 90 series"), found


def test_credentials_of_a_target_are_not_told(examine: Examine, target: Target) -> None:
    text = f'sources: [{{type: scrape, targets: ["{target.url}?token=s3cret"], params: {{key: [s3cret]}}}}]'
    found = examine(text, "sources")
    assert found.told("ok", target.url, "up 1") and "s3cret" not in repr(found), found


def test_discovery_answers_and_what_it_lists_is_fetched(
    examine: Examine, target: Target, tmp_path: Path
) -> None:
    (tmp_path / "good.json").write_text(f'[{{"targets": ["127.0.0.1:{target.port}"]}}]')
    (tmp_path / "bad.json").write_text("[{")
    listed = f'[{{"targets": ["127.0.0.1:{target.port}"], "labels": {{"zone": "a"}}}}]'
    with running_target(behave=answers(200, listed, Content_Type="application/json")) as lister:
        text = f"""sources:
- {{type: scrape, name: files, file_sd: {{files: [good.json]}}}}
- {{type: scrape, name: broken, file_sd: {{files: [bad.json]}}}}
- {{type: scrape, name: http, http_sd: {{url: "{lister.url}"}}}}
- {{type: scrape, name: away, http_sd: {{url: "http://127.0.0.1:{free_port()}/"}}}}
"""
        found = examine(text, "sources")
    by_part = {part: [line for _, p, line in found.lines if p == part] for _, part, _ in found.lines}
    for part, kind in (("files", "file_sd"), ("http", "http_sd")):
        assert any(kind in str(line) and "1 targets" in line.got for line in by_part[part]), found
        assert any("up 1, 3 series" in line.got for line in by_part[part]), found
    assert any(line.level == "problem" and "bad.json" in line.got for line in by_part["broken"]), found
    assert any(line.level == "problem" and "Connection refused" in line.got for line in by_part["away"]), (
        found
    )


def test_a_cluster_that_answers_and_one_that_is_away(examine: Examine, tmp_path: Path) -> None:
    def kubeconfig(name: str, url: str) -> None:
        (tmp_path / name).write_text(
            "{current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}],"
            f' clusters: [{{name: a, cluster: {{server: "{url}"}}}}], users: [{{name: a, user: {{}}}}]}}'
        )

    kubeconfig("away", f"http://127.0.0.1:{free_port()}")
    with running_kubernetes() as api:
        kubeconfig("there", api.url)
        text = """sources:
- {type: scrape, name: there, kubernetes_sd: {kubeconfig_file: there}}
- {type: scrape, name: away, kubernetes_sd: {kubeconfig_file: away}}
"""
        found = examine(text, "sources")
    assert found.told("ok", "kubernetes_sd", "0 targets"), found
    assert found.told("problem", "kubernetes_sd", "Connection refused"), found


def test_a_real_node_exporter(examine: Examine, node_exporter: Server) -> None:
    text = f'sources: [{{type: scrape, targets: ["{node_exporter.url}/metrics"]}}]'
    found = examine(text)
    assert found.told("ok", node_exporter.url, "up 1"), found
    assert found.told("ok", "clock", "of that of"), found
    assert found.told("ok", "room", "samples/s over 30d"), found


def test_programs_are_looked_for_and_not_run(examine: Examine, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for name, mode in (("good", 0o755), ("closed", 0o644)):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (tmp_path / name).chmod(mode)
    text = f"""sources:
- type: exec
  binaries: [.]
  integrations:
  - {{name: whole, exec: "{tmp_path}/good"}}
  - {{name: good}}
  - {{name: path, exec: "sh -c true"}}
  - {{name: closed-one, exec: "{tmp_path}/closed"}}
  - {{name: absent}}
  - {{name: none, exec: nothing-is-called-so}}
  - {{name: folder, exec: "sh", working_dir: nowhere}}
  - {{name: secret, exec: sh, env: {{A: "file:/nowhere/key"}}}}
  - {{name: later, exec: nothing, when: {{feature: x}}}}
"""
    found = examine(text, "sources")
    assert {line.about for line in found.of(Level.OK)} == {"whole", "good", "path", "later"}, found
    wrong = {line.about for line in found.of(Level.PROBLEM)}
    assert wrong == {"closed-one", "absent", "none", "folder", "secret"}, found
    assert found.told("problem", "closed-one", "may not be run by user")
    assert not ran.exists()


def test_collectors_are_loaded_and_not_called(examine: Examine, tmp_path: Path) -> None:
    called = tmp_path / "called"
    (tmp_path / "good.py").write_text(
        "from metricsmith.collector import collector\n\n@collector\ndef depth():\n"
        f"    open({str(called)!r}, 'w')\n    return 1\n"
    )
    (tmp_path / "bad.py").write_text("def depth(:\n")
    found = examine("sources: [{type: python, files: [good.py, bad.py], modules: [no.such]}]", "sources")
    assert found.told("ok", "collectors", "good.depth"), found
    assert found.told("problem", "bad.py", "bad.py:1: invalid syntax"), found
    assert found.told("problem", "no.such", "ModuleNotFoundError"), found
    assert not called.exists()


def test_the_machine_is_read_once(examine: Examine) -> None:
    found = examine("sources: [{type: host}, {type: host, name: odd, proc_path: /nowhere}]", "sources")
    assert found.told("ok", "reading", "series each time"), found
    assert found.told("problem", "proc_path", "no folder /nowhere"), found


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_addresses_of_the_bus(examine: Examine, taken: int, tmp_path: Path) -> None:
    free = free_port()
    text = f"""sources:
- {{type: bus, name: free, endpoint: "tcp://127.0.0.1:{free}"}}
- {{type: bus, name: taken, endpoint: "tcp://127.0.0.1:{taken}"}}
- {{type: transfer, name: open, endpoint: "tcp://*:{free}"}}
- {{type: bus, name: reached, endpoint: "tcp://127.0.0.1:{taken}", bind: false}}
- {{type: bus, name: away, endpoint: "tcp://127.0.0.1:{free}", bind: false}}
- {{type: bus, name: path, endpoint: "ipc://{tmp_path}/no/such.sock"}}
- {{type: processes, address: "tcp://127.0.0.1:{taken}"}}
sinks:
- {{type: bus, name: sends, endpoint: "tcp://127.0.0.1:{free}"}}
"""
    found = examine(text, "sources", "sinks")
    told = {part: line for _, part, line in found.lines}
    assert (told["free"].level, told["reached"].level) == (Level.OK, Level.OK), found
    assert told["taken"].level is Level.PROBLEM and "is used by process" in told["taken"].got, found
    assert told["open"].level is Level.WARNING and "without authentication" in told["open"].got, found
    assert told["away"].level is Level.PROBLEM and "Connection refused" in told["away"].got, found
    assert told["sends"].level is Level.PROBLEM and told["path"].level is Level.PROBLEM, found
    assert told["processes"].level is Level.PROBLEM, found
