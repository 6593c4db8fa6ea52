"""A way to ask queries over series written in a short notation."""

from __future__ import annotations

import numpy as np
import pytest

from metricsmith.model.labels import decode_labels, format_labels
from metricsmith.promql import Engine, EngineConfig
from metricsmith.promql.memory import STALE, MemorySeries
from metricsmith.syntax.selector import parse_selector

MINUTE_MS = 60_000


def read_series(lines: str) -> list[tuple[dict[str, str], list[int], list[float]]]:
    """Return series written one per line, a sample a minute from 0 on: `x{a="1"} 1 2 _ stale`."""
    series = []
    for line in filter(None, map(str.strip, lines.splitlines())):
        cut = line.index("}") + 1 if "}" in line else line.index(" ")
        labels = {m.name: m.value for m in parse_selector(line[:cut]).matchers}
        points = [
            (i * MINUTE_MS, STALE if text == "stale" else float(text))
            for i, text in enumerate(line[cut:].split())
            if text != "_"
        ]
        series.append((labels, [t for t, _ in points], [v for _, v in points]))
    return series


class Ask:
    """Evaluates queries over series in the short notation; answers `{labels text: value or values}`."""

    def __init__(self, lines: str, config: EngineConfig | None = None) -> None:
        self.engine = Engine(MemorySeries(read_series(lines)), config)

    def at(self, query: str, minute: float = 0) -> dict[str, float]:
        result = self.engine.instant(query, round(minute * MINUTE_MS))
        values = result.values[:, 0].tolist() if result.keys else []
        return {_text(key): value for key, value in zip(result.keys, values, strict=True)}

    def over(self, query: str, minutes: int, step_s: int = 60) -> dict[str, list[float | None]]:
        result = self.engine.range(query, 0, minutes * MINUTE_MS, step_s * 1000)
        mask = np.ones(result.values.shape, bool) if result.present is None else result.present
        return {
            _text(key): [v if there else None for v, there in zip(values, present, strict=True)]
            for key, values, present in zip(result.keys, result.values.tolist(), mask.tolist(), strict=True)
        }


def _text(key: bytes) -> str:
    return format_labels(decode_labels(key)).replace('"', "'")


@pytest.fixture(scope="session")
def given_series() -> type[Ask]:
    """Make a querier of series written in the short notation."""
    return Ask
