"""PromQL: text → tree (lexer, parser) → plan → vectorised execution over S×T arrays."""

from metricsmith.model.query_result import Result
from metricsmith.promql.engine import Engine, EngineConfig
from metricsmith.promql.library import evaluate, evaluate_table
from metricsmith.promql.memory import STALE
from metricsmith.promql.result import to_api

__all__ = ["STALE", "Engine", "EngineConfig", "Result", "evaluate", "evaluate_table", "to_api"]
