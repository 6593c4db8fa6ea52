"""What must be true of configuration: documented files load, every mistake is named with line and hint."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.config import load_file, load_text
from metricsmith.config.settings import Mode
from metricsmith.errors import ConfigError

DOCUMENTED = """
service: {type: standalone, name: demo}
server: {listen: 127.0.0.1:9480}
storage: {type: embedded, path: ./data, retention: 30d}
sources:
  - type: scrape            # job = name, instance = host:port, as Prometheus has them
    name: shop
    interval: 15s
    targets: ["http://127.0.0.1:3000/metrics"]
    labels: {environment: production}
processors: []
sinks: []
rules: {files: []}
"""


def problems(text: str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "m.yaml", environment or {})
    return [str(p) for p in caught.value.problems]


def test_documented_file_loads() -> None:
    configuration = load_text(DOCUMENTED, "m.yaml", {})
    assert configuration.settings.service.name == "demo"
    assert configuration.settings.storage.retention == 30 * 86_400_000
    assert [(p.type, p.name) for p in configuration.of("sources")] == [("scrape", "shop")]


def test_file_with_a_bus_and_no_mode_is_a_consumer() -> None:
    assert load_text("bus: {endpoint: 'tcp://localhost:1'}", "", {}).settings.service.type is Mode.CONSUMER
    text = "bus: {endpoint: 'tcp://localhost:1'}\nservice: {type: producer}"
    assert load_text(text, "", {}).settings.service.type is Mode.PRODUCER


def test_store_has_what_variables_say() -> None:
    environment = {
        "METRICSMITH_STORAGE_TYPE": "prometheus",
        "METRICSMITH_STORAGE_URL": "http://metrics:9090",
        "METRICSMITH_STORAGE_TLS_CA_FILE": "/ca.pem",
        "METRICSMITH_RETENTION": "2d",
    }
    store = load_text("", "", environment).store
    assert (store.type, store.name, store.config.url) == ("prometheus", "storage", "http://metrics:9090")
    assert (store.config.tls.ca_file, store.config.retention) == ("/ca.pem", 2 * 86_400_000)


def test_seed_file_loads_unchanged(seed_002: str) -> None:
    start = seed_002.index("# config/metric.yaml")
    settings = load_text(seed_002[start : seed_002.index("```", start)], "metric.yaml", {}).settings
    assert settings.service.type is Mode.CONSUMER
    assert (settings.storage.type, settings.storage.database) == ("influxdb", "plantd_metrics")
    assert [(r.name, r.threshold, r.duration) for r in settings.alerts.rules] == [
        ("high_cpu", 80, 300_000),
        ("high_memory", 90, 120_000),
    ]
    assert "password" not in repr(settings.storage.password)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("servr: {}", ['m.yaml:1: servr: unknown key (did you mean "server"?)']),
        (
            "service:\n  interval: 15",
            ["m.yaml:2: service.interval: got 15, wanted a duration with its unit, such as 15s"],
        ),
        (
            "service:\n  interval: '15'",
            ['m.yaml:2: service.interval: got "15", wanted a duration such as 15s, 5m or 1h30m'],
        ),
        ("server: {listen: 9480}", ["m.yaml:1: server.listen: got 9480, wanted text (in quotes it is text)"]),
        (
            "server: {listen: localhost}",
            ['m.yaml:1: server.listen: got "localhost", wanted HOST:PORT such as 127.0.0.1:9480'],
        ),
        ("storage: {password: [x]}", ["m.yaml:1: storage.password: got a secret (not shown), wanted text"]),
        ("sinks: {}", ["m.yaml:1: sinks: got a mapping, wanted a list"]),
        ("- a", ["m.yaml:1: got a list, wanted sections such as service:"]),
        ("a: [", ["m.yaml:2: not YAML: while parsing a flow node did not find expected node content"]),
        ("storage: {url: '${NO_SUCH}'}", ["m.yaml:1: storage.url: environment variable NO_SUCH is not set"]),
        (
            "sources:\n- {type: scrape, name: a, targets: [x]}\n- {type: scrape, name: a, targets: [y]}",
            [
                'm.yaml:3: sources[1].name: a second part is called "a", wanted distinct names '
                "(the first is on line 2; set `name`)"
            ],
        ),
    ],
)
def test_mistake_is_named(text: str, wanted: list[str]) -> None:
    assert problems(text) == wanted


def test_every_mistake_is_reported_in_file_order() -> None:
    text = "service: {type: x}\nlogging:\n  level: loud\n  level: info\nsources:\n  - type: scrap\n  - 7\n"
    found = problems(text)
    assert [p.split(": ")[1] for p in found] == [
        "service.type",
        "logging.level",
        "sources[0].type",
        "sources[1]",
    ]


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"METRICSMITH_TYPE": "producer"}, ("service", "type", Mode.PRODUCER)),
        ({"PLANTD_MODULE_METRIC_TYPE": "producer"}, ("service", "type", Mode.PRODUCER)),
        (
            {"PLANTD_MODULE_METRIC_TYPE": "consumer", "METRICSMITH_TYPE": "producer"},
            ("service", "type", Mode.PRODUCER),
        ),
        ({"METRICSMITH_INTERVAL": "30s"}, ("service", "interval", 30_000)),
        ({"METRICSMITH_RETENTION": "7d"}, ("storage", "retention", 7 * 86_400_000)),
        ({"METRICSMITH_STORAGE_TYPE": "influxdb"}, ("storage", "type", "influxdb")),
        ({"METRICSMITH_STORAGE_URL": "http://localhost:1"}, ("storage", "url", "http://localhost:1")),
        ({"METRICSMITH_BUS_ENDPOINT": "tcp://localhost:2"}, ("bus", "endpoint", "tcp://localhost:2")),
        ({"METRICSMITH_BATCH_SIZE": "50"}, ("performance", "batch_size", 50)),
        ({"METRICSMITH_FLUSH_INTERVAL": "30s"}, ("performance", "flush_interval", 30_000)),
        ({"METRICSMITH_LOG_LEVEL": "debug"}, ("logging", "level", "debug")),
        ({"METRICSMITH_LOG_FORMAT": "json"}, ("logging", "format", "json")),
        ({"METRICSMITH_SERVER_LISTEN": "[::1]:1"}, ("server", "listen", "[::1]:1")),
        ({"METRICSMITH_RULES_FILES": "a.yml, b.yml"}, ("rules", "files", ("a.yml", "b.yml"))),
        ({"METRICSMITH_ALERTS_ENABLED": "false"}, ("alerts", "enabled", False)),
        ({"METRICSMITH_STORAGE_PASSWORD": "123"}, ("storage", "password", "123")),
        ({"METRICSMITH_STORAGE_DATABASE": "123"}, ("storage", "database", "123")),
        ({"METRICSMITH_SERVICE_NAME": "2024-13-45"}, ("service", "name", "2024-13-45")),
        ({"METRICSMITH_STORAGE_MAX_DISK": "4096"}, ("storage", "max_disk", 4096)),
        ({"METRICSMITH_ALERTS_ENABLED": "Off"}, ("alerts", "enabled", False)),
    ],
)
def test_environment_overrides_the_file(environment: dict[str, str], wanted: tuple[str, str, object]) -> None:
    section, key, value = wanted
    found = getattr(getattr(load_text("", "", environment).settings, section), key)
    assert (found.get_secret_value() if key == "password" else found) == value


def test_bad_variable_is_named_instead_of_the_file() -> None:
    found = problems("service: {interval: 10s}", {"METRICSMITH_INTERVAL": "soon"})
    assert found == [
        'environment variable METRICSMITH_INTERVAL: service.interval: got "soon", '
        "wanted a duration such as 15s, 5m or 1h30m"
    ]


@pytest.mark.parametrize(
    ("variable", "value", "wanted"),
    [
        ("INTERVAL", "2024-13-45", 'service.interval: got "2024-13-45", wanted a duration'),
        ("INTERVAL", "[" * 5000, "service.interval: got "),
        ("BATCH_SIZE", "[" * 5000, "performance.batch_size: got "),
        ("BATCH_SIZE", "9" * 5000, "performance.batch_size: got "),
        ("BATCH_SIZE", "1.5", 'performance.batch_size: got "1.5", wanted a whole number'),
        ("ALERTS_ENABLED", "2024-13-45", "alerts.enabled: got "),
        ("LOG_LEVEL", "off", 'logging.level: got "off", wanted one of trace'),
        ("COLLECTION_SYSTEM", "disk_usage,cpu", 'collection.system[1]: got "cpu", wanted one of cpu_usage'),
    ],
)
def test_odd_values_of_variables_are_mistakes_like_others(variable: str, value: str, wanted: str) -> None:
    (found,) = problems("collection: {system: [cpu_usage, disk_usage]}", {f"METRICSMITH_{variable}": value})
    assert found.startswith(f"environment variable METRICSMITH_{variable}: {wanted}")


def test_a_variable_does_not_hide_that_the_file_is_wrong() -> None:
    for text, path in (("service: 5", "service"), ("server: {metrics: [a]}", "server.metrics")):
        environment = {"METRICSMITH_INTERVAL": "10s", "METRICSMITH_SERVER_METRICS_PREFIX": "a_"}
        (found,) = problems(text, environment)
        assert found.startswith(f"m.yaml:1: {path}: got ")
        assert "wanted a mapping" in found


def test_variables_of_applications_that_share_the_environment_are_not_noted() -> None:
    both = {
        "METRICSMITH_ENABLED": "no",
        "METRICSMITH_PROMETHEUS_PORT": "9100",
        "METRICSMITH_PUSH_URL": "http://a",
    }
    assert load_text("", "", {**both, "METRICSMITH_SERVICE_NAME": "shop"}).notes == ()


def test_unknown_variable_is_noted_with_the_nearest_name() -> None:
    environment = {
        "METRICSMITH_SERVER_LISTN": "x",
        "PLANTD_MODULE_METRIC_ZZZ": "x",
        "METRICSMITH_SERVICE_HOST": "10.0.0.1",
        "METRICSMITH_CONFIG": "m.yaml",
        "SHELL": "x",
    }
    assert [str(note) for note in load_text("", "", environment).notes] == [
        "environment variable METRICSMITH_SERVER_LISTN: belongs to no setting "
        "(did you mean METRICSMITH_SERVER_LISTEN?)",
        "environment variable PLANTD_MODULE_METRIC_ZZZ: belongs to no setting",
    ]


def test_references_are_replaced_except_where_they_are_regex_groups() -> None:
    text = """
storage: {password: "${SECRET}"}
sources:
- type: scrape
  targets: [x]
  relabel_configs: [{source_labels: [a], regex: "(?P<SECRET>.*)", replacement: "${SECRET}", target_label: b}]
"""
    configuration = load_text(text, "", {"SECRET": "hush"})
    assert configuration.settings.storage.password is not None
    assert configuration.settings.storage.password.get_secret_value() == "hush"
    assert "hush" not in repr(configuration)


def test_missing_and_binary_files_are_problems(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_file(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read: not UTF-8"):
        load_file(tmp_path / "binary.yaml")


@given(st.text(alphabet=st.sampled_from("abc:-[]{}&*!%'\"\n #,|>?@$0.~\t")))
def test_any_text_is_a_configuration_or_named_problems(text: str) -> None:
    try:
        load_text(text, "m.yaml", {})
    except ConfigError as error:
        assert error.problems
