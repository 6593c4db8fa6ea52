"""What is written reads back the same, in both formats, whoever asks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as peer_openmetrics

from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.wire.exposition import (
    ExpositionFormat,
    ExpositionParser,
    Wanted,
    format_of,
    negotiate,
    write_exposition,
)

TEXT, OPENMETRICS = ExpositionFormat.TEXT, ExpositionFormat.OPENMETRICS


def key(name: str, **labels: str) -> bytes:
    return encode_labels({"__name__": name, **labels})


KEYS = [
    key("h_count", a="1"),
    key("h_bucket", a="1", le="+Inf"),
    key("h_bucket", a="1", le="10"),
    key("h_bucket", a="1", le="9.5"),
    key("h_sum", a="1"),
    key("events", a='q"\\\n'),
    key("my.gauge", b="é"),
    key("build_info", version="1"),
    key("broken_bucket", le="1"),
]
VALUES = np.array([2, 2, 1, 1, 3.5, 7, np.inf, 1, np.nan])
METADATA = {
    "h": Metadata(MetricType.HISTOGRAM, help='how\\long "it"\ntook'),
    "events": Metadata(MetricType.COUNTER),
    "my.gauge": Metadata(MetricType.GAUGE),
    "build_info": Metadata(MetricType.INFO),
    "broken": Metadata(MetricType.HISTOGRAM),
}


def test_a_text_document_is_written_as_prometheus_reads_it() -> None:
    assert (
        write_exposition(KEYS, VALUES, METADATA, TEXT, utf8_names=True).body.decode()
        == r"""# HELP h how\\long "it"\ntook
# TYPE h histogram
h_bucket{a="1",le="9.5"} 1
h_bucket{a="1",le="10"} 1
h_bucket{a="1",le="+Inf"} 2
h_count{a="1"} 2
h_sum{a="1"} 3.5
# TYPE events_total counter
events_total{a="q\"\\\n"} 7
# TYPE "my.gauge" gauge
{"my.gauge",b="é"} +Inf
# TYPE build_info gauge
build_info{version="1"} 1
# TYPE broken histogram
broken_bucket{le="1"} NaN
"""
    )


def test_an_openmetrics_document_keeps_the_rules_and_drops_types_that_break_them() -> None:
    times = np.full(len(KEYS), 1_700_000_000_050)
    assert (
        write_exposition(KEYS, VALUES, METADATA, OPENMETRICS, times, utf8_names=True).body.decode()
        == r"""# HELP h how\\long \"it\"\ntook
# TYPE h histogram
h_bucket{a="1",le="9.5"} 1 1700000000.050
h_bucket{a="1",le="10"} 1 1700000000.050
h_bucket{a="1",le="+Inf"} 2 1700000000.050
h_count{a="1"} 2 1700000000.050
h_sum{a="1"} 3.5 1700000000.050
# TYPE events counter
events_total{a="q\"\\\n"} 7 1700000000.050
# TYPE "my.gauge" gauge
{"my.gauge",b="é"} +Inf 1700000000.050
# TYPE build info
build_info{version="1"} 1 1700000000.050
# TYPE broken_bucket unknown
broken_bucket{le="1"} NaN 1700000000.050
# EOF
"""
    )


def test_nothing_is_written_as_an_empty_document() -> None:
    assert write_exposition([], np.empty(0), {}, TEXT) == (b"", 0)
    assert write_exposition([], np.empty(0), {}, OPENMETRICS) == (b"# EOF\n", 0)


def test_a_series_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="without a name"):
        write_exposition([encode_labels({"a": "b"})], np.ones(1), {}, TEXT)


names = st.sampled_from(
    [
        "a",
        "a_total",
        "a_created",
        "a_sum",
        "a_count",
        "a_bucket",
        "a_info",
        "b",
        "b_total",
        "b:c",
        "é.x",
        'q"\n',
    ]
)
label_sets = st.dictionaries(
    st.sampled_from(["le", "quantile", "a", "x", "my.label"]),
    st.sampled_from(["1", "0.5", "+Inf", "inf", "NaN", 'x"\\\n', "é", "{}, #"]) | st.text(max_size=4),
    max_size=3,
)
metadata = st.dictionaries(
    st.sampled_from(["a", "a_total", "a_info", "b", "b_total", "é.x"]),
    st.builds(
        Metadata, st.sampled_from(MetricType), st.sampled_from(["", "x", "total"]), st.text(max_size=5)
    ),
)


@pytest.mark.parametrize("format", [TEXT, OPENMETRICS])
@given(
    content=st.dictionaries(
        st.builds(lambda n, ls: encode_labels({"__name__": n, **ls}), names, label_sets),
        st.floats() | st.sampled_from([0.0, 1.0, 5.0]),
        max_size=8,
    ),
    known=metadata,
    time=st.none() | st.integers(-(10**12), 10**13),
)
def test_what_is_written_reads_back_the_same(
    content: dict[bytes, float], known: dict[str, Metadata], time: int | None, format: ExpositionFormat
) -> None:
    keys, values = list(content), np.array(list(content.values()), dtype=np.float64)
    times = None if time is None else np.full(len(keys), time, dtype=np.int64)
    body, left_out = write_exposition(keys, values, known, format, times, utf8_names=True)
    parsed = ExpositionParser(format).parse(body)
    shown = {with_total(k, known): repr(v) for k, v in content.items()}
    shown |= {k: repr(v) for k, v in content.items() if with_total(k, known) == k}
    assert left_out == len(content) - len(shown)
    expected = sorted((k, v, time) for k, v in shown.items())
    found = zip(parsed.structure.keys, parsed.values.tolist(), strict=True)
    read_times = [time] if parsed.times_ms is None else parsed.times_ms.tolist()
    assert sorted((k, repr(v), time) for k, v in found) == expected
    assert set(read_times) <= {time}
    if format is OPENMETRICS:
        list(peer_openmetrics(body.decode()))


def with_total(series: bytes, known: dict[str, Metadata]) -> bytes:
    labels = decode_labels(series)
    name = labels["__name__"]
    lacking = name in known and known[name].type is MetricType.COUNTER and not name.endswith("_total")
    return (
        encode_labels({**labels, "__name__": f"{name}_total"})
        if lacking and f"{name}_total" not in known
        else series
    )


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        (None, TEXT),
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
        ("text/plain", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0, text/plain", OPENMETRICS),
        ("application/openmetrics-text;q=0.3, text/plain;q=0.5", TEXT),
        ("application/openmetrics-text;q=0, */*", TEXT),
        ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", TEXT),
        ("application/openmetrics-text;q=x", TEXT),
        ("Application/OpenMetrics-Text;VERSION=1.0.0;Q=0.9,*/*;q=0.1", OPENMETRICS),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            OPENMETRICS,
        ),
        (";;;,=,q=1", TEXT),
    ],
)
def test_a_client_gets_the_format_it_wants_most(accept: str | None, format: ExpositionFormat) -> None:
    assert negotiate(accept) == (format, False)


@pytest.mark.parametrize(
    ("content_type", "format"),
    [
        (None, TEXT),
        ("text/html", TEXT),
        ("text/plain; version=0.0.4", TEXT),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPENMETRICS),
        ("APPLICATION/openmetrics-text", OPENMETRICS),
    ],
)
def test_a_scrape_is_read_in_the_format_that_it_says(
    content_type: str | None, format: ExpositionFormat
) -> None:
    assert format_of(content_type) is format


@pytest.mark.parametrize(
    ("accept", "format", "utf8_names"),
    [
        ("text/plain;version=1.0.0", TEXT, True),
        ("text/plain;version=1.0.0;escaping=underscores", TEXT, False),
        ("text/plain;version=0.0.4;escaping=values", TEXT, False),
        ("text/plain;version=0.0.4;escaping=allow-utf-8", TEXT, True),
        ("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2", TEXT, True),
        ("text/plain;version=1.0.0;escaping=allow-utf-8;q=0", TEXT, False),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
            "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
            "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            OPENMETRICS,
            True,
        ),
    ],
)
def test_quoted_names_go_to_those_who_read_them(
    accept: str, format: ExpositionFormat, utf8_names: bool
) -> None:
    assert negotiate(accept) == (format, utf8_names)


@pytest.mark.parametrize("format", ExpositionFormat)
@pytest.mark.parametrize("utf8_names", [False, True])
def test_a_written_content_type_is_recognised(format: ExpositionFormat, utf8_names: bool) -> None:
    assert format_of(Wanted(format, utf8_names).content_type) is format


def test_names_that_old_readers_refuse_get_underscores() -> None:
    keys = [key("1 metric.x", **{"a b": "c", "x:y": "d e"}), key("é"), key("plain:name", a="é")]
    known = {"1 metric.x": Metadata(MetricType.GAUGE, help="odd")}
    assert write_exposition(keys, np.ones(3), known, TEXT).body.decode() == (
        "# HELP __metric_x odd\n# TYPE __metric_x gauge\n"
        '__metric_x{a_b="c",x_y="d e"} 1\n'
        "# TYPE _ untyped\n_ 1\n"
        '# TYPE plain:name untyped\nplain:name{a="é"} 1\n'
    )


@pytest.mark.parametrize("format", [TEXT, OPENMETRICS])
@pytest.mark.parametrize(
    "others",
    [
        [key("a.b", x="1")],
        [key("a.b", x="1"), key("a/b", x="1")],
        [key("a_b", **{"x": "2", "y.z": "1", "y/z": "1"})],
        [key("a_b", **{"..name..": "other"})],
    ],
)
def test_series_that_would_stand_twice_are_left_out_and_told(
    others: list[bytes], format: ExpositionFormat
) -> None:
    kept = key("a_b", x="1")
    values = np.array([*range(len(others)), 7.0])
    body, left_out = write_exposition([*others, kept], values, {}, format)
    assert left_out == len(others)
    assert [line for line in body.decode().splitlines() if line[0] != "#"] == ['a_b{x="1"} 7']


@pytest.mark.parametrize("format", [TEXT, OPENMETRICS])
def test_a_counter_and_its_total_stand_there_once(format: ExpositionFormat) -> None:
    keys = [key("c", s="1"), key("c_total", s="1"), key("c", s="2")]
    known = {"c": Metadata(MetricType.COUNTER)}
    times = np.array([1000, 2000, 3000])
    body, left_out = write_exposition(keys, np.array([1.0, 2.0, 3.0]), known, format, times)
    assert left_out == 1
    shown = [line.split(" ")[:2] for line in body.decode().splitlines() if line[0] != "#"]
    assert sorted(shown) == [['c_total{s="1"}', "2"], ['c_total{s="2"}', "3"]]
