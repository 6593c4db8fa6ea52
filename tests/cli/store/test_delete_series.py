"""What is deleted is gone for good, of a running agent and of a stopped one; what comes after stays.

The command of docs/storage.md is of what is tested here.
"""

from __future__ import annotations

import json
import shlex
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metricsmith.cli.main import app
from metricsmith.testing.programs import AgentProgram
from metricsmith.testing.terminal import steps

CONFIG = 'server: {{listen: "127.0.0.1:{port}", admin_api: true}}\nstorage: {{path: "{data}"}}\n'


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["store", "delete-series", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def labelled(job: str) -> tuple[tuple[str, str], ...]:
    return (("__name__", "up"), ("job", job))


def test_of_a_stopped_agent(tmp_path: Path, fill, content_of):
    fill(
        tmp_path, [({"__name__": "up", "job": job}, {1000: 1.0, 2000: 2.0, 3000: 3.0}) for job in ("a", "b")]
    )
    before = content_of(tmp_path)
    out = run("--path", tmp_path, "--match", 'up{job="a"}', "--start", "2", "--end", "2.5", "--yes", "--json")
    assert json.loads(out) == {"series": 1}
    del before[labelled("a")][2000]
    assert content_of(tmp_path) == before
    assert "nothing matches" in run("--path", tmp_path, "-m", "down", "--yes")
    run("--path", tmp_path, "-m", '{job="a"}', "-m", '{job="c"}', "--yes")
    del before[labelled("a")]
    assert content_of(tmp_path) == before


def test_the_page_shows_what_is_asked_and_said(tmp_path: Path, fill, content_of):
    in_november = round(datetime(2026, 11, 5, tzinfo=UTC).timestamp() * 1000)
    old = [
        ({"__name__": "http_requests_total", "job": "old", "n": str(n)}, {in_november: 1.0})
        for n in range(12)
    ]
    fill(tmp_path, [*old, ({"__name__": "http_requests_total", "job": "new"}, {in_november: 1.0})])
    page = Path(__file__).parents[3] / "docs" / "storage.md"
    command = "metricsmith store delete-series --match 'http_requests_total{job=\"old\"}'"
    [shown] = [(typed, output) for typed, output in steps(page.read_text()) if typed.startswith(command)]
    arguments = [*shlex.split(shown[0])[1:], "--path", str(tmp_path)]
    said = CliRunner().invoke(app, arguments, input="y\n").output
    assert said.splitlines() == shown[1].splitlines()[:2]
    assert len(content_of(tmp_path)) == 1


def test_what_an_answer_of_no_leaves_as_it_was(tmp_path: Path, fill, content_of):
    fill(tmp_path, [({"__name__": "up", "job": "a"}, {1000: 1.0})])
    arguments = ["store", "delete-series", "--path", str(tmp_path), "--match", "up"]
    assert CliRunner().invoke(app, arguments, input="n\n").exit_code == 1
    assert content_of(tmp_path) == {labelled("a"): {1000: content_of(tmp_path)[labelled("a")][1000]}}


@pytest.mark.parametrize(
    "wrong",
    [
        ["--match", "up{"],
        ["--match", "{}"],
        ["--match", '{job=""}'],  # of a variable of the shell that was not set
        ["--match", "up", "--start", "5", "--end", "4"],
        ["--match", "up", "--start", ""],  # as of one
        ["--match", "up", "--end", ""],
        [],
    ],
)
def test_mistakes_are_told_before_anything_is_opened(tmp_path: Path, wrong):
    result = CliRunner().invoke(app, ["store", "delete-series", "--path", str(tmp_path), "--yes", *wrong])
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_of_a_running_agent_and_over_a_kill(tmp_path: Path):
    agent = AgentProgram(tmp_path, CONFIG)
    agent.start()
    now = int(time.time()) - 100

    def give(job: str, value: int, at_s: int) -> None:
        agent.ask("/write?db=x", f"up,job={job} value={value} {at_s}000000000\n".encode(), "text/plain")

    def there() -> dict[str, list[str]]:
        answer = agent.query("{job=~'a|b'}[10m]")
        return {each["metric"]["job"]: [value for _, value in each["values"]] for each in answer}

    try:
        for job in ("a", "b"):
            give(job, 1, now)
        assert there() == {"a": ["1"], "b": ["1"]}
        run("--url", agent.url, "--match", '{job="a"}', "--yes")
        assert there() == {"b": ["1"]}
        give("a", 2, now)  # the same time, after the delete
        assert there() == {"a": ["2"], "b": ["1"]}
        agent.kill()
        agent.start()
        assert there() == {"a": ["2"], "b": ["1"]}
    finally:
        agent.stop()
