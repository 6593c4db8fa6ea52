"""Lag: a story for each reason, and no number that is not known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.sources.kafka.lag import (
    REASONS,
    UNKNOWN,
    Past,
    Present,
    Reason,
    Verdict,
    judge,
    offset_lag,
)

MINUTE = 60_000
STALL_MS = 2 * MINUTE
NAN, INF = np.nan, np.inf


def verdict(
    end: list[int],
    committed: list[int],
    start: int = 0,
    members: bool = True,
    control_tail: bool = False,
    times: list[int] | None = None,
) -> Verdict:
    """The verdict on one pair that was read once a minute."""
    time_ms = np.array(times if times is not None else np.arange(len(end)) * MINUTE, dtype=np.int64)
    past = Past(time_ms, np.array([end]), np.array([committed]))
    now = Present(
        np.array([committed[-1]]),
        np.array([start]),
        np.array([end[-1]]),
        np.array([members]),
        np.array([control_tail]),
    )
    return judge(past, now, STALL_MS)


STORIES = [
    pytest.param(
        {"end": [100, 200, 300, 400], "committed": [90, 190, 300, 400]}, Reason.CAUGHT_UP, 0, 0, id="all read"
    ),
    pytest.param(
        {"end": [1000, 1100, 1200, 1300], "committed": [0, 300, 600, 900]},
        Reason.SHRINKING,
        400,
        120,
        id="reads three times as fast as is written",
    ),
    pytest.param(
        {"end": [1000, 1100, 1200, 1300], "committed": [500, 600, 700, 800]},
        Reason.STABLE,
        500,
        INF,
        id="keeps pace but does not come nearer",
    ),
    pytest.param(
        {"end": [100, 300, 500, 700], "committed": [100, 200, 300, 400]},
        Reason.GROWING,
        300,
        INF,
        id="too slow",
    ),
    pytest.param(
        {"end": [100, 200, 300, 400], "committed": [50, 50, 50, 50]},
        Reason.STALLED,
        350,
        INF,
        id="members, data and no commit",
    ),
    pytest.param(
        {"end": [100, 100, 100, 100, 101, 101], "committed": [100, 100, 100, 100, 100, 100]},
        Reason.STABLE,
        1,
        INF,
        id="a slow topic: nothing to read for long is no stall",
    ),
    pytest.param(
        {"end": [100, 200, 300, 400], "committed": [50, 50, 50, 50], "members": False},
        Reason.IDLE,
        350,
        INF,
        id="nobody reads",
    ),
    pytest.param(
        {"end": [1000, 1100, 1200, 1300], "committed": [900, 1000, 100, 700]},
        Reason.REWOUND,
        600,
        72,
        id="offsets were reset a moment ago",
    ),
    pytest.param(
        {"end": [900, 900, 900, 900, 900, 900], "committed": [900, 100, 200, 300, 400, 500]},
        Reason.SHRINKING,
        400,
        240,
        id="offsets were reset a while ago",
    ),
    pytest.param(
        {"end": [900, 1000, 1100, 1200], "committed": [500, 500, 500, 500], "start": 800},
        Reason.LOST,
        400,
        INF,
        id="what was to be read next is deleted",
    ),
    pytest.param(
        {"end": [501, 501, 501, 501], "committed": [500, 500, 500, 500], "control_tail": True},
        Reason.TXN_TAIL,
        1,
        0,
        id="only a transaction marker is left",
    ),
    pytest.param(
        {"end": [100, 200, 300], "committed": [UNKNOWN, UNKNOWN, UNKNOWN]},
        Reason.NO_COMMIT,
        NAN,
        NAN,
        id="none",
    ),
    pytest.param(
        {"end": [300], "committed": [200]}, Reason.INSUFFICIENT_HISTORY, 100, NAN, id="just started"
    ),
    pytest.param(
        {"end": [300, 400], "committed": [200, 200], "times": [5, 5]},
        Reason.INSUFFICIENT_HISTORY,
        200,
        NAN,
        id="no time between",
    ),
    pytest.param(
        {"end": [900, 900, 40, 50], "committed": [900, 900, 0, 40]},
        Reason.REWOUND,
        10,
        20,
        id="a topic made anew: what was before does not count",
    ),
    pytest.param(
        {"end": [900, 900, 400, 500], "committed": [900, 900, 900, 900]},
        Reason.REWOUND,
        0,
        NAN,
        id="the log was cut before the commit: nobody knows where the group goes on",
    ),
    pytest.param(
        {"end": [400] * 4, "committed": [900] * 4, "members": False}, Reason.REWOUND, 0, NAN, id="long ago"
    ),
]


@pytest.mark.parametrize(("story", "reason", "lag", "catch_up"), STORIES)
def test_stories(story: dict[str, object], reason: Reason, lag: float, catch_up: float) -> None:
    found = verdict(**story)  # type: ignore[arg-type]
    assert REASONS[found.reason[0]] == reason
    np.testing.assert_allclose([found.lag[0], found.catch_up.seconds[0]], [lag, catch_up])


def test_every_reason_has_a_story() -> None:
    assert {case.values[1] for case in STORIES} == set(Reason)


@pytest.mark.parametrize(
    ("end", "committed", "start", "seconds", "at_least"),
    [
        pytest.param([0, 100, 200], 150, 0, 30, False, id="between two readings"),
        pytest.param([0, 100, 200], 100, 0, 60, False, id="at a reading"),
        pytest.param([0, 100, 100, 100, 200], 100, 0, 60, False, id="a pause: written after it"),
        pytest.param([50, 100, 200], 20, 0, 120, True, id="older than the table"),
        pytest.param([50, 100, 200], 20, 150, 30, False, id="what is gone cannot be read"),
        pytest.param([900, 900, 0, 100], 50, 0, 30, False, id="only what follows a truncation"),
        pytest.param([0, UNKNOWN, 200], 50, 0, 90, False, id="a reading is missing"),
        pytest.param([0, 100, 200], 200, 0, 0, False, id="caught up"),
        pytest.param([100, 100, 100], 40, 0, 120, True, id="a quiet topic"),
        pytest.param([0, 100, 200], UNKNOWN, 0, NAN, False, id="no commit"),
        pytest.param([0, 100, 200], 300, 0, NAN, False, id="a commit beyond the end"),
    ],
)
def test_seconds_behind(end: list[int], committed: int, start: int, seconds: float, at_least: bool) -> None:
    found = verdict(end, [committed] * len(end), start)
    np.testing.assert_allclose(found.seconds, [seconds])
    assert found.at_least[0] == at_least


@given(st.integers(-1, 100), st.integers(0, 100), st.integers(0, 100))
def test_lag_is_what_is_still_there_and_never_negative(committed: int, start: int, end: int) -> None:
    [lag] = offset_lag(np.array([committed]), np.array([start]), np.array([end]))
    if committed == UNKNOWN:
        assert np.isnan(lag)
    else:
        assert lag == len(set(range(committed, end)) & set(range(start, end)))


@given(
    st.lists(st.tuples(st.integers(-1, 50), st.integers(-1, 60)), min_size=1, max_size=8),
    st.integers(0, 40),
    st.booleans(),
)
def test_nothing_is_extrapolated(readings: list[tuple[int, int]], start: int, members: bool) -> None:
    end, committed = [e for e, _ in readings], [c for _, c in readings]
    found = verdict(end, committed, start, members)
    window_s = (len(readings) - 1) * 60
    assert not found.seconds[0] > window_s
    assert not found.seconds[0] < 0
    assert not found.catch_up.seconds[0] < 0
