"""A reload takes over all of a new configuration or nothing, and touches only what changed.

Commands and outputs of docs/operate.md are of what is tested here.
"""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Callable
from pathlib import Path

from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.targets import Target, running_target
from metricsmith.testing.terminal import alike, shown_on

DOCS = Path(__file__).parents[2] / "docs"

Make = Callable[..., AgentProgram]
SUCCESS = "metricsmith_config_last_reload_success"


def reload(agent: AgentProgram, config: str) -> None:
    agent.write_config(config)
    answer = agent.post("/-/reload", None)
    assert answer.status == 200, answer.text


def assert_refused(agent: AgentProgram, config: str, *fields: str) -> str:
    """The reload is refused because of exactly these fields, and the metric says so."""
    agent.write_config(config)
    answer = agent.post("/-/reload", None)
    assert answer.status == 400
    assert alike(shown_on(DOCS / "operate.md", "curl -X POST"), answer.text)
    assert {problem["field"] for problem in json.loads(answer.text)["problems"]} == set(fields)
    assert agent.own(SUCCESS) == 0
    return answer.text


def test_changed_source_restarts_and_the_others_do_not_notice(agent_program: Make, target: Target) -> None:
    target.text = "steady 1\n"
    with running_target("changing 1\n") as other:
        steady = target.source("steady", "100ms")
        agent = agent_program(f"sources:\n{steady}{other.source('changing')}")
        agent.start()
        eventually(lambda: agent.query("steady") and agent.query("changing"))
        other.text = "changing 2\n"
        began = agent.samples("steady")[-1][0]
        reload(agent, agent.config.replace("name: changing", "name: changed"))
        eventually(lambda: agent.query('changing{job="changed"} == 2'))
        assert agent.query('changing{job="changing"}') == [], "the replaced source's series have ended"
        eventually(lambda: agent.samples("steady")[-1][0] >= began + 1000)
        added = agent.samples('scrape_series_added{job="steady"}')
        up = dict(agent.samples('up{job="steady"}'))
    assert added[0][1] == 1
    # Series that ended with a scrape that was too slow for its time are new again, and those alone.
    new = [up[at] for (at, _), (_, count) in itertools.pairwise(added) if count]
    assert not any(new), "a source that was restarted would have seen its series as new"
    assert agent.own("metricsmith_scrapes_total", source="steady") >= len(added)


def test_source_that_is_added_runs_and_one_that_is_removed_ends(agent_program: Make, target: Target) -> None:
    target.text = "a 1\n"
    agent = agent_program()
    agent.start()
    reload(agent, f"{agent.config}sources:\n{target.source()}")
    eventually(lambda: agent.query("a"))
    reload(agent, agent.config)
    eventually(lambda: not agent.query("a") and not agent.query('up{job="shop"}'))
    assert agent.get("/status")["sources"] == ["application", "pushgateway", "self"]
    assert agent.own("metricsmith_config_reloads_total", result="success") == 2


def test_broken_file_changes_nothing_and_every_problem_is_named(agent_program: Make, target: Target) -> None:
    target.text = "a 1\n"
    agent = agent_program(f"sources:\n{target.source()}")
    agent.start()
    eventually(lambda: agent.query("a"))
    broken = agent.config.replace("interval: 200ms", "interval: soon") + "nonsense: 1\n"
    text = assert_refused(agent, broken, "sources[0].interval", "nonsense")
    assert "wanted a duration" in text
    assert_refused(agent, "server: [", "")
    target.wait_for_scrapes(2)
    reload(agent, agent.config)
    assert agent.own(SUCCESS) == 1


def test_what_only_a_restart_can_change_is_refused_by_name(agent_program: Make) -> None:
    agent = agent_program()
    agent.start()
    changed = agent.config.replace("storage: {{", "storage: {{retention: 7d, ")
    assert "only a restart" in assert_refused(agent, changed, "storage.retention")
    changed = changed.replace("server: {{", "server: {{max_body: 1MiB, ")
    changed += "journal: {{sync: never}}\nquery: {{lookback: 1m, timeout: 1m}}\n"
    fields = ("storage.retention", "server.max_body", "journal.sync", "query.lookback", "query.timeout")
    assert_refused(agent, changed, *fields)
    reload(agent, agent.config)
    assert agent.own(SUCCESS) == 1


def test_metrics_page_changes_with_a_reload(agent_program: Make) -> None:
    agent = agent_program()
    agent.start()
    assert agent.push({"pushed": 5}).status == 201
    assert agent.own("ours_pushed") == 0
    page = 'server: {{metrics: {{collected: true, prefix: "ours_"}}, '
    reload(agent, agent.config.replace("server: {{", page))
    assert agent.own("ours_pushed", service="pusher") == 5


def test_hangup_reloads_too_and_the_log_tells_the_outcome(agent_program: Make, target: Target) -> None:
    target.text = "a 1\n"
    agent = agent_program()
    agent.start()
    agent.write_config(f"{agent.config}sources:\n{target.source()}")
    agent.send(signal.SIGHUP)
    agent.log.wait_for("configuration reloaded")
    eventually(lambda: agent.query("a"))
    agent.write_config(f"{agent.config}nonsense: 1\n")
    agent.send(signal.SIGHUP)
    assert "nonsense" in agent.log.wait_for("configuration not reloaded, the old one stays")
    assert agent.own(SUCCESS) == 0
    assert agent.query("a")
