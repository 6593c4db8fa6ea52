"""What the `query` section of the configuration allows, the agent's engine allows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from metricsmith.config import load_text
from metricsmith.errors import ParseError
from metricsmith.promql import Engine
from metricsmith.promql.memory import MemorySeries
from metricsmith.runtime.service import make_engine


def engine(settings: str) -> Engine:
    configuration = load_text(f"query: {settings}")
    agent: Any = SimpleNamespace(configuration=configuration, store=MemorySeries([({}, [0], [1.0])]))
    return make_engine(cast(Any, agent))


@pytest.mark.parametrize("query", ["limitk(1, x)", "x smoothed", "x + fill(0) y", "info(x)"])
def test_experiments_are_allowed_unless_the_settings_say_no(query: str) -> None:
    engine("{}").instant(query, 0)
    with pytest.raises(ParseError, match=r"is experimental; the setting query\.experimental allows it"):
        engine("{experimental: false}").instant(query, 0)
