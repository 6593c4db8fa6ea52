"""Rows of one-shot commands, from samples as the source makes them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from rich.console import Console

from metricsmith.cli.kafka_tables import fitted, lag_table, topic_table
from metricsmith.runtime.kafka_reports import WORST_FIRST, lag_json, lag_rows, topic_json, topic_rows
from metricsmith.runtime.kafka_session import Snapshot
from metricsmith.sources.kafka.lag import Reason

PAIR = "kafka_consumergroup"
PART = "kafka_topic_partition"


def lags(reasons: list[str], **of_first: float) -> Snapshot:
    """A group on a topic with a partition for each reason; all have a lag of 5 but those without commit."""
    values: dict[tuple[str, ...], float] = {}
    for number, reason in enumerate(reasons):
        at = ("g", "t", str(number))
        values[f"{PAIR}_lag_state", *at, reason] = 1.0
        if reason != "no_commit":
            values |= {(f"{PAIR}_lag", *at): 5.0, (f"{PAIR}_lag_seconds", *at): 10.0 + number}
    values |= {(f"{PAIR}_{name}", "g", "t", "0"): value for name, value in of_first.items()}
    values[f"{PAIR}_lag_sum", "g", "t"] = 5.0 * len(reasons)
    return Snapshot(0, values)


def test_every_reason_has_its_place() -> None:
    assert sorted(WORST_FIRST) == sorted(Reason)


@pytest.mark.parametrize(
    ("reasons", "worst"),
    [
        (["caught_up", "growing", "shrinking"], "growing"),
        (["stable", "lost", "stalled"], "lost"),
        (["caught_up", "no_commit"], "no_commit"),
        (["caught_up", "caught_up"], "caught_up"),
    ],
)
def test_a_topic_has_the_worst_reason_of_its_partitions(reasons: list[str], worst: str) -> None:
    [whole, *parts] = lag_rows(lags(reasons))
    assert (whole.partition, whole.reason) == (None, worst)
    assert [part.reason for part in parts] == reasons


@pytest.mark.parametrize(
    ("of_first", "told"),
    [
        ({"catch_up_seconds": math.inf}, {"catch_up_seconds": None, "lag_seconds": 10.0}),
        ({"catch_up_seconds": 3.0}, {"catch_up_seconds": 3.0, "lag_seconds": 10.0}),
        ({}, {"lag_seconds": 10.0}),
        ({"lag_seconds_at_least": 1.0}, {"lag_seconds": None}),
    ],
)
def test_never_is_null_and_unknown_is_left_out(of_first: dict[str, float], told: dict[str, Any]) -> None:
    [_, first] = lag_json(lag_rows(lags(["growing"], **of_first)))
    assert {name: value for name, value in first.items() if name.endswith("seconds")} == told


def test_a_topic_is_as_far_behind_as_its_last_partition_if_all_are_known() -> None:
    assert lag_rows(lags(["growing", "growing"]))[0].lag_seconds == 11.0
    assert lag_rows(lags(["growing", "no_commit"]))[0].lag_seconds == 10.0
    some = lags(["growing", "growing"])
    del some.values[f"{PAIR}_lag_seconds", "g", "t", "1"]  # type: ignore[attr-defined]
    assert lag_rows(some)[0].lag_seconds is None


def topic(time_ms: int, ends: list[float], **more: float) -> Snapshot:
    """A topic with three partitions, of which some ends were read."""
    values: dict[tuple[str, ...], float] = {("kafka_topic_partitions", "t"): 3.0}
    for number in range(3):
        at = ("t", str(number))
        values |= {(f"{PART}_replicas", *at): 2.0, (f"{PART}_leader", *at): number - 1.0}
        values[f"{PART}_under_replicated_partition", *at] = float(number < 2)
    for number, end in enumerate(ends):
        values[f"{PART}_current_offset", "t", str(number)] = end
        values[f"{PART}_oldest_offset", "t", str(number)] = 1.0
    return Snapshot(time_ms, values | {(name, "t"): value for name, value in more.items()})


def test_a_topic_row() -> None:
    [row] = topic_rows(topic(10_000, [11, 21, 31]), topic(0, [1, 21, 21]))
    assert (row.partitions, row.replicas, row.under_replicated, row.offline) == (3, 2, 2, 1)
    assert (row.records, row.records_per_second) == (60, 2.0)


@pytest.mark.parametrize("ends", [[11, 21], []], ids=["some", "none"])
def test_what_was_not_read_is_not_known(ends: list[float]) -> None:
    [row] = topic_rows(topic(10_000, ends), topic(0, [1, 1, 1]))
    assert (row.records, row.bytes, row.records_per_second, row.cleanup_policy) == (None,) * 4


@pytest.mark.parametrize("before", [topic(0, [12, 1, 1]), topic(10_000, [11, 21, 31]), topic(0, [1, 1])])
def test_no_rate_of_an_end_that_fell_or_of_no_time(before: Snapshot) -> None:
    assert topic_rows(topic(10_000, [11, 21, 31]), before)[0].records_per_second is None


def test_retention_without_limit_is_null_and_unknown_is_left_out() -> None:
    [told] = topic_json(topic_rows(topic(0, [1, 1, 1], kafka_topic_retention_seconds=math.inf)))
    assert told["retention_seconds"] is None and "retention_bytes" not in told


@pytest.mark.parametrize(("columns", "bars"), [(40, False), (160, True)])
def test_bars_give_way_to_names(columns: int, bars: bool) -> None:
    console = Console(width=columns, record=True, file=None, quiet=True)
    for table in (
        lag_table(lag_rows(lags(["growing"])), False),
        topic_table(topic_rows(topic(0, [2, 2, 2]))),
    ):
        headers = [column.header for column in fitted(table, console).columns]
        assert ("" in headers) is bars
