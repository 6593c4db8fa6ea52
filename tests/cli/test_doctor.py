"""`metricsmith doctor`: what it prints, and what it ends with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metricsmith.testing.newrelic_server import newrelic_server
from metricsmith.testing.programs import AgentProgram
from metricsmith.testing.services import free_port
from metricsmith.testing.targets import running_target

Run = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metricsmith.yaml"


@pytest.fixture
def doctor(here: Run, file: Path) -> Run:
    """Run it on a configuration whose data and port are the test's own."""

    def run(text: str, *arguments: str, **environment: str) -> Any:
        file.write_text(text)
        file.chmod(0o600)
        own = {
            "METRICSMITH_STORAGE_PATH": str(file.parent / "data"),
            "METRICSMITH_SERVER_LISTEN": "127.0.0.1:0",
        }
        return here("doctor", "-c", str(file), *arguments, **own | environment)

    return run


def test_findings_stand_under_their_parts_in_the_order_of_areas(doctor: Run, file: Path) -> None:
    away = f"127.0.0.1:{free_port()}"
    with running_target("a 1\n") as target:
        text = f"""sources:
- {{type: scrape, name: good, targets: ["{target.url}"]}}
- {{type: scrape, name: bad, targets: ["{away}"]}}
sinks: [{{type: file, path: out}}]
"""
        done = doctor(text)
    assert done.returncode == 1 and done.stderr == "", done
    heads = [line for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert heads[:-1] == [
        "configuration", "server", "sources: good", "sources: bad", "sinks: file", "clock", "disk", "limits",
    ]  # fmt: skip
    assert heads[-1].startswith("1 problem, ")
    assert f"  ok       {target.url}: up 1, 1 series in" in done.stdout
    assert f"  problem  http://{away}/metrics: cannot connect: Connection refused, wanted up 1" in done.stdout
    assert not (file.parent / "out").exists() and not (file.parent / "data").exists()


def test_exit_codes_tell_problems_warnings_and_what_cannot_be_read(
    doctor: Run, here: Run, file: Path
) -> None:
    assert doctor("", "--only", "clock").returncode == 0
    open_to_all = doctor("", "--only", "server", METRICSMITH_SERVER_LISTEN="0.0.0.0:0")
    assert open_to_all.returncode == 0 and "0 problems, 1 warning" in open_to_all.stdout
    unread = doctor("sources: [{type: scrap}]\nstorage: {database: '${NOT_SET_ANYWHERE}'}")
    assert (unread.returncode, unread.stdout) == (3, "")
    assert "environment variable NOT_SET_ANYWHERE is not set" in unread.stderr
    assert 'sources[0].type: got "scrap"' in unread.stderr
    assert here("doctor", "-c", str(file.parent / "none.yaml")).returncode == 3
    unknown = doctor("", "--only", "disc")
    assert unknown.returncode == 2 and "disk" in unknown.stderr


def test_json_has_the_same_and_nothing_else(doctor: Run) -> None:
    done = doctor(f'sources: [{{type: scrape, name: s, targets: ["127.0.0.1:{free_port()}"]}}]', "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 1 and document["problem_count"] == 1
    [problem] = [line for line in document["findings"] if line["level"] == "problem"]
    assert set(problem) == {"area", "part", "level", "about", "got", "wanted", "hint"}
    assert (problem["area"], problem["part"], problem["wanted"]) == (
        "sources",
        "s",
        "up 1: a page of metrics",
    )
    unread = doctor("sources: 1", "--json")
    assert unread.returncode == 3 and json.loads(unread.stdout)["problem_count"] == 1
    quiet = doctor("", "--only", "clock", "--quiet")
    assert quiet.stdout.startswith("0 problems, 0 warnings, ")


def test_no_secret_is_printed(doctor: Run, file: Path) -> None:
    (file.parent / "token").write_text("s3cret-1")
    port = free_port()
    text = f"""sources:
- type: scrape
  name: a
  targets: ["http://127.0.0.1:{port}/?key=s3cret-2"]
  basic_auth: {{username: u, password: s3cret-3}}
- type: scrape
  name: b
  http_sd: {{url: "http://127.0.0.1:{port}/?key=s3cret-4"}}
  authorization: {{credentials_file: token}}
- {{type: exec, integrations: [{{name: x, exec: none, env: {{KEY: s3cret-5}}}}]}}
sinks:
- {{type: remote_write, url: "http://127.0.0.1:{port}/?key=s3cret-6", headers: {{X-Key: s3cret-7}}}}
- {{type: otlp, url: "http://u:s3cret-8@127.0.0.1:{port}/v1?key=s3cret-9"}}
- {{type: influxdb, url: "http://127.0.0.1:{port}", database: d, username: u, password: s3cret-10}}
- {{type: newrelic, api_key: s3cret-11, endpoint: "http://127.0.0.1:{port}/s"}}
alerts: {{webhook_url: "http://127.0.0.1:{port}/s3cret-12", notify: ["json://127.0.0.1/s3cret-13"]}}
storage: {{type: influxdb, url: "http://127.0.0.1:{port}", database: d, token: s3cret-14}}
"""
    for form in ((), ("--json",)):
        done = doctor(text, *form)
        assert done.returncode == 1 and str(port) in done.stdout
        assert "s3cret" not in done.stdout + done.stderr


def test_the_running_agent_is_known_and_sends_a_sample_when_asked(here: Run, tmp_path: Path) -> None:
    with newrelic_server() as far:
        sink = f'sinks: [{{{{type: newrelic, api_key: a-licence-key, endpoint: "{far.metrics_url}"}}}}]\n'
        text = 'server: {{listen: "127.0.0.1:{port}"}}\nstorage: {{path: "{data}"}}\n' + sink
        agent = AgentProgram(tmp_path, text)
        command = ("doctor", "-c", str(agent.config_file), "--only", "sinks", "--only", "server")
        agent.write_config(text)
        alone = here(*command, "--send")
        assert alone.returncode == 1 and "a sample: not taken: no agent answers" in alone.stdout
        agent.start()
        try:
            looked = here(*command)
            assert looked.returncode == 0 and "the agent is ready" in looked.stdout, looked
            assert not far.named("metricsmith_sink_test")
            sent = here(*command, "--send")
        finally:
            agent.stop()
        assert sent.returncode == 0 and "a sample: taken in" in sent.stdout, sent
        assert far.named("metricsmith_sink_test")
