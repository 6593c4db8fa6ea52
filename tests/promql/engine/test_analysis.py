"""What a query says of itself while it runs and after, and how it is ended from outside."""

from __future__ import annotations

import pytest

from metricsmith.errors import QueryCancelled, QueryLimitExceeded
from metricsmith.model.progress import Progress
from metricsmith.promql import Engine, EngineConfig
from metricsmith.promql.memory import MemorySeries

UP = [({"__name__": "up"}, [0], [1.0])]


def test_an_analysis_has_the_figures_of_each_step() -> None:
    given = [
        ({"__name__": "x", "i": str(i)}, [t * 1000 for t in range(10)], list(map(float, range(10))))
        for i in range(3)
    ]
    progress = Progress()
    done = Engine(MemorySeries(given)).analyze(
        "sum(rate(x[5s])) + sum(x)", 5000, 9000, 1000, progress=progress
    )
    figures = {
        step.operation.split("(#")[0].split(" ")[0]: (
            step.report.series,
            step.report.samples,
            step.report.loaded,
        )
        for step in done.steps
    }
    assert figures["rate"] == (3, 15, 0)
    assert figures["last"] == (3, 15, 0)
    assert figures["sum"] == (1, 5, 0)
    # Both selectors share one reading of 30 samples, and the first step that needs it pays.
    assert [step.report.loaded for step in done.steps if "windows" in step.operation] == [30, 0]
    assert (done.result_type, done.series, done.points) == ("matrix", 1, 5)
    assert (progress.samples, progress.series) == (30, 3)
    assert done.to_api()["steps"][0].keys() >= {"operation", "seconds", "samplesRead"}


def test_an_analysis_is_refused_as_the_query_is() -> None:
    engine = Engine(MemorySeries(UP), EngineConfig(max_points=0))
    for ask in (lambda: engine.instant("up", 0), lambda: engine.analyze("up", 0)):
        with pytest.raises(QueryLimitExceeded) as refused:
            ask()
        assert refused.value.limit == "points"


def test_a_query_that_nobody_waits_for_ends() -> None:
    progress = Progress(cancelled=True)
    with pytest.raises(QueryCancelled):
        Engine(MemorySeries(UP)).instant("up", 0, progress=progress)
    assert progress.samples == 0
