"""Names that may be an attacker's are refused; names that nobody else can own are not."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from metricsmith.model.host_names import AllowedHosts, own_names

NAMES = ("metrics.example.com", "*.example.org")


@pytest.mark.parametrize(
    ("host", "let_in"),
    [
        ("127.0.0.1:9480", True),
        ("192.168.7.9", True),
        ("[::1]:9480", True),
        ("[fe80::1%25eth0]", False),
        ("localhost:9480", True),
        ("LOCALHOST", True),
        ("shop.localhost", True),
        (socket.gethostname(), True),
        ("metricsmith:9480", True),  # a service of Compose, or of the same namespace
        ("metricsmith.monitoring.svc", True),
        ("metricsmith.monitoring.svc.cluster.local:9480", True),
        ("host.docker.internal", True),
        ("metrics.example.com", True),
        ("METRICS.example.com.:443", True),
        ("a.b.example.org", True),
        ("example.org", False),
        ("badexample.org", False),
        ("x.metrics.example.com", False),
        ("evil.example:9480", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1@evil.example", False),
        ("[::1].evil.example", False),
        ("evil.example:", False),
        ("a b", False),
        ("\xff", False),
        ("", True),  # no browser leaves it out
    ],
)
def test_on_loopback_every_request_is_looked_at(host: str, let_in: bool) -> None:
    assert (AllowedHosts("127.0.0.1", NAMES).refused({"host": host}) == "") is let_in


@pytest.mark.parametrize("listen", ["0.0.0.0", "::", "192.168.7.9"])
def test_beyond_loopback_only_browsers_are(listen: str) -> None:
    allowed = AllowedHosts(listen)
    for host in ("metricsmith.monitoring:9480", "metrics.example.com"):
        assert allowed.refused({"host": host, "user-agent": "Grafana/11"}) == ""
        for name in ("origin", "accept-language", "sec-fetch-site"):
            assert allowed.refused({"host": host, name: ""}) == host
    assert allowed.refused({"host": "192.168.7.9:9480", "origin": "http://192.168.7.9:9480"}) == ""


def test_the_name_that_is_listened_at_and_a_star() -> None:
    browser = {"host": "edge-7.example.com:9480", "accept-language": "en"}
    assert AllowedHosts("0.0.0.0").refused(browser)
    assert not AllowedHosts("edge-7.example.com").refused(browser)
    assert not AllowedHosts("0.0.0.0", ["*"]).refused(browser)


def test_the_hosts_file_says_what_else_this_machine_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Box")
    file = tmp_path / "hosts"
    file.write_text(
        "127.0.0.1 localhost\n127.0.1.1 Box.corp.example box # box.evil.example\n10.0.0.9 other.example\n"
    )
    assert own_names(str(file)) == {"box", "box.corp.example"}
    assert own_names(str(tmp_path / "none")) == {"box"}
