"""What `query` in a template answers."""

from __future__ import annotations

from metricsmith.model.labels import decode_labels
from metricsmith.rules.model import Engine
from metricsmith.rules.templates import Query, Sample


def template_query(engine: Engine) -> Query:
    """Return the function that asks an engine on behalf of templates."""

    def query(expr: str, time_ms: int) -> list[Sample]:
        answer = engine.instant(expr, time_ms)
        pairs = zip(answer.keys, answer.values.tolist(), strict=True)
        return [Sample(decode_labels(key), value) for key, value in pairs]

    return query
