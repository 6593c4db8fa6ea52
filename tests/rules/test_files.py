"""Rule files: what Prometheus reads is read, every mistake is told with its line, the rest goes on."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.rules.files import RuleFile, read_rule_file, read_rule_text
from metricsmith.rules.model import AlertingRule, NoData, RecordingRule
from metricsmith.rules.printer import format_groups
from metricsmith.rules.schema import MAX_RULES
from metricsmith.runtime.rule_engine import RuleEngine

ENGINE = RuleEngine()


def read(text: str) -> RuleFile:
    return read_rule_text(dedent(text), "r.yml", ENGINE, 60_000)


FULL = """\
    groups:
      - name: first
        interval: 30s
        query_offset: 1m
        limit: 10
        labels: {team: a, tier: 1}
        rules:
          - record: job:up:sum
            expr: sum by (job) (up)
            labels:
              tier: 0x10
              on: yes
              empty:
          - alert: Down
            expr: |
              up == 0
            for: 5m
            keep_firing_for: 1h30m
            labels: {severity: page, from: "${HOME}"}
            annotations:
              summary: "{{ $labels.instance }} is down"
            no_data: fire
      - name: second
        rules:
          - {record: one, expr: 1}
      - name: nothing
    """


def test_all_fields() -> None:
    found = read(FULL)
    assert (found.problems, found.notes) == ((), ())
    first, second, nothing = found.groups
    assert (first.key, first.interval_ms, first.query_offset_ms, first.limit) == (
        "r.yml;first",
        30_000,
        60_000,
        10,
    )
    assert first.labels == {"team": "a", "tier": "1"}
    labels = {"tier": "0x10", "on": "yes", "empty": ""}
    assert first.rules[0] == RecordingRule("job:up:sum", "sum by (job) (up)", labels)
    assert first.rules[1] == AlertingRule(
        name="Down",
        expr="up == 0\n",
        for_ms=300_000,
        keep_firing_for_ms=5_400_000,
        labels={"severity": "page", "from": "${HOME}"},
        annotations={"summary": "{{ $labels.instance }} is down"},
        no_data=NoData.FIRE,
    )
    assert [rule.origin.line for rule in first.rules] == [8, 14]
    assert (second.interval_ms, second.rules) == (60_000, (RecordingRule("one", "1"),))
    assert nothing.rules == ()


def test_an_empty_file_has_no_groups() -> None:
    assert read("") == read("groups:") == RuleFile("r.yml")


def test_what_is_expanded_is_read_again_as_the_same_and_by_promtool(tmp_path: Path, promtool: Path) -> None:
    text = FULL.replace("query_offset: 1m\n", "\n").replace("no_data: fire", "")
    found = read(text)
    written = tmp_path / "rules.yml"
    written.write_text(format_groups(found.groups))
    again = read_rule_file(str(written), ENGINE, 60_000)
    merged = [
        replace(rule, labels={**group.labels, **rule.labels})
        for group in found.groups
        for rule in group.rules
    ]
    assert [rule for group in again.groups for rule in group.rules] == merged
    said = subprocess.run([promtool, "check", "rules", written], capture_output=True, text=True, check=True)
    assert "SUCCESS: 3 rules found" in said.stdout


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (
            "{recrd: a, expr: up}",
            '4: got a rule without one of record, alert, anomaly, slo (did you mean "record"?)',
        ),
        ("{record: a, alert: b, expr: up}", "4: got both record and alert, wanted one of them"),
        ("7", '4: got "7", wanted a rule with one of record, alert, anomaly, slo'),
        ("{record: a}", "4: expr: missing, wanted a value"),
        ("{record: a, expr: ''}", '4: expr: got "", wanted text of at least 1 character'),
        ("{record: a, expr: [up]}", "4: expr: got a list, wanted text"),
        (
            "{record: a, expr: up, for: 5m}",
            "4: for: unknown key (only rules with one of alert, anomaly have it)",
        ),
        ("{alert: A, expr: up, fro: 5m}", '4: fro: unknown key (did you mean "for"?)'),
        (
            "{alert: A, expr: up, for: 5}",
            '4: for: got "5", wanted a duration such as 15s, 5m or 1h30m',
        ),
        (
            "{alert: A, expr: up, no_data: fires}",
            '4: no_data: got "fires", wanted one of keep, fire, resolve (did you mean "fire"?)',
        ),
        (
            "{record: 'sum(a)', expr: up}",
            '4: record: got "sum(a)", wanted a name such as job:requests:rate5m',
        ),
        ("{record: a, expr: up, labels: {__name__: b}}", "4: labels.__name__: got __name__, wanted another"),
        ("{record: a, expr: up, labels: {a b: c}}", '4: labels.a b: got "a b", wanted a name'),
        ("{record: a, expr: up, labels: [b]}", "4: labels: got a list, wanted a mapping of keys to values"),
        (
            "{record: a, expr: 'up[5m]'}",
            "4: expr: got an expression that gives a range vector, wanted a scalar",
        ),
        ("{record: a, expr: '\"text\"'}", "4: expr: got an expression that gives a string, wanted a scalar"),
        ("{record: a, expr: 'sum(up'}", "4: expr: 1:7: parse error: unclosed left parenthesis"),
        (
            "{alert: A, expr: up, annotations: {a: '{{ $vale }}'}}",
            '4: annotations.a: the template does not parse: 1:4: undefined variable "$vale", did you mean',
        ),
        ("{alert: A, expr: up, labels: {a: '{{ if }}'}}", "4: labels.a: the template does not parse: 1:7:"),
        (
            "{alert: A, expr: up, annotations: {a: '" + "x" * 30_000 + "'}}",
            "4: annotations.a: got",
        ),
    ],
)
def test_a_mistake_is_told_and_the_other_rules_go_on(rule: str, wanted: str) -> None:
    found = read(f"groups:\n- name: g\n  rules:\n  - {rule}\n  - {{record: b, expr: up}}\n")
    told = [
        str(problem).replace("groups[0].rules[0].", "").replace("groups[0].rules[0]: ", "")
        for problem in found.problems
    ]
    assert any(message.startswith(f"r.yml:{wanted}") for message in told), told
    assert [rule.name for group in found.groups for rule in group.rules] == ["b"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("- a", "r.yml:1: got a list, wanted a mapping with groups"),
        ("group: []", 'r.yml:1: group: unknown key (did you mean "groups"?)'),
        ("groups: [a]", 'r.yml:1: groups[0]: got "a", wanted a mapping with one of name, interval'),
        ("groups:\n- rules: []", "r.yml:2: groups[0].name: missing, wanted a value"),
        (
            "groups:\n- name: a\n  interval: soon",
            'r.yml:3: groups[0].interval: got "soon", wanted a duration',
        ),
        ("groups:\n- name: a\n  limit: -1", 'r.yml:3: groups[0].limit: got "-1", wanted at least 0'),
        (
            "groups:\n- name: a\n- name: a",
            'r.yml:3: groups[1].name: a second group is called "a", wanted distinct names (the first',
        ),
        (
            "groups:\n- name: a\n  limit: -1\n- name: a",
            'r.yml:4: groups[1].name: a second group is called "a", wanted distinct names (the first',
        ),
        ("groups:\n- name: a\n  name: b", 'r.yml:3: groups[0].name: duplicate key "name"'),
        ("groups: [", "r.yml:2: not YAML"),
        ("a: &a [*a]", "r.yml: got an alias *a inside of what it refers to"),
        ("groups:\n- name: a\n  rules: 5", 'r.yml:3: groups[0].rules: got "5", wanted a list'),
    ],
)
def test_mistakes_of_groups_and_files(text: str, wanted: str) -> None:
    told = [str(problem) for problem in read(text).problems]
    assert any(message.startswith(wanted) for message in told), told


def test_all_mistakes_are_told_at_once_in_order_of_lines() -> None:
    found = read(
        """\
        groups:
          - name: a
            interval: x
            rules:
              - {record: b, expr: "up +"}
          - name: c
            rules:
              - {record: d, expr: up, labels: {"e f": g}}
              - {alert: h, expr: up, fro: 1m, annotations: {i: "{{ j }}"}}
        """
    )
    assert [problem.line for problem in found.problems] == [3, 5, 8, 9, 9]
    assert [(group.name, group.rules) for group in found.groups] == [("c", ())]


@pytest.mark.parametrize(
    ("style", "line"),
    [("|", 8), ("|-", 8), ("| # why", 8), (">", 5), ("", 5)],
)
def test_a_mistake_within_a_block_has_the_line_where_it_stands(style: str, line: int) -> None:
    text = f"""\
    groups:
      - name: a
        rules:
          - record: b
            expr: {style}
              sum(
                rate(x[5m])
              ) )
            labels: {{}}
    """
    assert [problem.line for problem in read(text).problems] == [line]


def test_limits() -> None:
    many = "groups:\n- name: a\n  rules:\n" + "  - {record: a, expr: b}\n" * (MAX_RULES + 1)
    (problem,) = read_rule_text(many, "r.yml", ENGINE, 1).problems
    assert problem.message == f"got {MAX_RULES + 1} rules, wanted at most {MAX_RULES} in a file"
    long = "groups:\n- name: a\n  rules:\n  - {record: a, expr: '" + "a+" * 60_000 + "a'}\n"
    assert "wanted text of at most 100000 characters" in str(read(long).problems[0])
    assert "wanted at most 1000 items" in str(read("groups:\n" + "- {name: a}\n" * 1001).problems[0])


def test_what_works_but_is_odd_is_noted() -> None:
    found = read(
        """\
        groups:
          - name: a
            rules:
              - {record: twice, expr: up}
              - {record: twice, expr: down}
              - {record: self, expr: self + 1}
              - {record: x, expr: y}
              - {record: y, expr: "sum(z offset 1m)"}
              - {record: z, expr: '{__name__="x"}'}
              - {record: beside, expr: x + y}
              - {alert: A, expr: up}
              - {alert: A, expr: up, labels: {b: c}}
          - name: other
            rules:
              - {record: twice, expr: up}
              - {record: p, expr: q}
        """
    )
    assert found.problems == ()
    assert [(note.line, note.message) for note in found.notes] == [
        (5, "twice: a rule with this name and these labels is on line 4"),
        (6, "self: reads what it records, so it sees its own last value"),
        (7, "x: reads y, which is made from x"),
        (8, "y: reads z, which is made from y"),
        (9, "z: reads x, which is made from z"),
    ]
    assert len(found.groups[0].rules) == 9


def test_a_long_chain_of_recordings_is_looked_through_quickly() -> None:
    rules = "".join(f"  - {{record: a{i}, expr: a{i + 1}}}\n" for i in range(5000))
    assert read(f"groups:\n- name: a\n  rules:\n{rules}").notes == ()
    assert len(read(f"groups:\n- name: a\n  rules:\n{rules}  - {{record: a5000, expr: a0}}\n").notes) == 5001


@given(
    st.text("groups: []{}-\n &*|>'\"#nametrlx!%", max_size=80)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda v: (
            st.lists(v)
            | st.dictionaries(
                st.sampled_from(["name", "rules", "expr", "record", "alert", "labels", "for", "limit"]), v
            )
        ),
        max_leaves=8,
    ).map(lambda v: f"groups: {v!r}".replace("None", "null"))
)
def test_any_text_is_read_or_refused(text: str) -> None:
    found = read_rule_text(text, "r.yml", ENGINE, 1000)
    assert isinstance(found, RuleFile)
