"""`metricsmith query` answers people: tables, hints, and the right exit code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metricsmith.cli.query import _step
from metricsmith.cli.table import in_order
from metricsmith.cli.times import read_time
from metricsmith.config.environment import overrides

Api = tuple[str, dict[str, Any]]


def vector(*series: dict[str, str]) -> dict[str, Any]:
    return {"resultType": "vector", "result": [{"metric": s, "value": [1.5, "1"]} for s in series]}


UP = vector({"__name__": "up", "job": "shop"})


def test_query_shows_a_table_or_json(metricsmith: Any, api: Api) -> None:
    url, state = api
    remarks = {"warnings": ["PromQL warning: careful (1:1)"], "infos": ["PromQL info: might be odd (1:1)"]}
    state["answer"] = {"status": "success", "data": UP, **remarks}
    done = metricsmith("query", "up", "--url", url)
    assert done.returncode == 0
    assert 'up{job="shop"}' in done.stdout
    assert done.stderr == "warning: careful (1:1)\ninfo: might be odd (1:1)\n"
    done = metricsmith("query", "up", "--url", url, "--json")
    assert json.loads(done.stdout) == UP
    assert state["asked"][0][0] == "/api/v1/query"


def test_agent_may_come_from_the_environment_and_without_scheme(here: Any, api: Api) -> None:
    url, state = api
    state["answer"] = {"status": "success", "data": UP}
    assert here("query", "up", METRICSMITH_URL=url.removeprefix("http://")).returncode == 0
    assert len(state["asked"]) == 1


def test_agent_that_commands_ask_is_no_setting(caplog: pytest.LogCaptureFixture) -> None:
    assert overrides({"METRICSMITH_URL": "http://127.0.0.1:1"}) == {}
    assert not caplog.records


def test_series_are_sorted_by_text_and_buckets_by_bound(here: Any, api: Api) -> None:
    url, state = api
    bounds = ["10", "+Inf", "2.5", "0.5"]
    buckets = [{"__name__": "b", "job": job, "le": le} for job in ("z", "a") for le in bounds]
    state["answer"] = {"status": "success", "data": vector(*buckets)}
    lines = here("query", "b", "--url", url).stdout.splitlines()[1:]
    assert [line.split()[0] + line.split()[1] for line in lines] == [
        f'b{{job="{job}",le="{le}"}}' for job in ("a", "z") for le in ("0.5", "2.5", "10", "+Inf")
    ]


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("up", False),
        ("sum by (job) (up)", False),
        ("sort_desc(up)", True),
        ("(topk(2, up))", True),
        ("bottomk by (job) (1, up)", True),
        ("not promql (", False),
    ],
)
def test_order_that_the_expression_makes_is_kept(expression: str, kept: bool) -> None:
    given = vector({"job": "z"}, {"job": "a"})["result"]
    assert (in_order(expression, given) == given) is kept


@pytest.mark.parametrize("names", [{"__name__": "my metric.x", "service": "a"}])
def test_names_that_are_no_identifiers_print_as_promql(here: Any, api: Api, names: Any) -> None:
    url, state = api
    state["answer"] = {"status": "success", "data": vector(names)}
    assert '{"my metric.x", service="a"}' in here("query", "x", "--url", url).stdout


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("http_request_total", "no metric is named http_request_total; did you mean http_requests_total?"),
        ("sum(rate(requests[5m]))", "did you mean http_requests_total?"),
        ("quite_different", "no metric is named quite_different"),
        ("ht", "no metric is named ht\n"),  # in many names by chance
        (
            "metricsmith_bus_messages_refused_total",
            "no data: metricsmith_bus_messages_refused_total is known, but it has no samples yet\n",
        ),
        (
            "rate(metricsmith_sink_send_seconds_bucket[5m])",
            "metricsmith_sink_send_seconds_bucket is known, but it has no samples yet\n",
        ),
        ("metricsmith_sink_send_seconds", "no metric is named metricsmith_sink_send_seconds"),
        ('up{job="shop",env="test"}', "no data at that time (nothing matches)"),
        ('up{job!="shop",team=""}', "no data at that time (nothing matches)"),
        ('sum(up{jb="shop"})', "no data: up has no label jb; did you mean job?\n"),
        ('up{job="shp"}', 'no data: up has no job="shp"; did you mean shop?\n'),
        ('up{job=~"sh|x"}', 'no data: up has no job=~"sh|x"'),
        (
            'up{job="shp"} + up{job="shp",ev="test"}',
            "did you mean shop?; up has no label ev; did you mean env?",
        ),
        ('up{many="x"}', "no data at that time (nothing matches)"),
        ("rate(up[1m])", "need two samples"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--start", "-5m")], ids=["instant", "range"])
def test_empty_answer_says_why(
    here: Any, api: Api, expression: str, said: str, options: tuple[str, ...]
) -> None:
    url, state = api
    state["names"] = ["up", "http_requests_total"]
    state["labels"] = {"__name__": ["up"], "job": ["shop", "db"], "env": ["test", "live"]}
    state["labels"]["many"] = [f"v{number}" for number in range(1000)]
    state["answer"] = {"status": "success", "data": {"resultType": "vector", "result": []}}
    done = here("query", expression, "--url", url, *options)
    assert (done.returncode, done.stdout) == (0, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("histogram_count(up)", "info: histogram_count ignores floats (1:1)\nno data\n"),
        ("histogram_count(ups)", "no data: no metric is named ups; did you mean up?\n"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--start", "-5m")], ids=["instant", "range"])
def test_a_remark_on_an_empty_answer_says_why(
    here: Any, api: Api, expression: str, said: str, options: tuple[str, ...]
) -> None:
    url, state = api
    state["names"] = ["up"]
    state["answer"] = {
        "status": "success",
        "data": {"resultType": "vector", "result": []},
        "infos": ["PromQL info: histogram_count ignores floats (1:1)"],
    }
    done = here("query", expression, "--url", url, *options)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith(said)


def test_refused_query_exits_4_and_absent_agent_5(here: Any, api: Api) -> None:
    url, state = api
    state["code"], state["answer"] = 400, {"status": "error", "errorType": "bad_data", "error": "1:4: no"}
    done = here("query", "sum)", "--url", url)
    assert (done.returncode, done.stderr.strip()) == (4, "error: 1:4: no")
    done = here("query", "up", "--url", "http://127.0.0.1:1")
    assert done.returncode == 5
    assert done.stderr.startswith("error: no agent answers at http://127.0.0.1:1")
    assert "`metricsmith run`" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("code", "answer"),
    [(404, "<html>"), (404, {"detail": "Not Found"}), (200, "<html>"), (200, {}), (200, [])],
)
def test_another_program_at_the_address_exits_5(here: Any, api: Api, code: int, answer: Any) -> None:
    url, state = api
    state["code"], state["answer"] = code, answer
    done = here("query", "up", "--url", url)
    assert done.returncode == 5
    assert f"{url} does not speak the Prometheus API; check --url" in done.stderr


def test_a_path_too_many_and_https_for_http_exit_5_with_a_hint(here: Any, api: Api) -> None:
    url, state = api
    state["code"], state["answer"] = 404, {"status": "error", "errorType": "not_found", "error": "nothing"}
    done = here("query", "up", "--url", f"{url}/graph")
    assert done.returncode == 5
    assert "check --url" in done.stderr and "is the path /graph one too many?" in done.stderr
    done = here("query", "up", "--url", url.replace("http:", "https:"))
    assert done.returncode == 5
    assert f"it speaks http, not https; set --url {url}\n" in done.stderr


@pytest.mark.parametrize("expression", ["-up", "-1 * up", "-http_requests_total"])
def test_expression_that_begins_with_minus_needs_two_dashes(here: Any, api: Api, expression: str) -> None:
    url, state = api
    state["answer"] = {"status": "success", "data": UP}
    done = here("query", "--url", url, expression)
    assert done.returncode == 2
    assert f"-- '{expression}'" in " ".join(done.stderr.replace("│", " ").split())
    assert here("query", "--url", url, "--", expression).returncode == 0
    assert state["asked"][0][1]["query"] == expression


def test_lookups_for_a_hint_are_few_and_none_are_made_for_json(here: Any, api: Api) -> None:
    url, state = api
    state["names"], state["labels"] = ["up"], {f"l{number}": ["a"] for number in range(9)}
    state["answer"] = {"status": "success", "data": {"resultType": "vector", "result": []}}
    selectors = "up{" + ",".join(f'l{number}="a"' for number in range(9)) + "}"
    assert here("query", " + ".join([selectors] * 9), "--url", url, "--json").returncode == 0
    assert len(state["asked"]) == 1
    assert "nothing matches" in here("query", " + ".join([selectors] * 9), "--url", url).stderr
    assert len(state["asked"]) == 1 + 1 + 1 + 3 * (1 + 3)
    assert state["asked"][-1][1] == {"match[]": '{__name__="up"}', "limit": "1000"}


@pytest.mark.parametrize("options", [("--strat", "-5m"), ("--strat=-5m",)])
def test_unknown_option_is_told_with_those_near_it(here: Any, options: tuple[str, ...]) -> None:
    done = here("query", "up", *options)
    assert done.returncode == 2
    said = " ".join(done.stderr.replace("│", " ").split())
    assert "No such option: --strat" in said and "--start" in said
    assert "put --" not in said


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("-10m", 400.0),
        ("now", 1000.0),
        ("now-10m", 400.0),
        ("12.5", 12.5),
        ("1970-01-01T00:01:00", 60.0),
        ("1970-01-01T01:01:00+01:00", 60.0),
        ("1970-01-01T00:01:00Z", 60.0),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, wanted: float) -> None:
    assert read_time(text, 1000.0, "--start") == wanted


@pytest.mark.parametrize(
    ("text", "range_s", "wanted"),
    [(None, 3600, 30), (None, 5, 1), ("1m30s", 5, 90), ("1", 5, 1), ("0.5", 5, 0.5)],
)
def test_step_is_a_duration_or_seconds(text: str | None, range_s: float, wanted: float) -> None:
    assert _step(text, range_s) == wanted
