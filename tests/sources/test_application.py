"""What the agent tells of itself in the words of services."""

from __future__ import annotations

import numpy as np
import pytest

from metricsmith.contracts import Context
from metricsmith.model.labels import decode_labels
from metricsmith.model.own_metrics import OWN_METRICS
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sources.application import PROBLEMS, ApplicationSource
from metricsmith.testing.clock import FakeClock


def errors(telemetry: Telemetry) -> float:
    series = SeriesTable()
    context = Context("app", series, telemetry, FakeClock())
    batch = ApplicationSource(ApplicationSource.Config(), context).collect(0)
    names = [decode_labels(series.key(i))["__name__"] for i in batch.layout.ids.tolist()]
    return float(batch.value[names.index("error_count")])


def test_all_counters_of_errors_exist():
    assert {metric.name for metric in OWN_METRICS} >= PROBLEMS


@pytest.mark.parametrize(
    ("reason", "is_error"),
    [
        *((r, False) for r in ("filtered", "averaged", "aggregated", "sampled", "relabel", "not_collected")),
        *((r, True) for r in ("disk_full", "journal_error", "defect", "out_of_order")),
    ],
)
def test_what_is_dropped_on_purpose_is_no_error(reason, is_error):
    telemetry = Telemetry(FakeClock())
    telemetry.count("metricsmith_samples_dropped_total", 5, component="p", reason=reason)
    assert errors(telemetry) == (5 if is_error else 0)


def test_failures_of_all_parts_are_added_up():
    telemetry = Telemetry(FakeClock())
    telemetry.count("metricsmith_journal_errors_total", 2, reason="io")
    telemetry.count("metricsmith_source_failures_total", source="s", reason="down")
    telemetry.count("metricsmith_samples_accepted_total", 100, source="s")
    assert np.isclose(errors(telemetry), 3)
