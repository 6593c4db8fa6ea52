"""Which expressions of rules go to the server as a whole, and which our engine evaluates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from metricsmith.model.labels import encode_labels
from metricsmith.model.matchers import Matcher
from metricsmith.model.query_result import Result
from metricsmith.model.selection import Selection
from metricsmith.promql.memory import MemorySeries
from metricsmith.rules.overlay import Overlay
from metricsmith.rules.template_query import template_query
from metricsmith.runtime.rule_engine import RuleEngine

NOW = 1_700_000_000_000
THEIRS = [b"z\xffi\xfe2", b"z\xffi\xfe1"]


class Store:
    """A store on a server that answers every expression the same, and has no samples."""

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        return Selection([], [])

    def query_engine(self, **_limits: Any) -> Any:
        return self

    def instant(self, text: str, time_ms: int, **_options: Any) -> Result:
        return Result("vector", np.array([time_ms]), THEIRS, np.array([[2.0], [1.0]]))


def overlay(*written: str, ended: str = "") -> Overlay:
    found = Overlay(Store(), NOW)
    keys = [encode_labels({"__name__": name}) for name in written]
    found.add(keys, np.ones(len(keys)), [encode_labels({"__name__": ended})] if ended else [])
    return found


@pytest.mark.parametrize(
    ("expr", "written", "server"),
    [
        ("a + b", overlay(), True),
        ("a + b", overlay("c"), True),
        ("a + b", overlay("c", "b"), False),
        ("a + b", overlay("c", ended="b"), False),
        ("max_over_time(a[5m:])", overlay("a"), False),
        ('{__name__="a"}', overlay("a"), False),
        ('{__name__="a"}', overlay("b"), True),
        ('{__name__=~"a.*"}', overlay("b"), False),
        ('{job="x"}', overlay("b"), False),
        ('{job="x"}', overlay(), True),
        ('count(ALERTS{alertname="A"})', overlay("ALERTS", "ALERTS_FOR_STATE"), False),
        ("info(a)", overlay("target_info"), False),
        ("info(a)", overlay(), True),
        ("1 + time()", overlay("a"), True),
    ],
)
def test_only_what_sees_results_of_the_round_is_evaluated_here(
    expr: str, written: Overlay, server: bool
) -> None:
    answer = RuleEngine(Store()).instant(expr, NOW, written)
    assert (answer.keys == sorted(THEIRS)) == server


def test_an_overlay_over_changed_data_is_as_changed_as_they_are() -> None:
    over = Overlay(overlay("a"), NOW)
    assert over.differs({"a"}) and over.differs({""}) and not over.differs({"b"})
    over.add([b"b"], np.ones(1))
    assert over.differs({"b"})


def test_what_a_server_answers_is_in_key_order() -> None:
    answer = RuleEngine(Store()).instant("x", NOW)
    assert (answer.keys, answer.values.tolist()) == (sorted(THEIRS), [1.0, 2.0])


def test_templates_ask_the_server() -> None:
    samples = template_query(RuleEngine(Store()))("x", NOW)
    assert [(s.labels["i"], s.value) for s in samples] == [("1", 1.0), ("2", 2.0)]


def test_other_data_than_the_store_s_are_asked_themselves() -> None:
    other = MemorySeries([({"__name__": "a"}, [NOW], [7.0])])
    assert RuleEngine(Store()).instant("a", NOW, other).values.tolist() == [7.0]
