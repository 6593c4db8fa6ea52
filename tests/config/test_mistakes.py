"""A mistake is told once, in the words of the file, and all of them in one round."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SCRAPE = "sources:\n- type: scrape\n  targets: [a]\n"
TARGET = "sources:\n- type: scrape\n  targets:\n  - "

Problems = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("service: {interval: 0s}", 'service.interval: got "0s", wanted at least 100ms'),
        ("service: {interval: 2d}", 'service.interval: got "2d", wanted at most 1d'),
        ("service: {interval: }", "service.interval: got nothing, wanted a duration with its unit"),
        ("storage: {retention: 0s}", 'storage.retention: got "0s", wanted at least 1m'),
        ("journal: {segment_size: 1KB}", 'journal.segment_size: got "1KB", wanted at least 4KB'),
        ("storage: {head_bytes: 1}", "storage.head_bytes: got 1, wanted at least 64KB"),
        ("journal: {segment_size: 2GB}", 'journal.segment_size: got "2GB", wanted at most 1GB'),
        ("server: {max_body: 5}", "server.max_body: got 5, wanted at least 1KB"),
        ("server: {max_body: -5}", "server.max_body: got -5, wanted a size such as 64MB"),
        (SCRAPE + "  timeout: 0s", 'sources[0].timeout: got "0s", wanted at least 1ms'),
        ("service: {batch_size: x}", 'service.batch_size: got "x", wanted a whole number'),
        ("service: {batch_size: 1.5}", "service.batch_size: got 1.5, wanted a whole number"),
        ("service: {batch_size: 0}", "service.batch_size: got 0, wanted at least 1"),
        ("service: {name: ''}", 'service.name: got "", wanted text of at least 1 character'),
        ("service: {name: 5}", "service.name: got 5, wanted text (in quotes it is text)"),
        ("alerts: {enabled: maybe}", 'alerts.enabled: got "maybe", wanted true or false'),
        ("rules: {files: a.yml}", 'rules.files: got "a.yml", wanted a list'),
        ("rules: [a.yml]", "rules: got a list, wanted a mapping of keys to values"),
        ("alerts: {rules: [{name: a, metric: b, operator: '>', threshold: hi}]}", "wanted a number"),
        ("logging: {format: jsn}", 'got "jsn", wanted one of text, json (did you mean "json"?)'),
        ("logging: {level: inf}", '(did you mean "info"?)'),
        ("alerts: {rules: [{name: a, metric: b, threshold: 1, operator: =>}]}", '(did you mean ">="?)'),
        ("alerts: {rules: [{name: a, metric: b, threshold: 1, operator: =!}]}", '(did you mean "!="?)'),
        ("server: {metrics: {prefix: a-b}}", "text that matches ^[a-zA-Z0-9_:]*$"),
        (
            "sinks: [{type: otlp, url: 'localhost:4318'}]",
            'got "localhost:4318", wanted a URL that begins with http:// or https://',
        ),
        ("sinks: [{type: influxdb}]", "got a mapping, wanted exactly one of database"),
        ("sinks: [{type: buss}]", 'sinks[0].type: got "buss", wanted'),
        ("sinks: [7]", "sinks[0]: got 7, wanted a mapping with a `type`"),
        ("sinks: [{type: bus, processors: 7}]", "sinks[0].processors: got 7, wanted a list"),
        (
            "sinks: [{type: bus, processors: [{type: relabell}]}]",
            'sinks[0].processors[0].type: got "relabell", wanted',
        ),
        ("sources: [{name: a}]", "sources[0]: `type` is missing, wanted one of "),
        ("sources: [7]", "sources[0]: got 7, wanted a mapping with a `type`"),
        ("sources: [{type: [a]}]", "sources[0].type: got a list, wanted one of "),
        ("sources: [{type: scrap}]", '(did you mean "scrape"?)'),
        ("storage: {type: embeded}", '(did you mean "embedded"?)'),
        ("storage: {type: influxdb2}", '(did you mean "influxdb"?)'),
        (SCRAPE + "  name: ''", 'sources[0].name: got "", wanted text of 1 to 200 characters'),
        (SCRAPE + "  name: 5", "sources[0].name: got 5, wanted text of 1 to 200 characters"),
        (SCRAPE + "  name: self", "sources[0].name: got the name of the agent's own metrics"),
        (SCRAPE + "  labels: {a-b: c}", 'sources[0].labels.a-b: got "a-b", wanted a label name'),
        (
            "sources: [{type: scrape}]",
            "sources[0]: got no targets, wanted targets, file_sd, http_sd or kubernetes_sd",
        ),
        ("sources: [{type: scrape, targets: []}]", "sources[0]: got no targets"),
    ],
)
def test_mistake_is_told_in_the_words_of_the_file(problems: Problems, text: str, wanted: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"m.yaml:{text.rstrip().count(chr(10)) + 1}: ")
    assert wanted in problem


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("http://127.0.0.1:99999/x", 'got "http://127.0.0.1:99999/x", wanted a port from 1 to 65535'),
        ("http://h:0/x", "wanted a port from 1 to 65535"),
        ("http://h:x/", "wanted a port from 1 to 65535"),
        ("h:99999", "wanted a port from 1 to 65535"),
        ("'http:// bad'", 'got "http:// bad", wanted a URL such as http://127.0.0.1:3000/metrics'),
        ("'http://h/a b'", "wanted a URL such as"),
        ("http:///x", "wanted a URL such as"),
        ("'http://[1'", "wanted a URL such as"),
        ("ftp://h:1", "wanted a URL such as"),
        ("''", "wanted HOST:PORT or a URL such as"),
        ("'[1'", "wanted HOST:PORT or a URL such as"),
        ("'::1'", "wanted HOST:PORT or a URL such as"),
        ("h/metrics", "wanted HOST:PORT or a URL such as"),
        ("http://ann:hush@h:99999", "got a URL with a user or password in it, wanted basic_auth"),
        ("ann:hush@h", "wanted HOST:PORT or a URL such as"),
        ("http://ann:hush@[1", "wanted a URL such as"),
        ("http://h:99999/?token=hush", 'got "http://h:99999/", wanted a port from 1 to 65535'),
    ],
)
def test_target_that_cannot_be_scraped_is_told_without_its_secrets(
    problems: Problems, target: str, wanted: str
) -> None:
    (problem,) = problems(TARGET + target)
    assert problem.startswith("m.yaml:4: sources[0].targets[0]: ")
    assert wanted in problem
    assert "hush" not in problem


def test_targets_from_elsewhere_suffice(load: Callable[..., object]) -> None:
    load("sources: [{type: scrape, file_sd: {files: [a.yml]}}]")
    load("sources: [{type: scrape, http_sd: {url: 'http://h:1/x'}}]")


def test_all_mistakes_are_told_in_one_round(problems: Problems) -> None:
    text = """
storage: {type: embeded, retention: 0s}
sources:
- type: scrape
  interval: 5s
  timeout: 6s
  targets:
  - a/b
  - fine:1
  - c:99999
- type: scrape
  interval: 0s
- type: scrape
  targets: [a]
  file_sd: {files: [a.txt, b.csv]}
- type: scrap
  name: scrape
"""
    assert [p.split(": ")[0:2] for p in problems(text)] == [
        ["m.yaml:2", "storage.type"],
        ["m.yaml:2", "storage.retention"],
        ["m.yaml:6", "sources[0].timeout"],
        ["m.yaml:8", "sources[0].targets[0]"],
        ["m.yaml:10", "sources[0].targets[2]"],
        ["m.yaml:11", "sources[1]"],
        ["m.yaml:11", "sources[1]"],
        ["m.yaml:12", "sources[1].interval"],
        ["m.yaml:13", "sources[2]"],
        ["m.yaml:15", "sources[2].file_sd.files[0]"],
        ["m.yaml:15", "sources[2].file_sd.files[1]"],
        ["m.yaml:16", "sources[3].type"],
        ["m.yaml:17", "sources[3].name"],
    ]


def test_name_of_the_sink_that_writes_the_store_is_taken(problems: Problems) -> None:
    sinks = "sinks: [{type: remote_write, name: storage, url: 'http://b'}]"
    assert problems(f"storage: {{type: prometheus, url: 'http://a'}}\n{sinks}") == [
        "m.yaml:2: sinks[0].name: got the name of the sink that writes the store (storage.type),"
        " wanted another"
    ]


def test_mistake_in_the_store_is_told_once(problems: Problems) -> None:
    assert problems("storage: {type: prometheus, retention: 1}") == [
        "m.yaml:1: storage.retention: got 1, wanted a duration with its unit, such as 15s",
        "m.yaml:1: storage.url: missing, wanted a value",
    ]


def test_what_follows_from_another_mistake_is_not_told(problems: Problems) -> None:
    assert problems("sources: [{type: scrape, targts: [a]}]") == [
        'm.yaml:1: sources[0].targts: unknown key (did you mean "targets"?)'
    ]
    assert problems("sources: [{type: scrape, targets: ['${NONE}']}]") == [
        "m.yaml:1: sources[0].targets[0]: environment variable NONE is not set"
    ]
    assert problems(SCRAPE + "  interval: soon\n  timeout: 1d") == [
        'm.yaml:4: sources[0].interval: got "soon", wanted a duration such as 15s, 5m or 1h30m'
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("scrape_configs: []", "targets go under sources, with type: scrape"),
        ("global: {}", "interval and timeout are set in each source"),
        ("rule_files: []", "rule files go under rules, as files"),
        (SCRAPE + "  job_name: a", '"name"'),
        (SCRAPE + "  nmae: a", 'did you mean "name"?'),
        (SCRAPE + "  scrape_interval: 5s", '"interval"'),
        (SCRAPE + "  scrape_timeout: 5s", '"timeout"'),
        (SCRAPE + "  static_configs: []", '"targets" and "labels"'),
        (SCRAPE + "  bearer_token: a", "authorization: {credentials: …}"),
        (SCRAPE + "  bearer_token_file: a", "authorization: {credentials_file: …}"),
        (SCRAPE + "  tls_config: {}", '"tls"'),
        (SCRAPE + "  file_sd_configs: []", '"file_sd"'),
        (SCRAPE + "  http_sd_configs: []", '"http_sd"'),
        (SCRAPE + "  file_sd: {files: [a.yml], refresh_interval: 1s}", '"refresh"'),
        ("service: {job_name: a}", 'here it is "name"'),
        ("journal: {job_name: a}", ""),
    ],
)
def test_names_that_prometheus_has_lead_to_ours(problems: Problems, text: str, hint: str) -> None:
    (problem,) = problems(text)
    assert "unknown key" in problem
    assert hint in problem
    assert bool(hint) == problem.endswith(")")
