"""What the exposition parser accepts, refuses and remembers, case by case."""

from __future__ import annotations

import math

import pytest

from metricsmith.errors import ExpositionError, LimitExceeded
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.wire.exposition import ExpositionFormat, ExpositionParser, SeriesLimits

TEXT, OPENMETRICS = ExpositionFormat.TEXT, ExpositionFormat.OPENMETRICS


def samples(text: str, format: ExpositionFormat = TEXT) -> list[tuple[dict[str, str], float, int | None]]:
    return list(ExpositionParser(format).parse(text.encode()).samples())


@pytest.mark.parametrize(
    ("line", "labels"),
    [
        ("a 1", {}),
        ("a{} 1", {}),
        ('a{b="c"} 1', {"b": "c"}),
        ('a{b="c",} 1', {"b": "c"}),
        ('a{ b = "c" , d="e" } 1', {"b": "c", "d": "e"}),
        ('a {b="c"}1', {"b": "c"}),
        ('\ta{b="c"}\t 1 \t', {"b": "c"}),
        ('a{d="e",b="c"} 1', {"b": "c", "d": "e"}),
        ('a{ab="1",a="2"} 1', {"a": "2", "ab": "1"}),
        ('a{b="x y} 5"} 1', {"b": "x y} 5"}),
        ('a{b="x y} 5"}1', {"b": "x y} 5"}),
        ('a{b="=",c=",d="} 1', {"b": "=", "c": ",d="}),
        ('a{b="=",c=""} 1', {"b": "="}),
        (r'a{b="\\n\n\"\x"} 1', {"b": '\\n\n"\\x'}),
        ('a{b="é☃\t"} 1', {"b": "é☃\t"}),
        ('a{b="# {"} 1', {"b": "# {"}),
        ('{"a",b="c"} 1', {"b": "c"}),
        ('{b="c","a"} 1', {"b": "c"}),
        ('a{"b.c"="d","e\\"f"="g"} 1', {"b.c": "d", 'e"f': "g"}),
        ('a{b="%b"} 1', {"b": "%b"}),
    ],
)
def test_series_are_read_with_their_labels(line: str, labels: dict[str, str]) -> None:
    # Twice, as the second series of a shape is read in another way than the first.
    text = f"{line}\n{line}\n"
    assert [found for found, _, _ in samples(text)] == [{"__name__": "a", **labels}] * 2


@pytest.mark.parametrize(
    ("token", "value"),
    [
        ("1", 1.0),
        ("-1.5e-3", -0.0015),
        ("+3", 3.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1E5", 1e5),
        ("+Inf", math.inf),
        ("-inf", -math.inf),
        ("infinity", math.inf),
        ("1e-400", 0.0),
        ("18446744073709551615", 18446744073709551615.0),
        ("0.1000000000000000055511151231257827", 0.1),
    ],
)
@pytest.mark.parametrize("format", [TEXT, OPENMETRICS])
def test_numbers_are_read_as_go_reads_them(token: str, value: float, format: ExpositionFormat) -> None:
    end = "# EOF\n" if format is OPENMETRICS else ""
    assert samples(f"a {token}\n{end}", format) == [({"__name__": "a"}, value, None)]


@pytest.mark.parametrize("token", ["NaN", "nan", "NAN"])
def test_nan_is_read(token: str) -> None:
    assert math.isnan(samples(f"a {token}\n")[0][1])


@pytest.mark.parametrize(
    "token",
    ["x", "0x1p3", "0x10", "1_000", "1e400", "-1e999", "+NaN", "-nan", "nan(1)", "++1", "+-1", "1e", ".", "-",
     "e5", "1,5", "١", "infi", "1\r"],
)  # fmt: skip
@pytest.mark.parametrize("format", [TEXT, OPENMETRICS])
def test_what_go_does_not_read_as_a_number_is_refused(token: str, format: ExpositionFormat) -> None:
    end = "# EOF\n" if format is OPENMETRICS else ""
    parser = ExpositionParser(format)
    parser.parse(f"a 1\nb 2\n{end}".encode())
    with pytest.raises(ExpositionError, match=r"^line 2: ") as caught:
        parser.parse(f"a 1\nb {token}\n{end}".encode())
    assert (caught.value.line, caught.value.text) == (2, f"b {token}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a 1\nb\n", 2),
        ("a 1\nb \n", 2),
        ("a 1\n1b 1\n", 2),
        ("a.b 1\n", 1),
        ("a{b} 1\n", 1),
        ('a{b="c} 1\n', 1),
        ('a{b="c"d="e"} 1\n', 1),
        ('a{b="c",,d="e"} 1\n', 1),
        ('a{,b="c"} 1\n', 1),
        ("a{,} 1\n", 1),
        ('a{b="c"\n', 1),
        ('a{b="c"}} 1\n', 1),
        ("a{b='c'} 1\n", 1),
        ('a{1b="c"} 1\n', 1),
        ('a{b="c",b="d"} 1\n', 1),
        ('a{b="",b=""} 1\n', 1),
        ('a{b="x\ny"} 1\n', 1),
        ('{b="c"} 1\n', 1),
        ('{""} 1\n', 1),
        ('a{"b"} 1\n', 1),
        ('{"a","b"} 1\n', 1),
        ('{__name__="a"} 1\n', 1),
        ('a{__name__="a"} 1\n', 1),
        ("a 1 2 3\n", 1),
        ("a 1 1.5\n", 1),
        ("a 1 +5\n", 1),
        ("a 1 0x5\n", 1),
        ("a 1 9223372036854775808\n", 1),
        ("a 1\n# TYPE a meter\n", 2),
        ("# TYPE a\n", 1),
        ("# TYPE a gauge \n", 1),
        ("# HELP \n", 1),
        ("# HELP 1a x\n", 1),
        ("a 1\r\n", 1),
        ("\n\n a# 1\n", 3),
        ("a\x00 1\n", 1),
    ],
)
def test_a_malformed_line_is_named(text: str, line: int) -> None:
    with pytest.raises(ExpositionError) as caught:
        samples(text)
    assert caught.value.line == line
    assert caught.value.text == text.split("\n")[line - 1]


def test_bytes_that_are_not_utf8_are_refused_with_their_line() -> None:
    with pytest.raises(ExpositionError, match="line 2: got bytes that are not UTF-8"):
        ExpositionParser(TEXT).parse(b'a 1\nb{c="\xff"} 1\n')


def test_comments_are_ignored_and_metadata_kept() -> None:
    text = """
# just a comment
#HELP a ignored
 # HELP a first
# HELP a what \\\\ it\\n is "here"
# TYPE a counter
# HELP "my.b" quoted
# HELP
# TYPE c untyped
"""
    assert ExpositionParser(TEXT).parse(text.encode()).structure.metadata == {
        "a": Metadata(MetricType.COUNTER, "", 'what \\ it\n is "here"'),
        "my.b": Metadata(MetricType.UNKNOWN, "", "quoted"),
        "c": Metadata(MetricType.UNKNOWN),
    }


def test_openmetrics_metadata_has_the_names_of_the_text_format() -> None:
    text = """# TYPE a_seconds counter
# UNIT a_seconds seconds
# HELP a_seconds time
a_seconds_total 1
# TYPE b info
b_info{version="1"} 1
# TYPE c gauge
c 1
# EOF
"""
    assert ExpositionParser(OPENMETRICS).parse(text.encode()).structure.metadata == {
        "a_seconds_total": Metadata(MetricType.COUNTER, "seconds", "time"),
        "b_info": Metadata(MetricType.INFO),
        "c": Metadata(MetricType.GAUGE),
    }


def test_timestamps_are_milliseconds_in_text_and_seconds_in_openmetrics() -> None:
    assert [time for _, _, time in samples("a 1 1500\nb 1\nc 1 -7\n")] == [1500, None, -7]
    text = "a 1 1.5\nb 1\nc 1 1700000000.001\nd 1 1e300\n# EOF\n"
    times = [time for _, _, time in samples(text, OPENMETRICS)]
    assert times[:3] == [1500, None, 1700000000001]
    assert times[3] is not None and times[3] > 9 * 10**18


def test_a_repeated_series_is_kept_by_the_text_format() -> None:
    assert [value for _, value, _ in samples("a 1\na 2\n")] == [1.0, 2.0]


def test_a_histogram_without_its_last_bucket_is_a_warning_in_text_and_an_error_in_openmetrics() -> None:
    text = '# TYPE h histogram\nh_bucket{x="1",le="5"} 1\nh_bucket{x="2",le="+Inf"} 1\n'
    parsed = ExpositionParser(TEXT).parse(text.encode())
    assert parsed.structure.warnings == ('h_bucket{x="1"} has no bucket le="+Inf"',)
    with pytest.raises(ExpositionError, match=r"line 2: .*\+Inf"):
        samples(f"{text}# EOF\n", OPENMETRICS)


def test_exemplars_are_skipped_wherever_they_come_and_go() -> None:
    parser = ExpositionParser(OPENMETRICS)
    head = '# TYPE a counter\na_total{b="# {"} 1'
    plain = parser.parse(f"{head}\n# EOF\n".encode())
    for exemplar in ('# {t="1"} 0.5', '# {t=" # {} 1"} 0.5 1.5', "# {} NaN"):
        parsed = parser.parse(f"{head} {exemplar}\n# EOF\n".encode())
        assert parsed.structure is plain.structure
        assert parsed.values.tolist() == [1.0]


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("# TYPE a counter\na_total 1", "# TYPE a counter\na_total -1", 2),
        ("# TYPE a counter\na_total 1", "# TYPE a counter\na_total NaN", 2),
        ("# TYPE a info\na_info 1", "# TYPE a info\na_info 0", 2),
        ('# TYPE a stateset\na{a="x"} 1', '# TYPE a stateset\na{a="x"} 2', 2),
        (
            '# TYPE a histogram\na_bucket{le="1"} 1\na_bucket{le="+Inf"} 2\na_sum 1\na_count 2',
            '# TYPE a histogram\na_bucket{le="1"} 3\na_bucket{le="+Inf"} 2\na_sum 1\na_count 2',
            3,
        ),
        (
            '# TYPE a histogram\na_bucket{le="1"} 1\na_bucket{le="+Inf"} 2\na_sum 1\na_count 2',
            '# TYPE a histogram\na_bucket{le="1"} 1\na_bucket{le="+Inf"} 2\na_sum 1\na_count 3',
            5,
        ),
        ('# TYPE a histogram\na_bucket{le="+Inf"} 2', '# TYPE a histogram\na_bucket{le="+Inf"} 2.5', 2),
        ("# TYPE a counter\na_total 1 5\na_created 1 5", "# TYPE a counter\na_total 1 5\na_created 1 4", 3),
        (
            '# TYPE a histogram\na_bucket{le="1"} 1 5\na_bucket{le="+Inf"} 2 5',
            '# TYPE a histogram\na_bucket{le="1"} 1 5\na_bucket{le="+Inf"} 2 6',
            2,
        ),
        ("# TYPE a gauge\na 1", '# TYPE a gauge\na 1 # {b="c"} 1', 2),
    ],
)
def test_openmetrics_rules_on_values_hold_for_a_known_structure_too(
    before: str, after: str, line: int
) -> None:
    parser = ExpositionParser(OPENMETRICS)
    known = parser.parse(f"{before}\n# EOF\n".encode())
    with pytest.raises(ExpositionError) as caught:
        parser.parse(f"{after}\n# EOF\n".encode())
    assert caught.value.line == line
    assert parser.parse(f"{before}\n# EOF\n".encode()).structure is known.structure


def test_the_structure_is_one_object_while_series_and_metadata_stay() -> None:
    parser = ExpositionParser(TEXT)
    first = parser.parse(b"# HELP a x\na 1\nb 2\n").structure
    assert parser.parse(b"# HELP a x\na 12345\nb 2.5e10\n").structure is first
    assert parser.parse(b"# HELP a x\n# a comment\na 1 5\n\nb  2\n").structure is first
    assert parser.parse(b"# HELP a x\nb 1\na 2\n").structure is not first
    assert parser.parse(b"# HELP a y\na 1\nb 2\n").structure is not first


@pytest.mark.parametrize(
    ("format", "documents"),
    [
        (
            TEXT,
            ['# HELP a x\na 1\nb{c="d e"} 2 5\n', '# HELP a x\na 1.5e+06\nb{c="d e"} NaN 1700000000000\n'],
        ),
        (TEXT, ['a\t1  5 \n\n b{c="\t"}   2\n', 'a\t-Inf  1700000000000 \n\n b{c="\t"}   +3\n']),
        (
            OPENMETRICS,
            [
                "# TYPE a counter\na_total 1\na_created 1.5\n# EOF\n",
                '# TYPE a counter\na_total 1000 # {t="1 2"} 1 1.5\na_created 1.25\n# EOF\n',
            ],
        ),
    ],
)
def test_no_line_is_read_again_when_only_numbers_differ(
    format: ExpositionFormat, documents: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = ExpositionParser(format)
    expected = [repr(samples(text, format)) for text in documents]
    parser.parse(documents[0].encode())
    monkeypatch.setattr("metricsmith.wire.exposition.parser.read_document", None)
    assert [repr(list(parser.parse(text.encode()).samples())) for text in documents] == expected


def test_the_last_good_document_stays_known_after_a_bad_one() -> None:
    parser = ExpositionParser(TEXT)
    first = parser.parse(b"a 1\nb 2\n").structure
    with pytest.raises(ExpositionError):
        parser.parse(b"a 1\nc\n")
    assert parser.parse(b"a 3\nb 4\n").structure is first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1\nb 2\nc 3\n", "got 3 samples, wanted at most 2"),
        ('a{b="1",c="2",d="3"} 1\n', "a: got 3 labels, wanted at most 2"),
        ('a{b="12345678901"} 1\n', "a: got a label value of 11 bytes, wanted at most 10"),
        ('a{b2345678901="1"} 1\n', "a: got a name of 11 bytes, wanted at most 10"),
        ("a2345678901 1\n", "a2345678901: got a name of 11 bytes, wanted at most 10"),
    ],
)
def test_limits_are_kept(text: str, message: str) -> None:
    parser = ExpositionParser(TEXT, 2, SeriesLimits(labels=2, name_bytes=10, value_bytes=10))
    parser.parse(b'a{b="1"} 1\n')
    with pytest.raises(LimitExceeded, match=message):
        parser.parse(text.encode())


@pytest.mark.parametrize(
    "exemplar",
    [
        "#",
        "# {}",
        "# {} x",
        "# {} 1 NaN",
        "# {} 1 1 1",
        "#{} 1",
        '# {a="b"c="d"} 1',
        '# {a="b",a="c"} 1',
        "# {a} 1",
        f'# {{a="{"x" * 128}"}} 1',
        f'# {{a="{"é" * 127}x"}} 1',
    ],
)
def test_a_malformed_exemplar_is_refused_with_its_line(exemplar: str) -> None:
    text = f"# TYPE a counter\na_total 1 {exemplar}\n# EOF\n"
    with pytest.raises(ExpositionError) as caught:
        samples(text, OPENMETRICS)
    assert caught.value.line == 2


def test_an_exemplar_may_have_128_characters() -> None:
    text = f'# TYPE a counter\na_total 1 # {{a="{"é" * 127}"}} 1\n# EOF\n'
    assert [value for _, value, _ in samples(text, OPENMETRICS)] == [1.0]


def test_an_empty_document_is_none_of_ours_to_refuse_in_text() -> None:
    assert samples("") == []
    with pytest.raises(ExpositionError, match="wanted # EOF"):
        samples("", OPENMETRICS)


def test_parsers_of_equal_documents_share_what_they_remember():
    first, second = ExpositionParser(ExpositionFormat.TEXT), ExpositionParser(ExpositionFormat.TEXT)
    one, other = first.parse(b'a{x="1"} 1\nb 2\n'), second.parse(b'a{x="1"} 10\nb 20\n')
    assert one.structure is other.structure
    assert other.values.tolist() == [10.0, 20.0]
    changed = second.parse(b'a{x="2"} 10\nb 20\n')
    assert changed.structure is not one.structure
    assert first.parse(b'a{x="1"} 3\nb 4\n').structure is one.structure
    assert ExpositionParser(ExpositionFormat.OPENMETRICS).parse(b"a 1\n# EOF\n").structure.keys == (b"a",)
