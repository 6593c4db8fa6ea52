"""What is logged of problems: each thing by name, none of them again and again, never a flood."""

from __future__ import annotations

import logging

from metricsmith.model.telemetry import LOG_EVERY_S, MAX_SUBJECTS, Telemetry
from metricsmith.testing.clock import FakeClock

log = logging.getLogger(__name__)
FAILURES = "metricsmith_scrape_failures_total"


def fail(telemetry, subject=""):
    telemetry.problem(log, FAILURES, f"{subject} failed", subject=subject, source="s", reason="timeout")


def test_a_subject_hides_no_other_and_is_not_repeated(caplog):
    clock = FakeClock()
    telemetry = Telemetry(clock)
    for subject in ("a", "b", "", "a", "a", "b"):
        fail(telemetry, subject)
    assert caplog.messages == ["a failed", "b failed", " failed"]
    clock.advance(LOG_EVERY_S)
    fail(telemetry, "a")
    assert caplog.messages[3:] == ["a failed (and 2 more like it)"]
    assert telemetry.value(FAILURES, source="s", reason="timeout") == 7


def test_very_many_subjects_share_a_line_until_others_have_rested(caplog):
    clock = FakeClock()
    telemetry = Telemetry(clock)
    for number in range(MAX_SUBJECTS + 500):
        fail(telemetry, f"t{number}")
    assert len(caplog.messages) == MAX_SUBJECTS + 1
    clock.advance(LOG_EVERY_S)
    fail(telemetry, "late")
    assert caplog.messages[-1] == "late failed"
