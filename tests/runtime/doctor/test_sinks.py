"""Sinks, stores and those who are told of alerts, before they are used: nothing is delivered by the look."""

from __future__ import annotations

import threading
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from metricsmith.model.findings import Level
from metricsmith.testing.certificates import Certificates
from metricsmith.testing.newrelic_server import newrelic_server
from metricsmith.testing.oci_server import OciServer
from metricsmith.testing.services import Server, free_port
from metricsmith.testing.targets import running_target, silent

Examine = Callable[..., Any]


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        text: str = answer.read().decode()
        return text


def test_remote_write_to_a_real_prometheus(examine: Examine, prometheus: Server) -> None:
    names = f"{prometheus.url}/api/v1/label/__name__/values"
    before = get(names)
    text = f"""sinks:
- {{type: remote_write, name: good, url: "{prometheus.url}/api/v1/write"}}
- {{type: remote_write, name: path, url: "{prometheus.url}/api/v1/written"}}
- {{type: remote_write, name: away, url: "http://127.0.0.1:{free_port()}/"}}
- {{type: remote_write, name: tls, url: "{prometheus.url.replace("http:", "https:")}/api/v1/write"}}
"""
    found = examine(text, "sinks", "clock")
    told = {part: line for area, part, line in found.lines if area == "sinks"}
    assert told["good"].level is Level.OK, found
    assert told["path"].level is Level.PROBLEM and "404" in told["path"].got, found
    assert "Connection refused" in told["away"].got and "does not speak it" in told["tls"].got, found
    assert found.told("ok", "clock", "of that of"), found
    assert get(names) == before


def test_a_real_influxdb(examine: Examine, influxdb: Server) -> None:
    statement = urllib.parse.urlencode({"q": "CREATE DATABASE doctor WITH DURATION 7d"})
    urllib.request.urlopen(f"{influxdb.url}/query", statement.encode(), timeout=60).close()
    text = f"""sinks:
- {{type: influxdb, name: there, url: "{influxdb.url}", database: doctor}}
- {{type: influxdb, name: longer, url: "{influxdb.url}", database: doctor, retention: 30d}}
- {{type: influxdb, name: absent, url: "{influxdb.url}", database: doctor_none}}
- {{type: influxdb, name: made, url: "{influxdb.url}", database: doctor_none, create: true}}
- {{type: influxdb, name: away, url: "http://127.0.0.1:{free_port()}", database: a}}
"""
    found = examine(text, "sinks")
    told = {part: line for _, part, line in found.lines if "retention" not in line.about}
    assert (told["there"].level, told["made"].level) == (Level.OK, Level.OK), found
    assert told["absent"].level is Level.PROBLEM and "create" in told["absent"].hint, found
    assert told["away"].level is Level.PROBLEM, found
    assert found.told("ok", "retention policy", "1w"), found
    assert found.told("warning", "retention policy", "1w, wanted retention, 30d"), found
    assert "doctor_none" not in get(f"{influxdb.url}/query?q=SHOW+DATABASES")


@pytest.mark.parametrize(
    ("status", "hint"),
    [(200, ""), (401, "check the"), (404, "check the address"), (503, "its own log")],
)
def test_otlp(examine: Examine, status: int, hint: str) -> None:
    bodies: list[bytes] = []

    def answer(handler: BaseHTTPRequestHandler, _closing: threading.Event) -> None:
        assert handler.headers["Content-Encoding"] == "gzip"
        bodies.append(handler.rfile.read(int(handler.headers["Content-Length"])))
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with running_target(behave=answer) as collector:
        found = examine(f'sinks: [{{type: otlp, url: "{collector.url}"}}]', "sinks")
    assert found.told(
        "ok" if status == 200 else "problem", collector.url, "" if status == 200 else str(status)
    )
    assert len(bodies) == 1
    assert all(hint in str(line) for line in found.of(Level.PROBLEM)), found


def test_one_that_never_answers_is_told_once_with_what_to_do(examine: Examine) -> None:
    with running_target(behave=silent) as deaf:
        text = f"""sinks:
- {{type: otlp, url: "{deaf.url}", timeout: 300ms}}
- {{type: remote_write, url: "{deaf.url}", timeout: 300ms}}
- {{type: influxdb, url: "http://127.0.0.1:{deaf.port}", database: d, timeout: 300ms}}
"""
        found = examine(text, "sinks")
    assert [part for _, part, _ in found.lines] == ["otlp", "remote_write", "influxdb"], found
    for _, _, line in found.lines:
        assert "no answer within 0.3s" in line.got and line.hint, found


def test_new_relic_is_reached_and_given_nothing(examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "user").write_text("NRAK-abc")
    with newrelic_server() as far:
        text = f"""sinks:
- {{type: newrelic, name: good, api_key: "a-licence-key", endpoint: "{far.metrics_url}"}}
- {{type: newrelic, name: user, api_key: "file:user", endpoint: "{far.metrics_url}"}}
- {{type: newrelic, name: file, api_key: "file:none", endpoint: "http://127.0.0.1:{free_port()}/"}}
"""
        found = examine(text, "sinks")
        assert not far.requests or all(request.status >= 400 for request in far.requests)
    levels = {(part, line.about == "api_key"): line.level for _, part, line in found.lines}
    assert (levels["good", True], levels["good", False]) == (Level.OK, Level.OK), found
    assert (levels["user", True], levels["file", True]) == (Level.PROBLEM, Level.PROBLEM), found
    assert found.told("problem", "127.0.0.1", "Connection refused") and "NRAK-abc" not in repr(found), found


def test_oci_credentials_are_read_and_nothing_is_posted(examine: Examine, tmp_path: Path) -> None:
    with OciServer() as service:
        file = service.key.write_config(tmp_path)
        settings = f'namespace: a, compartment_id: ocid1.compartment.oc1..aaaa, endpoint: "{service.url}"'
        text = f"""sinks:
- {{type: oci, name: good, {settings}, config_file: "{file}"}}
- {{type: oci, name: profile, {settings}, config_file: "{file}", profile: NONE}}
- {{type: oci, name: file, {settings}, config_file: "{tmp_path}/none"}}
"""
        found = examine(text, "sinks")
        assert service.calls == 0
    levels = {part: {line.level for _, p, line in found.lines if p == part} for _, part, _ in found.lines}
    assert levels == {
        "good": {Level.OK},
        "profile": {Level.OK, Level.PROBLEM},
        "file": {Level.OK, Level.PROBLEM},
    }, found


def test_a_folder_of_files(examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    text = "sinks: [{type: file, name: new, path: a/b}, {type: file, name: odd, path: file/below}]"
    found = examine(text, "sinks")
    assert found.told("ok", "a/b", "it will be made") and not (tmp_path / "a").exists(), found
    assert found.told("problem", "file/below", "is no folder"), found


def test_stores_on_other_servers(examine: Examine, prometheus: Server, influxdb: Server) -> None:
    for kind, url, more in (
        ("prometheus", prometheus.url, ""),
        ("influxdb", influxdb.url, ", database: doctor_store"),
    ):
        found = examine(f'storage: {{type: {kind}, url: "{url}"{more}}}', "storage")
        assert not found.of(Level.PROBLEM) and found.lines, found
        away = f'storage: {{type: {kind}, url: "http://127.0.0.1:{free_port()}"{more}}}'
        assert examine(away, "storage").of(Level.PROBLEM)


def test_those_who_are_told_of_alerts(examine: Examine, alertmanager: Server) -> None:
    with running_target() as hook:
        text = f"""alerts:
  webhook_url: "http://127.0.0.1:{hook.port}/hooks/s3cret"
  notify: ["json://127.0.0.1:{free_port()}/s3cret"]
  alertmanagers:
  - {{url: "{alertmanager.url}"}}
  - {{url: "{alertmanager.url}", path_prefix: /none}}
  - {{urls: ["http://127.0.0.1:{free_port()}"]}}
"""
        found = examine(text, "alerts")
    assert found.told("ok", f"Alertmanager {alertmanager.url}", "took an empty request"), found
    assert found.told("problem", f"Alertmanager {alertmanager.url}", "404"), found
    assert found.told("problem", "Alertmanager", "Connection refused"), found
    assert found.told("ok", "webhook_url", "answers (HTTP") and "s3cret" not in repr(found), found
    assert get(f"{alertmanager.url}/api/v2/alerts").strip() == "[]"


def test_a_certificate_that_is_not_trusted(examine: Examine, tmp_path: Path) -> None:
    import ssl
    from http.server import HTTPServer

    made = Certificates.make(tmp_path / "certificates")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.server_pem)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        url = f"https://127.0.0.1:{server.server_port}/"
        found = examine(f'sinks: [{{type: remote_write, url: "{url}"}}]', "sinks")
    finally:
        server.shutdown()
        server.server_close()
    assert found.told("problem", url, "its certificate is not trusted"), found


def test_the_sink_that_writes_a_store_is_looked_at_too(examine: Examine, prometheus: Server) -> None:
    text = f'storage: {{type: prometheus, url: "{prometheus.url}", write_url: "{prometheus.url}/none"}}'
    found = examine(text, "storage")
    assert found.told("ok", prometheus.url, "answers queries"), found
    assert found.told("problem", f"{prometheus.url}/none", "it refused: 405") or found.told(
        "problem", "/none", "404"
    ), found


def test_alertmanagers_of_files(examine: Examine, alertmanager: Server, tmp_path: Path) -> None:
    address = alertmanager.url.removeprefix("http://")
    (tmp_path / "good.json").write_text(f'[{{"targets": ["{address}", "a b"]}}]')
    (tmp_path / "bad.json").write_text("[{")
    text = "alerts: {alertmanagers: [{file_sd: {files: [good.json]}}, {file_sd: {files: [bad.json]}}]}"
    found = examine(text, "alerts")
    assert found.told("ok", "file_sd", "2 targets") and found.told("problem", "file_sd", "a b"), found
    assert found.told("ok", f"Alertmanager {alertmanager.url}", "took an empty request"), found
    assert found.told("problem", "file_sd", "bad.json"), found
