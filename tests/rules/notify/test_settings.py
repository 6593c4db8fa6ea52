"""Settings of notification: what is wrong is told, and what is secret stays so."""

from __future__ import annotations

import subprocess
import sys

import pytest

from metricsmith.config.load import load_text
from metricsmith.config.shown import shown
from metricsmith.errors import ConfigError
from metricsmith.rules.notify.settings import is_alertmanager


@pytest.mark.parametrize(
    ("url", "it_is"),
    [
        ("http://alertmanager:9093/api/v1/alerts", True),
        ("https://my-alertmanager.example.com/api/v1/alerts/", True),
        ("http://10.0.0.7:9093/am/api/v1/alerts", True),
        ("http://anywhere.example.com/api/v2/alerts", True),
        ("http://receiver:8080/api/v1/alerts", False),
        ("http://alertmanager:9093/hook", False),
    ],
)
def test_an_alertmanager_is_known_by_its_address(url: str, it_is: bool) -> None:
    assert is_alertmanager(url) == it_is


def test_a_file_with_an_alertmanager_as_webhook_loads_and_says_so() -> None:
    text = """
alerts:
  webhook_url: "http://alertmanager:9093/api/v1/alerts"
  rules:
    - {name: a, metric: m, threshold: 1, operator: ">", webhook_url: "http://am:9093/api/v2/alerts"}
"""
    found = [note for note in load_text(text, "m.yml", {}).notes if "webhook_url" in note.path]
    assert [(note.line, note.path) for note in found] == [
        (3, "alerts.webhook_url"),
        (5, "alerts.rules[0].webhook_url"),
    ]
    assert all("alerts.alertmanagers" in note.hint and "not used" in note.message for note in found)


@pytest.mark.parametrize(
    ("alerts", "wanted"),
    [
        ("webhook_url: ftp://HUSH/x", "a URL such as https"),
        ("webhook_url: 'https://HUSH /x'", "a URL such as https"),
        ("notify: ['nosuch://HUSH/x']", "an address that Apprise knows"),
        ("alertmanagers: [{timeout: 5s}]", "wanted url, urls or file_sd"),
        ("alertmanagers: [{url: 'am:9093'}]", 'got "am:9093", wanted a URL such as http://127.0.0.1:9093'),
        (
            "alertmanagers: [{urls: ['am:9093']}]",
            'urls[0]: got "am:9093", wanted a URL such as http://127.0.0.1:9093',
        ),
        ("alertmanagers: [{url: 'http://u:HUSH@am:9093'}]", "wanted basic_auth"),
        (
            "alertmanagers: [{url: 'http://a', basic_auth: {}, authorization: {credentials: HUSH}}]",
            "at most one",
        ),
        ("alertmanagers: [{file_sd: {files: [am.txt]}}]", ".json, .yml or .yaml"),
        ("repeat_interval: 10ms", "at least 1s"),
    ],
)
def test_mistakes_are_told_without_secrets(alerts: str, wanted: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_text(f"alerts: {{{alerts}}}", "m.yml", {})
    assert wanted in str(error.value) and "HUSH" not in str(error.value)


def test_without_the_extra_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigError, match=r"pip install 'metricsmith\[notify\]'"):
        load_text("alerts: {notify: ['json://HUSH/x']}", "m.yml", {})


def test_pages_show_no_secret() -> None:
    text = """
alerts:
  webhook_url: https://hooks.example.com/HUSH1
  notify: ["json://HUSH2:HUSH3@localhost/"]
  alertmanagers:
    - {url: "http://am:9093/", basic_auth: {username: u, password: HUSH4}}
  rules:
    - {name: a, metric: m, threshold: 1, operator: ">", webhook_url: "https://HUSH5.example.com/"}
"""
    configuration = load_text(text, "m.yml", {})
    alerts = shown(configuration)["alerts"]
    assert alerts["alertmanagers"][0]["url"] == "http://am:9093/" and alerts["notify"] == ["<secret>"]
    assert "HUSH" not in f"{alerts} {configuration!r}"


def test_apprise_is_imported_only_when_it_is_used() -> None:
    code = "import metricsmith.runtime.service, sys; sys.exit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
