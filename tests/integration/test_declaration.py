"""What an integration says of itself: every mistake is told with its line, and nothing else happens."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import ConfigError
from metricsmith.integration.kinds import Kind
from metricsmith.integration.project import read_declaration, read_project
from metricsmith.integration.scaffold import new_project

HEAD = "integration: {name: queue-depth, kind: python, collector: queue_depth.py}\n"
METRIC = "metrics: [{name: queue_items, type: gauge, help: Items.}]\n"


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_declaration(text)
    return str(caught.value).splitlines()


def test_the_least_that_will_do() -> None:
    declaration, origins = read_declaration(HEAD + METRIC)
    assert (declaration.integration.interval, declaration.integration.timeout) == (30_000, 5000)
    assert declaration.limits.max_series == 1000
    assert origins.line(("metrics", 0, "type")) == 2


def test_labels_are_texts_or_more() -> None:
    text = METRIC.replace(
        "help: Items.", "help: Items., labels: {a: , b: What., c: {max_values: 3, optional: true}}"
    )
    declaration, _ = read_declaration(HEAD + text)
    labels = declaration.metrics[0].labels
    assert [(n, each.help, each.max_values, each.optional) for n, each in labels.items()] == [
        ("a", "", 100, False), ("b", "What.", 100, False), ("c", "", 3, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "integration: missing"),
        (HEAD + "metrics: []", "metrics: got no metric, wanted at least one"),
        (HEAD + METRIC.replace("gauge", "gage"), 'did you mean "gauge"?'),
        (HEAD + METRIC.replace("queue_items", "queue-items"), "wanted a metric's name"),
        (HEAD + METRIC.replace("help", "hepl"), 'did you mean "help"?'),
        (HEAD + METRIC.replace("}]", ", labels: {0a: x}}]"), "wanted a label's name"),
        (HEAD + METRIC.replace("}]", "}, {name: queue_items, type: gauge, help: x}]"), "twice in metrics"),
        (HEAD + METRIC.replace("}]", ", alerts: [{alert: A}]}]"), "either `when`"),
        (HEAD + METRIC.replace("}]", ", alerts: [{alert: A, when: high}]}]"), 'got when: "high"'),
        (
            HEAD + "metrics: [{name: x_total, type: counter, help: x, alerts: [{alert: A, when: '> 5'}]}]",
            "rate(x_total[5m]) > 5",
        ),
        (
            HEAD + "metrics: [{name: x, type: histogram, help: x, alerts: [{alert: A, when: '> 5'}]}]",
            "expr: histogram_quantile(0.95, rate(x_bucket[5m])) > 5",
        ),
        (HEAD + METRIC.replace("queue_items", "Inf"), "wanted a metric's name"),
        (HEAD + METRIC + "settings: [{name: token, help: x}]", "capital letters"),
        (HEAD + METRIC + "settings: [{name: A, help: x, secret: true, default: a}]", "no default of a"),
        (HEAD.replace("queue-depth", "Queue") + METRIC, 'try "queue-metrics"'),
        (HEAD.replace("queue_depth.py", "../x.py") + METRIC, "a path inside the project"),
        (HEAD.replace("queue_depth.py", "/x.py") + METRIC, "a path inside the project"),
        (HEAD.replace(", collector: queue_depth.py", "") + METRIC, "kind python needs `collector`"),
        (HEAD.replace("python", "exec") + METRIC, "kind exec needs `command`"),
        (HEAD.replace("}", ", version: one}") + METRIC, "wanted a version such as 1.2.3"),
        (HEAD.replace("}", ", timeout: 5}") + METRIC, "duration with its unit"),
        ("sources: []", "this looks like a configuration"),
        ("[" * 200, "nest"),
        ("a: &a [*a]", ""),
    ],
)  # fmt: skip
def test_mistakes_are_told(text: str, told: str) -> None:
    assert any(told in line for line in mistakes(text)), mistakes(text)


def test_each_mistake_has_its_line() -> None:
    text = HEAD + "metrics:\n  - {name: a b, type: gauge, help: x}\n  - {name: b, type: x, help: x}\n"
    assert [line.partition(" ")[0] for line in mistakes(text)] == [
        "integration.yaml:3:",
        "integration.yaml:4:",
    ]


def test_no_project_is_told_with_what_makes_one(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="metricsmith integration new NAME"):
        read_project(tmp_path)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20)
ANY = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
GOOD: dict[str, Any] = yaml.safe_load(next(new_project("queue-depth", Kind.PYTHON)).text)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))][
        0 if path else 1 :
    ]


@given(st.sampled_from(places(GOOD)), ANY)
def test_any_value_anywhere_is_taken_or_told(place: tuple[Any, ...], value: Any) -> None:
    data = yaml.safe_load(yaml.safe_dump(GOOD))
    holder = data
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = value
    try:
        declaration, _ = read_declaration(yaml.safe_dump(data))
    except ConfigError as error:
        assert error.problems and all(problem.message for problem in error.problems)
    else:
        assert declaration.metrics


@given(st.text(max_size=200) | st.text(alphabet="{}[]:-&*!|> \n\t\"'#%abc01", max_size=200))
def test_any_text_is_taken_or_told(text: str) -> None:
    with pytest.raises(ConfigError):
        read_declaration(text)
