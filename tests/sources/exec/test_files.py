"""Integration files of the infrastructure agent: present, legacy, wrong, changing."""

from __future__ import annotations

import asyncio
import json

import pytest

from metricsmith.sources.exec.files import read_all
from metricsmith.sources.exec.settings import ExecConfig

WAIT_S = 60.0
DEFINITION = """\
name: com.acme.nginx
description: Reads nginx
protocol_version: 1
os: linux
commands:
  metrics:
    command:
      - ./bin/nginx
      - --metrics
    prefix: config/nginx
    interval: 45
"""
LEGACY = """\
integration_name: com.acme.nginx
instances:
  - name: nginx-main
    command: metrics
    arguments:
      status_url: http://127.0.0.1/status
      pages: 3
    labels:
      env: prod
      role: edge
"""


@pytest.fixture
def read(tmp_path):
    """Read files that hold the given texts; `definition` is a legacy definition file."""

    def found(*texts: str, definition: str = ""):
        for number, text in enumerate(texts):
            (tmp_path / f"{number}.yml").write_text(text)
        (tmp_path / "nginx-definition.yaml").write_text(definition or "name: other\ncommands: {}\n")
        config = ExecConfig(files=(f"{tmp_path}/*.yml",), definitions=(f"{tmp_path}/*-definition.yaml",))
        return read_all(config)

    return found


def test_all_that_an_entry_may_say_is_read(read):
    found = read("""\
integrations:
  - name: nri-redis
    cli_args: [-v, "--mode=all"]
    env: {HOST: 127.0.0.1, PORT: 6379, REMOTE_MONITORING: true}
    interval: 1m
    timeout: 10s
    labels: {env: production}
    tags: {team: 7}
    inventory_source: config/redis
    working_dir: /tmp
    integration_user: nobody
    when: {feature: docker, file_exists: /etc/redis, env_exists: {A: 1}}
    config: {keys: [a, b]}
    logs_queue_size: 500
  - name: short
    exec: /opt/it --flag "two words"
""")
    assert found.problems == []
    redis, short = (entry.integration for entry in found.entries)
    assert redis.cli_args == ("-v", "--mode=all")
    assert redis.env["PORT"].get_secret_value() == "6379"
    assert redis.env["REMOTE_MONITORING"].get_secret_value() == "true"
    assert (redis.interval, redis.timeout_ms, redis.tags) == (60_000, 10_000, {"team": "7"})
    assert redis.config == {"keys": ["a", "b"]}
    assert short.exec == ("/opt/it", "--flag", "two words")
    assert (short.interval, short.timeout_ms) == (30_000, 120_000)


def test_a_legacy_instance_is_run_by_its_definition(read, tmp_path):
    found = read(LEGACY, definition=DEFINITION)
    assert found.problems == []
    (entry,) = (e.integration for e in found.entries)
    assert (entry.name, entry.exec, entry.working_dir) == (
        "nginx-main",
        ("./bin/nginx", "--metrics"),
        str(tmp_path),
    )
    assert {k: v.get_secret_value() for k, v in entry.env.items()} == {
        "status_url": "http://127.0.0.1/status", "pages": "3",
    }  # fmt: skip
    assert (entry.interval, entry.inventory_source) == (45_000, "config/nginx")
    assert entry.labels == {"env": "prod", "role": "edge"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("integrations: [{name: a", "not YAML"),
        ("- a\n", "got no mapping"),
        ("integrations: 7\n", "wanted a list of integrations"),
        ("integrations: [7]\n", "wanted a mapping"),
        ("something: else\n", "missing or no list"),
        ("integrations:\n- exec: /x\n", "name: missing, wanted a value"),
        ("integrations:\n- {name: a, exec: x, intervall: 5s}\n", 'did you mean "interval"?'),
        ("integrations:\n- {name: a, exec: x, interval: often}\n", "a duration such as 30s"),
        ("integrations:\n- {name: a, exec: x, timeout: [1]}\n", "a duration such as 30s"),
        ("discovery: {ttl: 1m}\nintegrations:\n- {name: b, exec: x}\n", "discovery: not supported"),
        ("integrations:\n- {name: a, command: foo}\n", "integrations[0]: no `exec`"),
        (LEGACY, 'command "metrics" of "com.acme.nginx"'),
    ],
)
def test_a_mistake_costs_what_it_stands_in_and_nothing_else(read, text, message):
    found = read(text, "integrations:\n- {name: good, exec: x}\n")
    assert [e.integration.name for e in found.entries] == ["good"]
    assert len(found.problems) == 1
    assert message in str(found.problems[0]) and "0.yml" in str(found.problems[0])


def test_a_secret_in_a_file_with_a_mistake_is_not_told(read):
    found = read("integrations:\n- {name: a, exec: x, env: {PASSWORD: {deep: s3cret}}}\n")
    assert found.problems and "s3cret" not in " ".join(map(str, found.problems))


async def test_files_that_change_change_what_runs_and_nothing_else(execute, printing, tmp_path):
    command = printing(x=1)
    path = tmp_path / "integrations.yml"

    def write(**intervals: str) -> None:
        entries = [{"name": n, "exec": [command], "interval": i} for n, i in intervals.items()]
        beside = tmp_path / "beside"
        beside.write_text(json.dumps({"integrations": entries}))
        beside.rename(path)

    def x(name: str) -> str:
        return f'test_x{{integration="{name}"}}'

    write(stays="1h", goes="1h")
    async with execute(config={"files": str(path), "refresh": "20s"}) as source:
        got = {**await source.first(sleepers=3), **await source.reading()}
        assert (got[x("stays")], got[x("goes")]) == (1, 1)
        write(stays="1h")
        await source.advance(20, sleepers=3)
        ended = source.recorder.read(await source.recorder.batch())
        assert ended.pop(x("goes")) == "stale" and set(ended.values()) == {"stale"}
        assert not any("stays" in name for name in ended)
        write(stays="1h", comes="1h")
        await source.advance(20, sleepers=2)
        await source.advance(10, sleepers=3)
        got = await source.reading()
        assert got[x("comes")] == 1 and x("stays") not in got
        await asyncio.wait_for(source.clock.sleeping(3), WAIT_S)
        assert [t.labels["integration"] for t in source.source.targets().active] == ["stays", "comes"]


def test_a_mistake_is_told_with_its_line(read):
    found = read(
        "integrations:\n- name: a\n  exec: x\n  intervall: 20s\n- name: b\n  command: foo\n",
        "name: x\ndiscovery: {}\n",
        "# later\nintegrations: 7\n",
    )
    assert [(problem.path, problem.line) for problem in found.problems] == [
        ("integrations[0].intervall", 4),
        ("integrations[1]", 5),
        ("discovery", 2),
        ("integrations", 2),
    ]


async def test_a_file_with_mistakes_is_shown_until_they_are_mended(execute, tmp_path):
    path = tmp_path / "some.yml"
    path.write_text("integrations:\n- {name: a, exec: x, intervall: 5s}\n- 7\n")
    async with execute(config={"files": str(path), "refresh": "20s"}) as source:
        await asyncio.wait_for(source.clock.sleeping(), WAIT_S)
        (status,) = source.source.targets().active
        assert (status.url, status.health) == (str(path), "down")
        assert status.last.error.startswith(f"{path}:2: integrations[0].intervall: ")
        assert status.last.error.endswith("; and 1 more mistakes")
        path.write_text("integrations: []\n")
        await source.advance(20, sleepers=1)
        await asyncio.wait_for(source.clock.sleeping(), WAIT_S)
        assert source.source.targets().active == ()


async def test_a_mistake_in_a_file_is_counted_and_logged(execute, tmp_path, caplog):
    (tmp_path / "bad.yml").write_text("integrations: 7\n")
    async with execute(config={"files": f"{tmp_path}/*.yml"}) as source:
        await asyncio.wait_for(source.clock.sleeping(), WAIT_S)
    assert source.failures("configuration", "") == 1
    assert "bad.yml" in caplog.text
