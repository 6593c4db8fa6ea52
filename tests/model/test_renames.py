"""What is known of a metric follows it when it is renamed."""

from __future__ import annotations

import pytest

from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.renames import Renames

KNOWN = {
    "hits_total": Metadata(MetricType.COUNTER, "", "Hits."),
    "wait_seconds": Metadata(MetricType.HISTOGRAM, "seconds", "Waits."),
}


@pytest.mark.parametrize(
    ("before", "after", "family", "like"),
    [
        ("hits_total", "visits_total", "visits_total", "hits_total"),
        ("hits_total", "visits", "visits", "hits_total"),
        ("wait_seconds_bucket", "shop_wait_seconds_bucket", "shop_wait_seconds", "wait_seconds"),
        ("wait_seconds_sum", "pause_sum", "pause", "wait_seconds"),
    ],
)
def test_the_new_family_is_known_too(before: str, after: str, family: str, like: str) -> None:
    renames = Renames()
    renames.note(before, after)
    assert renames.follow(KNOWN) == {**KNOWN, family: KNOWN[like]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("hits_total", "hits_total"),
        ("wait_seconds_bucket", "pauses"),  # no longer a part of a histogram
        ("unknown", "other"),
        ("unknown_total", "hits_total"),  # what the target says itself counts
    ],
)
def test_nothing_else_is_said_of_a_name(before: str, after: str) -> None:
    renames = Renames()
    renames.note(before, after)
    assert renames.follow(KNOWN) == KNOWN


def test_a_name_that_the_target_describes_keeps_its_description() -> None:
    renames = Renames()
    renames.note("hits_total", "wait_seconds")
    assert renames.follow(KNOWN) == KNOWN
