"""What processors leave out is counted, each time under a reason."""

from __future__ import annotations

from metricsmith.contracts import Context


def count_dropped(context: Context, samples: int, reason: str) -> None:
    """Count samples that do not go on."""
    if samples:
        context.telemetry.count(
            "metricsmith_samples_dropped_total", samples, component=context.name, reason=reason
        )
