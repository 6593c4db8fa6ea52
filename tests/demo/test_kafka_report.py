"""What the demo of Kafka tells of an agent's answers: changes that last, each once."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from metricsmith.demo.kafka_report import SURE_AFTER, Watcher

CAUGHT_UP, GROWING = {("billing", "caught_up"): 2.0}, {("billing", "growing"): 2.0}


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        pytest.param([CAUGHT_UP] * 9, ["caught_up"], id="once, however often it is heard"),
        pytest.param([CAUGHT_UP] * (SURE_AFTER - 1), [], id="not before it lasts"),
        pytest.param([CAUGHT_UP] * 3 + [GROWING] + [CAUGHT_UP] * 3, ["caught_up"], id="not for a moment"),
        pytest.param([CAUGHT_UP] * 3 + [GROWING] * 3, ["caught_up", "growing"], id="a change"),
        pytest.param(
            [{("billing", "stable"): 1.0, ("billing", "growing"): 2.0}] * 3, ["growing"], id="what most are"
        ),
        pytest.param(
            [{("billing", "stalled"): 1.0, ("billing", "insufficient_history"): 5.0}] * 3,
            ["stalled"],
            id="partitions that nothing can be said of do not count",
        ),
        pytest.param([{("billing", "no_commit"): 3.0}] * 3, [], id="nothing is known"),
    ],
)
def test_changes_are_told(answers: list[dict[tuple[str, ...], float]], told: list[str]) -> None:
    written = io.StringIO()
    watcher = Watcher(Console(file=written), "http://127.0.0.1:1")
    for states in answers:
        watcher.hear(states, {("billing",): 1234.0})
    lines = [line[10:] for line in written.getvalue().splitlines()]
    assert lines == [f"billing: {reason}, 1,234 unread" for reason in told]
