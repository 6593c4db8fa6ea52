"""What a counter grew by is said once, with the time in which it did."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.sinks.newrelic.points import Converter, Kind, Points

COUNTER, GAUGE = Metadata(MetricType.COUNTER), Metadata(MetricType.GAUGE)
HISTOGRAM, SUMMARY = Metadata(MetricType.HISTOGRAM), Metadata(MetricType.SUMMARY)
NAN = float("nan")


def _converter(here: Any, buckets: bool = False) -> Converter:
    return Converter(here.context, 300_000, buckets)


def _said(here: Any, points: Points | None) -> dict[str, Any]:
    """Return what is said of each metric: a gauge's value, (growth, ms), or (count, sum, ms)."""
    if points is None:
        return {}
    said: dict[str, Any] = {}
    for i, series in enumerate(points.layout.ids.tolist()):
        name = here.series.labels(series)["__name__"]
        value, count, ms = float(points.value[i]), float(points.count[i]), int(points.interval_ms[i])
        said[name] = {0: value, 1: (value, ms), 2: (count, value, ms)}[int(points.kind[i])]
    return said


def _unsent(here: Any, reason: str) -> float:
    found = here.telemetry.value("metricsmith_sink_unsent_samples_total", sink="far", reason=reason)
    assert isinstance(found, float)
    return found


@pytest.mark.parametrize(
    ("type_", "name", "kind"),
    [
        (MetricType.COUNTER, "a_total", Kind.COUNT),
        (MetricType.COUNTER, "a", Kind.COUNT),
        (MetricType.GAUGE, "a_total", Kind.GAUGE),
        (MetricType.UNKNOWN, "a", Kind.GAUGE),
        (MetricType.INFO, "a_info", Kind.GAUGE),
        (MetricType.STATESET, "a", Kind.GAUGE),
        (MetricType.GAUGEHISTOGRAM, "a_gsum", Kind.GAUGE),
        (MetricType.HISTOGRAM, "a_count", Kind.COUNT),  # without its sum
        (None, "a_total", Kind.COUNT),
        (None, "a", Kind.GAUGE),
    ],
)
def test_the_type_says_what_a_metric_is(here: Any, type_: MetricType | None, name: str, kind: Kind) -> None:
    family = name if name.endswith("_total") or type_ is MetricType.INFO else "a"
    known = {} if type_ is None else {family: Metadata(type_)}
    layout, converter = here.layout([{"__name__": name}], **known), _converter(here)
    converter.points(here.batch(layout, 1000, [1]))
    points = converter.points(here.batch(layout, 2000, [2]))
    assert points is not None and points.kind.tolist() == [kind]


def test_counts_over_resets_gaps_ends_and_what_is_no_number(here: Any) -> None:
    layout, converter = (
        here.layout([{"__name__": "c_total"}, {"__name__": "g"}], c_total=COUNTER, g=GAUGE),
        None,
    )
    converter = _converter(here)
    steps: list[tuple[int, list[float], list[bool] | None, dict[str, Any]]] = [
        (0, [10, 1], None, {"g": 1}),  # the first says nothing yet
        (10_000, [13, 2], None, {"c_total": (3, 10_000), "g": 2}),
        (20_000, [13, NAN], None, {"c_total": (0, 10_000)}),
        (30_000, [4, float("inf")], None, {"c_total": (4, 10_000)}),  # it was restarted
        (45_000, [NAN, 3], None, {"g": 3}),
        (60_000, [9, 4], None, {"c_total": (5, 30_000), "g": 4}),  # the whole time without one
        (60_000, [11, 4], None, {"g": 4}),  # not after the one before
        (70_000, [0, 0], [True, True], {}),
        (80_000, [12, 5], None, {"c_total": (3, 20_000), "g": 5}),
        (80_000 + 300_001, [99, 6], None, {"g": 6}),  # after too long a time it begins anew
        (400_000, [100, 7], None, {"c_total": (1, 19_999), "g": 7}),
    ]
    for time_ms, values, stale, wanted in steps:
        assert _said(here, converter.points(here.batch(layout, time_ms, values, stale))) == wanted, time_ms
    assert _unsent(here, "first") == 2
    assert _unsent(here, "not_finite") == 3
    assert _unsent(here, "ended") == 2
    assert _unsent(here, "out_of_order") == 1


def test_histograms_and_summaries_are_summaries(here: Any) -> None:
    names = ["h_sum", "h_count", "s_sum", "s_count"]
    series = [{"__name__": n, "zone": "a"} for n in names]
    series += [
        {"__name__": "h_bucket", "zone": "a", "le": "+Inf"},
        {"__name__": "s", "zone": "a", "quantile": "0.5"},
    ]
    layout = here.layout(series, h=HISTOGRAM, s=SUMMARY)
    converter, with_buckets = _converter(here), _converter(here, buckets=True)
    for each in (converter, with_buckets):
        assert _said(here, each.points(here.batch(layout, 0, [5, 2, -1, 4, 2, 0.1]))) == {
            "s.percentiles": 0.1
        }
    later = here.batch(layout, 15_000, [6.5, 5, -3, 6, 5, 0.2])
    wanted = {"h": (3, 1.5, 15_000), "s": (2, -2, 15_000), "s.percentiles": 0.2}
    assert _said(here, converter.points(later)) == wanted
    assert _said(here, with_buckets.points(later)) == wanted | {"h_bucket": (3, 15_000)}
    restarted = converter.points(here.batch(layout, 30_000, [0.5, 1, 2, 7, 1, NAN]))
    assert _said(here, restarted) == {"h": (1, 0.5, 15_000), "s": (1, 5, 15_000)}
    assert _unsent(here, "skipped") == 3
    assert restarted is not None
    assert [here.series.labels(i)["zone"] for i in restarted.layout.ids.tolist()] == ["a", "a"]


def test_what_does_not_change_is_found_by_identity(here: Any) -> None:
    layout = here.layout([{"__name__": "c_total"}, {"__name__": "g"}], c_total=COUNTER, g=GAUGE)
    converter = _converter(here)
    found = [converter.points(here.batch(layout, t, [t, NAN if t > 3 else t])) for t in range(1, 8)]
    layouts = [points.layout for points in found if points is not None]
    assert len({id(layout) for layout in layouts[1:3]}) == 1
    assert len({id(layout) for layout in layouts[3:]}) == 1, "nor when the same ones are missing"


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60), st.integers(0, 1000)), min_size=1, max_size=40),
    st.integers(1, 12),
)
def test_all_growth_is_said_once_however_samples_are_put_into_batches(
    new_here: Any, samples: list[tuple[int, int, int]], size: int
) -> None:
    """In time order, growth over all counts is that of the counter, resets added back."""
    samples = sorted({(series, t): (series, t, v) for series, t, v in samples}.values(), key=lambda s: s[1])
    here = new_here()
    converter, said = _converter(here), np.zeros(4)
    for at in range(0, len(samples), size):
        part = samples[at : at + size]
        layout = here.layout([{"__name__": "c_total", "n": str(s)} for s, _, _ in part], None)
        points = converter.points(here.batch(layout, [t * 1000 for _, t, _ in part], [v for *_, v in part]))
        if points is not None:
            assert (points.interval_ms > 0).all()
            for series, value in zip(points.layout.ids.tolist(), points.value.tolist(), strict=True):
                said[int(here.series.labels(series)["n"])] += value
    for series in range(4):
        values = [v for s, _, v in samples if s == series]
        wanted = sum(b - a if b >= a else b for a, b in pairwise(values))
        assert said[series] == wanted
