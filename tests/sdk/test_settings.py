"""Settings from the environment: names, aliases, forms, and mistakes that stop nobody."""

from __future__ import annotations

import pytest

from metricsmith.sdk.settings import ExportSettings, settings_from_environment, write_url

FORMS = [
    ("ENABLED", "no", "enabled", False),
    ("ENABLED", "TRUE", "enabled", True),
    ("SERVICE_NAME", " dataflow-platform ", "service_name", "dataflow-platform"),
    ("PROMETHEUS_PORT", "0", "prometheus_port", 0),
    ("PROMETHEUS_PORT", "9100", "prometheus_port", 9100),
    ("PROMETHEUS_HOST", "0.0.0.0", "prometheus_host", "0.0.0.0"),
    ("PROMETHEUS_ENABLED", "off", "prometheus_enabled", False),
    ("STATUS_PAGE_ENABLED", "false", "status_page_enabled", False),
    ("STATUS_PAGE_PORT", "65535", "status_page_port", 65535),
    ("TICK_INTERVAL", "30s", "tick_interval_s", 30.0),
    ("TICK_INTERVAL", "10 seconds", "tick_interval_s", 10.0),
    ("TICK_INTERVAL", "500 milliseconds", "tick_interval_s", 0.5),
    ("TICK_INTERVAL", "1 minute", "tick_interval_s", 60.0),
    ("PUSH_URL", "http://127.0.0.1:9480", "push_url", "http://127.0.0.1:9480/api/v1/write"),
    ("BUS_ENDPOINT", "tcp://localhost:11001", "bus_endpoint", "tcp://localhost:11001"),
    ("RUNTIME_METRICS", "none", "runtime_metrics", ()),
    ("RUNTIME_METRICS", "gc, Memory", "runtime_metrics", ("gc", "memory")),
]


@pytest.mark.parametrize("prefix", ["METRICSMITH_", "KAMON_"])
@pytest.mark.parametrize(("name", "text", "field", "wanted"), FORMS)
def test_each_variable_has_its_setting(prefix: str, name: str, text: str, field: str, wanted: object) -> None:
    found = settings_from_environment({prefix + name: text})
    assert getattr(found, field) == wanted
    assert found.problems == ()


def test_defaults_are_loopback_and_the_known_ports() -> None:
    found = settings_from_environment({})
    assert (found.enabled, found.tick_interval_s) == (True, 10.0)
    assert (found.prometheus_host, found.prometheus_port) == ("127.0.0.1", 9095)
    assert (found.status_page_host, found.status_page_port) == ("127.0.0.1", 5266)
    assert found.service_name


def test_ours_win_over_aliases_and_an_empty_one_is_none() -> None:
    both = {"METRICSMITH_PROMETHEUS_PORT": "1", "KAMON_PROMETHEUS_PORT": "2"}
    assert settings_from_environment(both).prometheus_port == 1
    assert settings_from_environment({**both, "METRICSMITH_PROMETHEUS_PORT": ""}).prometheus_port == 2


WRONG = [
    ("ENABLED", "maybe", "yes or no"),
    ("PROMETHEUS_PORT", "70000", "a port from 0"),
    ("PROMETHEUS_PORT", "٣", "a port from 0"),
    ("STATUS_PAGE_PORT", "-1", "a port from 0"),
    ("TICK_INTERVAL", "10", "a duration from 100ms to 1h, such as 10s"),
    ("TICK_INTERVAL", "1ms", "a duration"),
    ("TICK_INTERVAL", "1d", "a duration"),
    ("SERVICE_NAME", "a\nb", "a text of at most 200 characters"),
    ("PUSH_URL", "http://me:pa/ss@host:9480", "an address such as"),
    ("PUSH_URL", "http://host/a b", "an address such as"),
    ("PUSH_URL", "http://host:0/", "an address such as"),
    ("BUS_ENDPOINT", "localhost:11001", "an address such as tcp://localhost:11001"),
    ("RUNTIME_METRICS", "jvm,heap", "none, all, or some of process, memory"),
]


@pytest.mark.parametrize(("name", "text", "wanted"), WRONG)
def test_a_mistake_leaves_the_default_and_is_told(name: str, text: str, wanted: str) -> None:
    found = settings_from_environment({f"METRICSMITH_{name}": text})
    (problem,) = found.problems
    assert problem.startswith(f"METRICSMITH_{name}: got ") and f", wanted {wanted}" in problem
    assert settings_from_environment({}) == ExportSettings(**{**_fields(found), "problems": ()})


def test_passwords_are_in_no_text() -> None:
    settings = settings_from_environment({"METRICSMITH_PUSH_URL": "http://me:secret@host:9480/x"})
    assert settings.push_url and "secret" not in repr(settings)
    for text in ("ftp://me:secret@host", "http://me:secret/more@host:9480", "http://me:12/secret@host"):
        refused = settings_from_environment({"METRICSMITH_PUSH_URL": text})
        assert "secret" not in "".join(refused.problems)


@pytest.mark.parametrize("text", ["127.0.0.1:9480", "http://", "", "http://[::1", "file:///etc"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        write_url(text)


def _fields(settings: ExportSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in ExportSettings.__slots__}


@pytest.mark.parametrize(
    ("started_with", "name"),
    [("/srv/shop/app.py", "app"), ("/srv/shop/__main__.py", "shop"), ("-c", "python"), ("", "python")],
)
def test_a_service_without_a_name_has_that_of_its_program(
    started_with: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [started_with])
    assert settings_from_environment({}).service_name == name
