"""Line protocol: every valid line gives the samples it says, every other is left out and told."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import LimitExceeded
from metricsmith.model.labels import decode_labels, encode_labels, format_labels
from metricsmith.model.series import SeriesTable
from metricsmith.wire import line_protocol
from metricsmith.wire.line_protocol import LineDecoder, WriteDocument

NOW_MS = 1_700_000_000_000


def decode(body: bytes | str, decoder: LineDecoder | None = None, **options: object) -> WriteDocument:
    text = body.encode() if isinstance(body, str) else body
    return (decoder or LineDecoder(SeriesTable())).decode(text, **{"now_ms": NOW_MS, **options})  # type: ignore[arg-type]


def samples(body: bytes | str, **options: object) -> list[tuple[str, int, float]]:
    """Return series, milliseconds and value of each sample."""
    series = SeriesTable()
    batch = decode(body, LineDecoder(series), **options).batch
    names = [format_labels(series.labels(i)) for i in batch.layout.ids.tolist()]
    return list(zip(names, batch.times().tolist(), batch.value.tolist(), strict=True))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cpu usage=1", [("cpu_usage", 1.0)]),
        ("cpu value=1", [("cpu", 1.0)]),
        ("cpu,host=a,zone=b idle=1.5,user=2", [
            ('cpu_idle{host="a", zone="b"}', 1.5),
            ('cpu_user{host="a", zone="b"}', 2.0),
        ]),
        ("m a=1i,b=-2i,c=3u,d=.5,e=5.,f=1e3,g=-1.5E-3", [
            ("m_a", 1.0), ("m_b", -2.0), ("m_c", 3.0), ("m_d", 0.5), ("m_e", 5.0), ("m_f", 1000.0),
            ("m_g", -0.0015),
        ]),
        ("m a=9223372036854775807i,b=18446744073709551615u", [("m_a", 2.0**63), ("m_b", 2.0**64)]),
        ("m a=t,b=TRUE,c=f,d=False", [("m_a", 1.0), ("m_b", 1.0), ("m_c", 0.0), ("m_d", 0.0)]),
        ('m a="text, with = and \\" in it",b=1', [("m_b", 1.0)]),
        ('m a="over\ntwo lines",b=1', [("m_b", 1.0)]),
        (r"my\ m\,x,a\=b=c\ d\,e f\ g=1", [('{"my m,x_f g", "a=b"="c d,e"}', 1.0)]),
        (r"m\x,a=b\\c v=1", [('{"m\\\\x_v", a="b\\\\\\\\c"}', 1.0)]),
        ('m a="one\\\ntwo\\",b=2\nthree",c=1', [("m_c", 1.0)]),
        ('m a"b=1,c\\="d=2', [('{"m_a\\"b"}', 1.0), ('{"m_c=\\"d"}', 2.0)]),
        ('m"q v=1', [('{"m\\"q_v"}', 1.0)]),
        ("  m   a=1   ", [("m_a", 1.0)]),
        ("m a=1,a=2", [("m_a", 1.0), ("m_a", 2.0)]),
        ("größe,ort=Köln wert=1", [('{"größe_wert", ort="Köln"}', 1.0)]),
        ("# comment\n\n  # another\r\n   \nm a=1", [("m_a", 1.0)]),
    ],
)  # fmt: skip
def test_a_line_gives_a_sample_per_number(line, expected):
    assert [(name, value) for name, _, value in samples(line)] == expected
    assert decode(line).bad_lines == 0


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(
    ("precision", "time", "expected_ms"),
    [
        ("ns", "1700000000123456789", 1_700_000_000_123),
        ("n", "-1", -1),
        ("us", "1700000000123456", 1_700_000_000_123),
        ("u", "1700000000123999", 1_700_000_000_123),
        ("µ", "1000", 1),
        ("ms", "1700000000123", 1_700_000_000_123),
        ("s", "1700000000", 1_700_000_000_000),
        ("m", "28333333", 1_699_999_980_000),
        ("h", "472222", 1_699_999_200_000),
        ("ns", "", NOW_MS),
        ("h", "9223372036854775807", (2**63 - 1) // 3_600_000 * 3_600_000),
    ],
)
def test_times_are_in_the_precision_of_the_request(precision, time, expected_ms, plain):
    line = f"m a=1 {time}" if plain else f'm s="",a=1 {time}'
    assert samples(line, precision=precision) == [("m_a", expected_ms, 1.0)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("m", "missing fields"),
        ("m ", "missing fields"),
        ("m,a=b", "missing fields"),
        (",a=b c=1", "missing measurement"),
        ("m,=b c=1", "missing tag key"),
        ("m, c=1", "missing tag key"),
        ("m,a= c=1", "missing tag value"),
        ("m,a c=1", "missing tag value"),
        ("m,a=b=c d=1", "invalid tag format"),
        ("m,a=1,a=2 c=1", "duplicate tags"),
        ("m,__name__=x c=1", "__name__"),
        ("m c", "invalid field format"),
        ("m =1", "missing field key"),
        ("m c=", "missing field value"),
        ("m c=1,", "invalid field format"),
        ("m c=1,,d=1", "invalid field format"),
        ("m c=1d", "invalid number"),
        ("m c=+1", "invalid boolean"),
        ("m c=.", "invalid number"),
        ("m c=1_0", "invalid number"),
        ("m c=0x10", "invalid number"),
        ("m c=1.5i", "invalid number"),
        ("m c=-1u", "value out of range"),
        ("m c=9223372036854775808i", "value out of range"),
        ("m c=18446744073709551616u", "value out of range"),
        ("m c=1e400", "invalid float"),
        ("m c=NaN", "invalid boolean"),
        ("m c=-inf", "invalid number"),
        ("m c=tRue", "invalid boolean"),
        ('m c="x', "unbalanced quotes"),
        ('m c="x"y', "invalid field format"),
        ("m c=1 x", "bad timestamp"),
        ("m c=1 5.5", "bad timestamp"),
        ("m c=1 +5", "bad timestamp"),
        ("m c=1 5 6", "point is invalid"),
        ("m c=1 99999999999999999999", "out of range"),
        (b"m,a=\xff c=1", "not UTF-8"),
        (b"m\xfe c=1", "not UTF-8"),
        ("m\x00 c=1", "control character"),
        ("m,a=b\tc d=1", "control character"),
    ],
)  # fmt: skip
def test_a_malformed_line_is_told_and_its_neighbours_are_taken(line, reason):
    text = line.encode() if isinstance(line, str) else line
    end = b"" if reason == "unbalanced quotes" else b"\nafter value=2\n"
    found = decode(b"before value=1\n" + text + end)
    assert found.bad_lines == 1
    assert found.first_bad is not None and found.first_bad.number == 2
    assert reason in str(found.first_bad)
    assert found.batch.value.tolist() == ([1.0, 2.0] if end else [1.0])


def test_lines_end_with_a_carriage_return_too():
    assert samples("a x=1 5\r\nb y=2\r\n", precision="ms") == [("a_x", 5, 1.0), ("b_y", NOW_MS, 2.0)]


def test_samples_stay_in_the_order_of_lines():
    body = 'm a=1 1\nm s="x",a=2 1\nm a=3 1\nm a=t 1\n'
    assert [value for _, _, value in samples(body)] == [1.0, 2.0, 3.0, 1.0]


def test_what_is_no_number_is_counted():
    found = decode('m s="x",t="y",a=1\nm s="z"\n')
    assert (found.strings, found.lines, len(found.batch)) == (3, 2, 1)


def test_the_tags_of_the_request_give_way_to_those_of_a_line():
    tags = ((b"db", b"telegraf"),)
    body = 'm a=1\nm,db=own a=2\nm,db=own s="",a=3\nm s="",a=4'
    found = [name for name, _, _ in samples(body, tags=tags)]
    assert found == ['m_a{db="telegraf"}', 'm_a{db="own"}', 'm_a{db="own"}', 'm_a{db="telegraf"}']


def test_a_decoder_keeps_requests_of_different_tags_apart():
    series = SeriesTable()
    decoder = LineDecoder(series)
    for database in (b"one", b"two", b"one"):
        batch = decode("m a=1", decoder, tags=((b"db", database),)).batch
        assert series.labels(int(batch.layout.ids[0]))["db"] == database.decode()


def test_forgotten_shapes_come_back():
    series = SeriesTable()
    decoder = LineDecoder(series, budget_bytes=1000)
    for _ in range(3):
        batch = decode("\n".join(f"m,i={i} a={i}" for i in range(100)), decoder).batch
        names = [series.labels(i)["i"] for i in batch.layout.ids.tolist()]
        assert names == [str(i) for i in range(100)]
    assert len(series) == 100


def test_limits(monkeypatch):
    monkeypatch.setattr(line_protocol, "MAX_LINES", 3)
    decode("m a=1\n" * 3)
    with pytest.raises(LimitExceeded, match="got 4 lines, wanted at most 3"):
        decode("m a=1\n" * 4)
    monkeypatch.setattr(line_protocol, "MAX_SEPARATORS", 6)
    with pytest.raises(LimitExceeded, match="got 7 separators"):
        decode("m a=1,b=2,c=3,")
    monkeypatch.setattr(line_protocol, "MAX_SEPARATORS", 100)
    monkeypatch.setattr(line_protocol, "MAX_SAMPLES", 5)
    with pytest.raises(LimitExceeded, match="more than 5 samples"):
        decode("m a=1,b=2,c=3\n" * 2)
    with pytest.raises(LimitExceeded, match="more than 5 samples"):
        decode("m a=t,b=t,c=t\n" * 2)
    monkeypatch.setattr(line_protocol, "MAX_CAREFUL_LINES", 1)
    with pytest.raises(LimitExceeded, match="more than 1 lines with quotes"):
        decode("m a=t\n" * 2)


def test_a_line_has_bounded_tags():
    tags = ",".join(f"t{i}=x" for i in range(257))
    found = decode(f"m,{tags} a=1")
    assert "too many tags" in str(found.first_bad)
    assert "max key size exceeded" in str(decode(f"m,t={'x' * 70_000} a=1").first_bad)


# Fuzz: whatever comes, plain lines as arrays and the careful reader say the same.
PIECES = st.sampled_from(
    [b"m", b"cpu", b",", b"=", b" ", b"\n", b'"', b"\\", b"#", b"\r", b"a", b"b", b"1", b"-", b".5", b"1e9",
     b"2i", b"3u", b"t", b"NaN", b"\xff", b"\x00", b"e400", b"0", b"1700000000000000000", "ü".encode()]
)  # fmt: skip
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=6)

INT64 = st.integers(-(2**63), 2**63 - 1)


def line_by_line(body: bytes) -> list[tuple[str, int, float]]:
    """Return the samples of a document every line of which is read with care."""
    marked = b"\n".join(line and line + b"\r" for line in body.split(b"\n"))
    return samples(marked)


@given(st.lists(PIECES, max_size=40).map(b"".join))
def test_any_bytes_give_what_careful_reading_gives(body):
    if b'"' not in body and b"\r" not in body:  # there, a carriage return would be within a string
        assert samples(body) == line_by_line(body)
    else:
        decode(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_told(body):
    found = decode(body)
    assert (found.bad_lines == 0) == (found.first_bad is None)


def escaped(text: str, members: str) -> str:
    return "".join(f"\\{c}" if c in members else c for c in text)


def is_plain(name: str) -> bool:  # a backslash may change what comes behind it, and a # begins a comment
    return "\\" not in name and not name.startswith("#") and name != "__name__"


@given(
    st.lists(
        st.tuples(
            NAMES.filter(is_plain),
            st.dictionaries(NAMES.filter(is_plain), NAMES.filter(is_plain), max_size=3),
            st.dictionaries(
                NAMES.filter(is_plain),
                st.one_of(st.floats(allow_nan=False, allow_infinity=False), INT64, st.booleans()),
                min_size=1,
                max_size=4,
            ),
            st.integers(-(2**62), 2**62),
        ),
        max_size=5,
    )
)  # fmt: skip
def test_what_is_written_is_read(points):
    def number(value: float | bool) -> str:
        return f"{value}i" if type(value) is int else str(value).lower()

    lines, expected = [], []
    for measurement, tags, fields, time in points:
        pairs = [escaped(k, ",= ") + "=" + escaped(v, ",= ") for k, v in tags.items()]
        numbers = [escaped(k, ",= ") + "=" + number(v) for k, v in fields.items()]
        lines.append(f"{','.join([escaped(measurement, ', '), *pairs])} {','.join(numbers)} {time}")
        for field, value in fields.items():
            name = measurement if field == "value" else f"{measurement}_{field}"
            labels = decode_labels(encode_labels({**tags, "__name__": name}))
            expected.append((format_labels(labels), time // 1_000_000, float(value)))
    found = samples("\n".join(lines))
    assert [(n, t, struct.pack("d", v)) for n, t, v in found] == [
        (n, t, struct.pack("d", v)) for n, t, v in expected
    ]
    assert all(math.isfinite(value) for _, _, value in found)
