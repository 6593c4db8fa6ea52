"""The topics that bus sources have seen."""

from __future__ import annotations

from metricsmith.sources.bus.seen import SeenTopics
from metricsmith.testing.clock import FakeClock


async def test_topics_are_listed_with_their_rates(make_api):
    clock = FakeClock()
    seen = SeenTopics(clock)
    api = make_api(topics=seen.topics)
    assert (await api.get("/api/v1/bus/topics")).data == []
    for _ in range(20):
        seen.note("metrics.a", 100)
    clock.advance(10)
    assert (await api.get("/api/v1/bus/topics")).data == [
        {
            "topic": "metrics.a",
            "messages": 20,
            "size_bytes": 2000,
            "rate": 2.0,
            "last_ms": clock.now_ms() - 10_000,
        }
    ]


async def test_an_agent_without_a_bus_says_so(make_api):
    answer = await make_api(topics=lambda: None).get("/api/v1/bus/topics")
    assert answer.status == 400 and "does not listen to a bus" in answer.json["error"]
