"""Threshold rules: short names find their series, the comparison fires, a dead service is missed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from metricsmith.config import load_text
from metricsmith.errors import ConfigError
from metricsmith.rules.model import Group, Notification
from metricsmith.rules.printer import format_groups
from metricsmith.runtime.rules import configured_groups

Values = Mapping[str, float]
MakeSite = Callable[..., Any]


class Site:
    """Data that arrive every ten seconds, and the threshold rules of a configuration over them."""

    def __init__(self, simulation: Any, text: str) -> None:
        (self.group,) = configured_groups(load_text(text, "m.yaml", {}))
        self._over = simulation(self.group)
        self.running, self.firing = self._over.running, self._over.firing

    def run(self, seconds: int, values: Values) -> list[Notification]:
        """Let time go by with data of these values; return what is told."""
        rounds = seconds * 1000 // self.group.interval_ms
        return [told for _ in range(rounds) for told in self._over.round(values, service="system")]


@pytest.fixture
def make(simulation: Any) -> Callable[[str], Site]:
    """Make a site of a configuration."""
    return lambda text: Site(simulation, text)


def rules(*written: str) -> str:
    return "alerts:\n  rules:\n" + "".join(f"    - {{{rule}}}\n" for rule in written)


@pytest.fixture
def published() -> list[str]:
    """The two configurations of the document whose rules must run unchanged, if it lies beside us."""
    folder = Path(__file__).parents[3] / "shared" / "seeds"
    found = sorted(folder.glob("002_*.txt"))
    if not found:
        pytest.skip("the documents are not beside this clone")
    blocks = re.findall(r"```yaml\n(.*?)```", found[0].read_text(encoding="utf-8"), re.DOTALL)
    return [block for block in blocks if "\nalerts:" in "\n" + block]


def test_published_rules_with_short_names_fire(make: MakeSite, published: list[str]) -> None:
    site = make(published[0])
    usual, high = ({"cpu_usage_percent": c, "memory_usage_percent": m} for c, m in ((40, 60), (95.5, 93)))
    assert (site.run(300, usual), site.run(110, high)) == ([], [])
    (told,) = site.run(20, high)
    assert site.firing() == {"high_memory": 93}
    assert (told.rule.threshold, told.labels["severity"], told.labels["service"]) == (90, "warning", "system")
    assert told.annotations == {"message": "memory_usage_percent > 90"}
    site.run(180, high)
    assert site.firing() == {"high_memory": 93, "high_cpu": 95.5}
    site.run(10, usual)
    assert site.firing() == {}


def test_published_rules_with_full_names_fire(make: MakeSite, published: list[str]) -> None:
    site = make(published[1])
    well = {"cpu_usage_percent": 85.2, "memory_usage_percent": 97, "uptime_seconds": 3600}
    told = [n for n in site.run(320, well) if n.sent_at_ms == n.starts_at_ms]
    assert [(n.labels["alertname"], n.labels["severity"]) for n in told] == [
        ("critical_memory_usage", "critical"),
        ("high_cpu_usage", "warning"),
    ]
    assert told[1].annotations["message"] == "CPU usage is above 80% for 5 minutes"
    assert site.firing() == {"high_cpu_usage": 85.2, "critical_memory_usage": 97}


def test_a_service_that_is_down_is_seen_and_so_is_its_return(make: MakeSite, published: list[str]) -> None:
    site = make(published[1])
    site.run(600, {})
    assert site.firing() == {}  # it was never there
    site.run(60, {"uptime_seconds": 3600})
    site.run(290, {})
    assert site.firing() == {}  # the last sample holds for five minutes
    site.run(60, {})
    assert "service_down" in site.firing()
    site.run(10, {"uptime_seconds": 100})
    assert site.firing() == {}


@pytest.mark.parametrize(
    ("operator", "firing"),
    [(">", {3}), (">=", {2, 3}), ("<", {1}), ("<=", {1, 2}), ("==", {2}), ("!=", {1, 3})],
)
def test_every_operator(make: MakeSite, operator: str, firing: set[int]) -> None:
    for value in (1, 2, 3):
        site = make(rules(f"name: a, metric: x, threshold: 2, operator: '{operator}'"))
        site.run(10, {"x": value})
        assert bool(site.firing()) == (value in firing)


@pytest.mark.parametrize(
    ("metric", "data", "value"),
    [
        ("response_time", {"response_time_ms": 9}, 9),
        ("disk_usage", {"disk_usage_percent": 9}, 9),
        ("cpu_usage", {"cpu_usage": 9}, 9),
        ("cpu_usage", {"cpu_usage": 1, "cpu_usage_percent": 9}, None),  # the exact name wins
        ("cpu_usage", {"cpu_usage": 8, "cpu_usage_percent": 9}, 8),
        ("cpu_usage_percent", {"cpu_usage": 8, "cpu_usage_percent": 9}, 9),
        ("http.requests", {"http.requests": 9}, 9),
    ],
)
def test_short_names_mean_what_the_data_have(
    make: MakeSite, metric: str, data: Values, value: float | None
) -> None:
    site = make(rules(f"name: a, metric: {metric}, threshold: 5, operator: '>'"))
    site.run(10, data)
    assert site.firing() == ({} if value is None else {"a": value})


def test_no_series_is_told_apart_from_no_alert(make: MakeSite) -> None:
    site = make(rules("name: a, metric: cpu_usage, threshold: 5, operator: '>'"))
    site.run(50, {"cpu": 1})
    assert site.running.rules[0].status.nothing_matched == 5
    site.run(10, {"cpu_usage_percent": 1})
    assert site.running.rules[0].status.nothing_matched == 0


def test_messages_are_templates_and_lines_are_known(make: MakeSite) -> None:
    message = '"{{ $labels.service }} has {{ $value }}"'
    site = make(rules(f"name: a, metric: x, threshold: 1e-3, operator: '>', message: {message}"))
    (told,) = site.run(10, {"x": 0.5})
    assert told.annotations["message"] == "system has 0.5"
    (rule,) = site.group.rules
    assert (rule.expr, rule.origin.file, rule.origin.line) == ("x > 0.001", "m.yaml", 3)


def test_prometheus_reads_what_they_become(
    make: MakeSite, published: list[str], promtool: Path, tmp_path: Path
) -> None:
    odd = rules("name: a, metric: http.requests, threshold: -.inf, operator: '!='")
    groups = [_renamed(make(text).group, i) for i, text in enumerate([*published, odd])]
    file = tmp_path / "r.yml"
    file.write_text(format_groups(groups))
    said = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=True)
    assert "SUCCESS: 6 rules found" in said.stdout


def _renamed(group: Group, index: int) -> Group:
    return Group(f"{group.name}{index}", group.file, group.interval_ms, group.rules)


REMARKS = [
    ("name: a, metric: uptime_seconds, threshold: 60, operator: '<'", ["so it gets `no_data: fire`"]),
    ("name: a, metric: uptime_seconds, threshold: 60, operator: '<', no_data: fire", []),
    ("name: a, metric: uptime_seconds, threshold: 60, operator: '<=', no_data: keep", ["goes unseen"]),
    ("name: a, metric: uptime_seconds, threshold: 86400, operator: '>'", []),
]


@pytest.mark.parametrize(("rule", "wanted"), REMARKS)
def test_uptime_as_a_sign_of_life_is_remarked_upon(rule: str, wanted: list[str]) -> None:
    notes = load_text(rules(rule), "m.yaml", {}).notes
    assert len(notes) == len(wanted)
    assert all(
        want in str(note) and "m.yaml:3: " in str(note) for want, note in zip(wanted, notes, strict=True)
    )


def test_rules_that_cannot_be_told_apart_are_remarked_upon() -> None:
    one = "name: a, metric: x, threshold: 1, operator: '>'"
    notes = load_text(rules(one, one + ", severity: critical", one), "m.yaml", {}).notes
    assert [str(note) for note in notes] == [
        'm.yaml:5: alerts.rules[2].name: rules[0] is called "a", too, with the same severity: '
        "their alerts cannot be told apart"
    ]


def mistakes() -> Iterator[tuple[str, str]]:
    rule = "name: a, metric: x, threshold: 1, operator: '>'"
    yield rule.replace("x", "'sum(x)'"), 'metric: got "sum(x)", wanted the name of a metric'
    yield rule.replace("'>'", "'=>'"), "operator: "
    yield rule.replace("1", "nan"), "threshold: got NaN, wanted a number"
    yield rule + ", duration: 5", "duration: "
    yield rule + ", message: '{{ $value'", 'message: got "{{ $value", wanted a template that parses'
    yield rule + ", no_data: maybe", "no_data: "
    yield rule + ", serverity: page", 'serverity: unknown key (did you mean "severity"?)'


@pytest.mark.parametrize(("rule", "wanted"), [*mistakes()])
def test_mistakes_are_told_with_their_line(rule: str, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(rules(rule), "m.yaml", {})
    (problem,) = caught.value.problems
    assert f"m.yaml:3: alerts.rules[0].{wanted}" in str(problem)
