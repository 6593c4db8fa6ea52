"""PromQL as rules use it: checked, looked into, and asked at one time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from metricsmith.errors import ExecutionError
from metricsmith.model.arrays import F64
from metricsmith.model.clock import Clock
from metricsmith.model.labels import NAME_LABEL
from metricsmith.model.matchers import MatchOp
from metricsmith.model.progress import Progress
from metricsmith.model.query_result import Result
from metricsmith.promql import Engine, EngineConfig
from metricsmith.promql.ast import Call, Expr, MatrixSelector, Paren, StringLiteral, Subquery, VectorSelector
from metricsmith.promql.memory import MemorySeries
from metricsmith.promql.parser import parse
from metricsmith.promql.printer import format_expr
from metricsmith.promql.unfiltered import unfiltered
from metricsmith.promql.walk import preorder
from metricsmith.rules.model import Answer
from metricsmith.runtime.engine_config import evaluating_server
from metricsmith.store_contracts import Layered, QueryEngine, Selectable

_REMEMBERED = 20_000


class RuleEngine:
    """What rules ask of PromQL (`rules.model.Engine`); without a store, expressions can be checked only.

    A store whose server evaluates PromQL is handed every expression that
    sees nothing of what its round has recorded; our engine evaluates the others.
    """

    def __init__(
        self, store: Selectable | None = None, config: EngineConfig | None = None, clock: Clock | None = None
    ) -> None:
        self._config = config or EngineConfig()
        self._clock = clock
        self._running: dict[int, Progress] = {}
        self._cancelled = False
        self._server = evaluating_server(store, self._config)
        self._store_engine = self._over(MemorySeries([]) if store is None else store)

    def check(self, expr: str) -> None:
        """Return when the expression can stand in a rule.

        Raises:
            QueryError: it is not PromQL, or gives no scalar or instant vector.
        """
        tree = _parsed(expr, self._config.experimental)
        while isinstance(tree, Paren):
            tree = tree.expr
        if isinstance(tree, StringLiteral | MatrixSelector | Subquery):
            what = "a string" if isinstance(tree, StringLiteral) else "a range vector"
            raise ExecutionError(f"got an expression that gives {what}, wanted a scalar or instant vector")

    def reads(self, expr: str) -> frozenset[str]:
        """Return the metric names that the selectors of an expression ask for; "" for one without a name."""
        return _reads(expr, self._config.experimental)

    def with_data(self, expr: str) -> str | None:
        """Return an expression whose result has every series that has data, true or not; None if none is."""
        return _with_data(expr, self._config.experimental)

    def instant(self, expr: str, time_ms: int, overlay: Selectable | None = None) -> Answer:
        """Return the result at one time; with an overlay, of its data instead of the store's.

        Raises:
            QueryError: it has no answer.
            StoreUnavailable: the server that keeps the samples is away.
        """
        engine = self._engine(expr, overlay)
        progress = Progress(self._cancelled)
        self._running[id(progress)] = progress
        try:
            result = engine.instant(expr, time_ms, progress=progress)
        finally:
            del self._running[id(progress)]
        keys, values = _in_order(result) if engine is self._server else (list(result.keys), _values(result))
        return Answer(keys, values, tuple(result.warnings), progress.samples)

    def cancel(self) -> None:
        """Have queries that run, and all from now on, end soon with QueryCancelled: the agent stops."""
        self._cancelled = True
        for progress in list(self._running.values()):
            progress.cancelled = True

    def _engine(self, expr: str, overlay: Selectable | None) -> QueryEngine:
        seen = overlay is not None
        if self._server is not None and isinstance(overlay, Layered):
            seen = overlay.differs(self.reads(expr))
        if overlay is not None and seen:
            return self._over(overlay)
        return self._server or self._store_engine

    def _over(self, data: Selectable) -> Engine:
        return Engine(data, self._config, self._clock, self._tree)

    def _tree(self, expr: str) -> Expr:
        return _parsed(expr, self._config.experimental)


def _values(result: Result) -> F64:
    return result.values[:, 0] if result.keys else result.values.reshape(0)


def _in_order(result: Result) -> tuple[list[bytes], F64]:
    """Return keys and values in key order: a server's order is another each time, and series would move."""
    order = sorted(range(len(result.keys)), key=result.keys.__getitem__)
    return [result.keys[i] for i in order], _values(result)[np.array(order, dtype=np.int64)]


@lru_cache(maxsize=_REMEMBERED)
def _parsed(expr: str, experimental: bool) -> Expr:
    return parse(expr, experimental=experimental)


@lru_cache(maxsize=_REMEMBERED)
def _reads(expr: str, experimental: bool) -> frozenset[str]:
    nodes = list(preorder(_parsed(expr, experimental)))
    names = {_asked(node) for node in nodes if isinstance(node, VectorSelector)}
    if any(isinstance(node, Call) and node.function == "info" for node in nodes):
        names.add("")  # it looks for info metrics, of which the text need not tell
    return frozenset(names)


def _asked(node: VectorSelector) -> str:
    exact = (m.value for m in node.matchers if m.name == NAME_LABEL and m.op is MatchOp.EQ)
    return node.name or next(exact, "")


@lru_cache(maxsize=_REMEMBERED)
def _with_data(expr: str, experimental: bool) -> str | None:
    tree = unfiltered(_parsed(expr, experimental))
    while isinstance(tree, Paren):
        tree = tree.expr
    return None if tree is None else format_expr(tree)
