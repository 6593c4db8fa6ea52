"""Series kept, dropped and renamed by settings."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from metricsmith.model.metadata import MetricType

STALE = "stale"
SERIES = {'http_hits{code="200"}': 1, 'http_hits{code="500"}': 2, 'http_size{code="500"}': 3, "up": 4}


@pytest.mark.parametrize(
    ("config", "passes"),
    [
        ({"keep": ['{__name__=~"http_.*",code!="200"}']}, [2, 3]),
        ({"keep": ["http_hits", "up"]}, [1, 2, 4]),
        ({"drop": ['{code=~"5.."}']}, [1, 4]),
        ({"drop": ['{__name__=~".+",code=""}']}, [1, 2, 3]),
        ({"keep": ["http_hits"], "drop": ['{code="500"}']}, [1]),
    ],
)
def test_filter(lab, config, passes):
    got = lab.processor("filter", **config).process(lab.batch(1, SERIES))
    assert got.value.tolist() == passes
    assert lab.dropped("filtered") == 4 - len(passes)


@pytest.mark.parametrize(
    ("name", "config", "says"),
    [
        ("filter", {}, "neither `keep` nor `drop`"),
        ("filter", {"keep": ["{}"]}, "at least one non-empty matcher"),
        ("filter", {"keep": ['up{job="a"']}, "unexpected end of input inside braces"),
        ("filter", {"drop": ['{a=~"("}']}, "regular expression"),
        ("rename", {}, "neither `metrics` nor `labels`"),
        ("rename", {"metrics": {"(": "a"}}, "RE2"),
        ("rename", {"labels": {"a-b": "c"}}, "label name"),
        ("sample", {}, "none of them"),
        ("sample", {"every": 2, "share": 0.5}, "every and share"),
        ("aggregate", {"match": ["up"]}, "neither `by` nor `without`"),
        ("aggregate", {"match": ["up"], "by": [], "over_time": "max"}, "without an interval"),
        ("average", {"quantiles": [1.5]}, "less than 1"),
        ("average", {"quantiles": [0.5, 0.5]}, "a quantile twice"),
        ("rate", {"suffix": ""}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(lab, name, config, says):
    with pytest.raises(ValidationError, match=says.replace("(", r"\(")):
        lab.processor(name, **config)


def test_rename_metrics_with_groups_and_labels(lab):
    rename = lab.processor(
        "rename",
        metrics={"http_(.*)": "web_$1", ".*_hits": "never"},
        labels={"code": "status", "a": "b", "b": "a"},
        match=["http_hits"],
    )
    values = {'http_hits{code="200",a="1",b="2"}': 1, 'http_size{code="500"}': 3}
    assert lab.shown(rename.process(lab.batch(1, values))) == {
        'web_hits{a="2", b="1", status="200"}': 1,
        'http_size{code="500"}': 3,
    }


def test_metadata_follows_and_names_do_not_vanish(lab):
    types = {"lat": MetricType.HISTOGRAM}
    rename = lab.processor("rename", metrics={"lat(_.*)?": "latency$1", "up": "$1"})
    got = rename.process(lab.batch(1, {"lat_sum": 1, "lat_count": 2, "up": 3}, types=types))
    assert lab.shown(got) == {"latency_sum": 1, "latency_count": 2, "up": 3}
    assert got.layout.metadata["latency"].type is MetricType.HISTOGRAM


@pytest.mark.parametrize(
    ("first", "second", "stays"), [(1, 2, 2), (1, STALE, 1), (STALE, 2, 2), (STALE, STALE, STALE)]
)
def test_of_two_that_become_one_the_later_stays_but_an_end_is_no_sample(lab, first, second, stays):
    rename = lab.processor("rename", metrics={"a|b": "c"})
    assert lab.shown(rename.process(lab.batch(1, {"a": first, "b": second}))) == {"c": stays}
    assert lab.dropped("duplicate") == 1
