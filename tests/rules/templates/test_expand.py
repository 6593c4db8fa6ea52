"""Templates: what Prometheus 2 does not have, mistakes with their place, and bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import QueryLimitExceeded, TemplateError
from metricsmith.rules.templates import Expander, Query, Sample, Surroundings, parse_template

LABELS = {"job": "shop", "instance": "a:9100"}
TIME_MS = 1_700_000_000_500


def expand(text: str, query: Query | None = None) -> tuple[str, bool]:
    """Return the text, and whether nothing failed."""
    failures: list[TemplateError] = []
    made = Expander(Surroundings(query), failures.append)(text, LABELS, 90.5, TIME_MS)
    return made, not failures


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{{ now }}", "1.7000000005e+09"),
        ("{{ now | humanizeTimestamp }}", "2023-11-14 22:13:20.5 +0000 UTC"),
        ("{{ $value | toDuration }}", "1m30.5s"),
        ("{{ toDuration 0.0125 }} {{ toDuration 0 }} {{ toDuration -3661 }}", "12.5ms 0s -1h1m1s"),
        ("{{ ($value | toDuration).Minutes | printf `%.1f` }}", "1.5"),
        ("{{ humanizeDuration ($value | toDuration) }}", "1m 30s"),
        ("{{ urlQueryEscape `a b&c` }}", "a+b%26c"),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        ("{{ with $labels.none }}a{{ else with $labels.job }}{{ . }}{{ end }}", "shop"),
        ("{{ range $k, $v := $labels }}{{ if eq $k `job` }}{{ break }}{{ end }}{{ $v }}{{ end }}", "a:9100"),
        ("{{ if true }}{{ $v := 1 }}{{ end }}{{ with $v := 2 }}{{ $v }}{{ end }}", "2"),
    ],
)
def test_text(text: str, wanted: str) -> None:
    assert expand(text) == (wanted, True)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{{ human $value }}", '1:4: function "human" not defined, did you mean "humanize"?'),
        ("{{ $label.job }}", '1:4: undefined variable "$label", did you mean "$labels"?'),
        ("a\n{{ if $value }}b", "2:1: unexpected end of the text: {{if}} has no {{end}}"),
        ("{{ end }}", "1:1: unexpected {{end}}"),
        ("{{ $value", "1:1: unclosed action, wanted }}"),
        ('{{ "abc }}', "1:4: unterminated quoted text"),
        ("{{ $value ; }}", "1:11: unexpected ';' in an action"),
        ("{{ }}", "1:4: missing value for command"),
        ("{{ $value | }}", "1:13: missing value for command"),
        ("{{ $value | 3 }}", "1:13: non executable command in pipeline stage 2"),
        ("{{ (humanize $value }}", "1:4: unclosed left parenthesis"),
        ("{{ template `t` }}", '1:1: template "t" not defined'),
        ("{{ break }}", "1:1: {{break}} outside {{range}}"),
        ("{{ '' }}", "1:4: unterminated quoted text"),
        (r'{{ "\q" }}', r"1:4: got the escape \q, wanted one of Go such as \n or \u00e9"),
        ("{{ 99999999999999999999 }}", "1:4: 99999999999999999999 overflows int"),
        ("{{ if 1 }}a{{ else }}b{{ else }}c{{ end }}", "1:26: expected {{end}}; found {{else}}"),
        ("{{ define `a` }}{{ end }}{{ define `a` }}{{ end }}", '1:26: a second template is called "a"'),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, wanted: str) -> None:
    with pytest.raises(TemplateError) as error:
        parse_template(text)
    assert str(error.value) == wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ if gt $value 90 }}a{{ end }}", "write 100.0 for a number that is compared with a float"),
        ("{{ title $value }}", 'expected string; got float64; printf "%v" makes a text of it'),
        ("{{ query `up` }}", "queries are not possible here"),
        ("{{ define `r` }}{{ template `r` . }}{{ end }}{{ template `r` }}", "blocks within one another"),
        ("{{ range 1000000 }}{{ end }}", "steps"),
        ("{{ range 400 }}{{ range 400 }}{{ end }}{{ end }}", "steps"),
        ("{{ range 1000 }}{{ printf `%999d` 1 }}{{ end }}", "characters"),
        ("{{ range 9999 }}{{ $x := printf `%999d` 1 }}{{ end }}", "characters and samples of work"),
        (
            "{{ $x := reReplaceAll `` (printf `%999d` 1) (printf `%999d` 1) }}"
            "{{ range 99 }}{{ $y := match `a.*b` $x }}{{ end }}",
            "work",
        ),
        ("{{ $x := printf `%999d` 1 }}{{ reReplaceAll `` $x $x }}", "characters"),
    ],
)
def test_a_failure_is_the_text_and_says_why(text: str, reason: str) -> None:
    made, good = expand(text)
    assert not good
    assert made.startswith("<error expanding template: ")
    assert reason in made


@pytest.mark.parametrize(
    "opening", ["{{ if 1 }}", "{{ (", "{{ range 2 }}", "{{ define `a` }}", "{{if 0}}{{else "]
)
def test_deep_nesting_is_refused(opening: str) -> None:
    with pytest.raises(TemplateError):
        parse_template(opening * 5000)


def test_queries_are_asked_at_the_time_of_the_evaluation() -> None:
    asked: list[tuple[str, int]] = []

    def query(expr: str, time_ms: int) -> list[Sample]:
        asked.append((expr, time_ms))
        return [Sample({"job": "b"}, 2.0), Sample({"job": "a"}, 1.0)]

    text = "{{ range query `up` | sortByLabel `job` }}{{ .Labels.job }}{{ .Value }} {{ end }}"
    assert expand(text, query) == ("a1 b2 ", True)
    assert asked == [("up", TIME_MS)]


def test_queries_of_one_text_are_bounded_and_their_refusal_is_told() -> None:
    def refuse(expr: str, time_ms: int) -> list[Sample]:
        raise QueryLimitExceeded("too many samples", "samples")

    made, good = expand("{{ query `up` }}", refuse)
    assert not good
    assert "error calling query: too many samples" in made
    made, good = expand("{{ range 50 }}{{ len (query `a`) }}{{ end }}", lambda e, t: [])
    assert (good, "more than 20 queries" in made) == (False, True)
    many = [Sample({}, 1.0)] * 100_000
    made, good = expand(
        "{{ $q := query `a` }}{{ range 99 }}{{ len (sortByLabel `a` $q) }}{{ end }}", lambda e, t: many
    )
    assert (good, "samples of work" in made) == (False, True)


_WORDS = st.sampled_from(
    [
        "{{",
        "}}",
        "{{-",
        "-}}",
        "if",
        "end",
        "else",
        "range",
        "with",
        "$value",
        "$labels",
        ".",
        ".Labels.job",
        "humanize",
        "printf",
        "`%5.2f|%v|%q`",
        "|",
        "(",
        ")",
        ":=",
        "=",
        "$x",
        "1",
        "2.5",
        "define",
        "template",
        "`t`",
        "eq",
        "and",
        "index",
        "query",
        ",",
        "x",
        "break",
        "nil",
        "'a'",
        "args",
        "toTime",
        "slice",
        "len",
        "block",
    ]
)


@given(st.lists(_WORDS, max_size=40).map(" ".join) | st.text("{}-|$.()`\"'% \nabs01", max_size=60))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    made, good = expand(text, lambda e, t: [Sample({"a": "b"}, 1.0)])
    assert isinstance(made, str)
    assert good or made.startswith("<error expanding template: ")


_VERB = st.builds(
    "%{}{}{}{}".format,
    st.text("-+# 0", max_size=2),
    st.sampled_from(["", "5", "*", "300"]),
    st.sampled_from(["", ".", ".2", ".*", ".300"]),
    st.sampled_from([*"vdsqxXeEfFgGtTcUboO%w!", "[2]d", "[9]v", ""]),
)


@given(
    _VERB,
    st.sampled_from(["1", "-1.5", "`x`", "true", "$labels.none", "$labels", "$", "1e300", "now | toTime"]),
)
def test_any_verb_is_written(verb: str, argument: str) -> None:
    made, good = expand(f"{{{{ printf `{verb}` ({argument}) }}}}")
    assert good or argument == "now | toTime", made
