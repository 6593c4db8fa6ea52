"""The limits in the `query` section reach the engine and the API."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from metricsmith.api.app import ApiLimits
from metricsmith.config import load_text
from metricsmith.errors import ConfigError, QueryLimitExceeded, QueryTimeout
from metricsmith.promql.memory import MemorySeries
from metricsmith.runtime.service import make_engine, make_limits

TWO = [({"__name__": "x", "i": i}, [0, 1000], [1.0, 2.0]) for i in "ab"]


@pytest.mark.parametrize(
    ("settings", "limit"),
    [("max_samples: 3", "samples"), ("max_series: 1", "series"), ("max_points: 3", "points")],
)
def test_each_limit_is_that_of_the_engine(settings: str, limit: str) -> None:
    configuration = load_text(f"query: {{{settings}}}")
    agent: Any = SimpleNamespace(configuration=configuration, store=MemorySeries(TWO))
    with pytest.raises(QueryLimitExceeded) as refused:
        make_engine(cast(Any, agent)).instant("x[5m]", 2000)
    assert refused.value.limit == limit


def test_a_time_out_of_a_request_only_shortens_that_of_the_settings() -> None:
    agent: Any = SimpleNamespace(configuration=load_text("query: {timeout: 1ms}"), store=SlowSeries(TWO))
    with pytest.raises(QueryTimeout, match=r"longer than 0\.001 s"):
        make_engine(cast(Any, agent)).instant("x", 2000, timeout_s=60)


class SlowSeries(MemorySeries):
    """Reads for as long as it takes the clock to pass two milliseconds."""

    def select(self, *arguments: Any) -> Any:
        began = time.monotonic()
        while time.monotonic() < began + 0.002:
            pass
        return super().select(*arguments)


@pytest.mark.parametrize(
    ("settings", "limits"),
    [
        ("{}", ApiLimits()),
        (
            "{max_concurrent: 9, max_queued: 0, timeout: 3s, log_slower_than: 1500ms}",
            ApiLimits(concurrent_queries=9, queued_queries=0, query_timeout_s=3.0, log_slower_than_s=1.5),
        ),
        ("{log_slower_than: 0}", ApiLimits(log_slower_than_s=0.0)),
        ("{log_slower_than: null}", ApiLimits(log_slower_than_s=None)),
    ],
)
def test_settings_and_defaults_are_those_of_the_api(settings: str, limits: ApiLimits) -> None:
    text = f"query: {settings}\nstorage: {{retention: 30d}}\nserver: {{max_body: 32MB}}"
    assert make_limits(load_text(text).settings) == limits


@pytest.mark.parametrize(
    "settings", ["max_concurrent: 0", "max_queued: -1", "log_slower_than: 5", "timeout: 0s"]
)
def test_limits_that_make_no_sense_are_refused(settings: str) -> None:
    with pytest.raises(ConfigError, match=settings.partition(":")[0]):
        load_text(f"query: {{{settings}}}")
