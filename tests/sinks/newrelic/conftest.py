"""A local New Relic, and sinks that send to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from metricsmith.sinks.newrelic.sink import NewRelicSink
from metricsmith.testing.newrelic_server import NewRelicServer, newrelic_server


@pytest.fixture
def far() -> Iterator[NewRelicServer]:
    """A New Relic without anything."""
    with newrelic_server() as server:
        yield server


@pytest.fixture
def sink_to(closing: Callable[[Any], Any]) -> Callable[..., NewRelicSink]:
    """Make sinks."""

    def make(far: NewRelicServer, context: Any, **settings: Any) -> NewRelicSink:
        given = {
            "api_key": far.key,
            "account_id": far.account,
            "endpoint": far.metrics_url,
            "event_endpoint": far.events_url,
        }
        sink = closing(NewRelicSink(NewRelicSink.Config(**given | settings), context))
        assert isinstance(sink, NewRelicSink)
        return sink

    return make
