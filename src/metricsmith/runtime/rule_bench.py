"""A store in memory with the query engine over it, for tests of rules."""

from __future__ import annotations

from dataclasses import replace

from metricsmith.errors import ExecutionError
from metricsmith.model.matchers import MatchOp
from metricsmith.promql import EngineConfig
from metricsmith.promql.memory import GrowingSeries
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.syntax.selector import parse_selector


class RuleBench:
    """`rules.unit_tests.bench.Bench`."""

    def __init__(self, subquery_step_ms: int, config: EngineConfig | None = None) -> None:
        config = replace(config or EngineConfig(), subquery_step_ms=subquery_step_ms)
        self.store = GrowingSeries()
        self.engine = RuleEngine(self.store, config)
        self.append = self.store.append

    def labels(self, text: str) -> dict[str, str]:
        """Return the labels of a series written as `up{job="a"}`; `{}` has none.

        Raises:
            QueryError: it is none.
        """
        if text.strip() in ("", "{}"):
            return {}
        selector = parse_selector(text, may_match_all=True)
        if any(matcher.op is not MatchOp.EQ for matcher in selector.matchers):
            raise ExecutionError('got a selector, wanted labels with their values, such as up{job="a"}')
        return {matcher.name: matcher.value for matcher in selector.matchers if matcher.value}
