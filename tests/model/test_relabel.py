"""Every relabel action, one line per rule. Prometheus itself is asked in tests/sources/test_endpoint.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from metricsmith.model.matchers import compile_anchored
from metricsmith.model.relabel import RelabelRule, relabel
from metricsmith.model.template import Template

LABELS = {"__name__": "m", "host": "a.example:80", "path": "/Api", "tmp_x": "1", "zone": "eu"}


@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        # replace
        ({"source_labels": ["host"], "regex": "([^.]+).*", "target_label": "short"}, {"short": "a"}),
        ({"source_labels": ["host"], "regex": "example", "target_label": "short"}, {}),
        ({"source_labels": ["zone", "path"], "target_label": "both"}, {"both": "eu;/Api"}),
        ({"source_labels": ["zone", "path"], "separator": "", "target_label": "both"}, {"both": "eu/Api"}),
        ({"target_label": "fixed", "replacement": "v"}, {"fixed": "v"}),
        (
            {"source_labels": ["absent"], "regex": "", "target_label": "zone", "replacement": "us"},
            {"zone": "us"},
        ),
        ({"source_labels": ["absent"], "target_label": "zone"}, {"zone": None}),
        (
            {"source_labels": ["zone"], "regex": "(e)(x)?u", "target_label": "b", "replacement": "$1-$2"},
            {"b": "e-"},
        ),
        ({"source_labels": ["zone"], "target_label": "${1}_zone", "replacement": "y"}, {"eu_zone": "y"}),
        ({"source_labels": ["path"], "target_label": "a$1", "replacement": "y"}, {}),
        (
            {"source_labels": ["__name__"], "target_label": "__name__", "replacement": "x_$1"},
            {"__name__": "x_m"},
        ),
        # keep, drop
        ({"source_labels": ["zone"], "regex": "e.", "action": "keep"}, {}),
        ({"source_labels": ["zone"], "regex": "e", "action": "keep"}, None),
        ({"source_labels": ["zone"], "regex": "e.", "action": "drop"}, None),
        ({"source_labels": ["zone"], "regex": "e", "action": "drop"}, {}),
        ({"action": "keep", "regex": ""}, {}),
        # keepequal, dropequal
        ({"source_labels": ["zone"], "target_label": "zone", "action": "keepequal"}, {}),
        ({"source_labels": ["zone"], "target_label": "host", "action": "keepequal"}, None),
        ({"source_labels": ["zone"], "target_label": "zone", "action": "dropequal"}, None),
        ({"source_labels": ["absent"], "target_label": "gone", "action": "dropequal"}, None),
        # labelmap, labeldrop, labelkeep
        ({"regex": "tmp_(.*)", "action": "labelmap"}, {"x": "1"}),
        ({"regex": "tmp_(.*)", "replacement": "zone", "action": "labelmap"}, {"zone": "1"}),
        ({"regex": "tmp_.*|zone", "action": "labeldrop"}, {"tmp_x": None, "zone": None}),
        ({"regex": "__name__|zone", "action": "labelkeep"}, {"host": None, "path": None, "tmp_x": None}),
        # lowercase, uppercase
        ({"source_labels": ["path"], "target_label": "path", "action": "lowercase"}, {"path": "/api"}),
        ({"source_labels": ["path"], "target_label": "up", "action": "uppercase"}, {"up": "/API"}),
        ({"source_labels": ["absent"], "target_label": "zone", "action": "uppercase"}, {"zone": None}),
        # hashmod: the last 8 bytes of the MD5 as a big-endian number
        (
            {"source_labels": ["zone"], "target_label": "h", "modulus": 10**18, "action": "hashmod"},
            {"h": "HASH"},
        ),
    ],
)
def test_one_rule(rule: dict[str, Any], changed: dict[str, str | None] | None):
    got = relabel(LABELS, [RelabelRule.model_validate(rule)])
    if changed is None:
        assert got is None
        return
    # printf eu | md5sum → 4829322d03d1606fb09ae9af59a271d3
    wanted = {**LABELS, **changed}
    if wanted.get("h") == "HASH":
        wanted["h"] = str(0xB09AE9AF59A271D3 % 10**18)
    assert got == {name: value for name, value in wanted.items() if value is not None}
    assert LABELS["zone"] == "eu", "the input is not changed"


def test_rules_apply_in_order_until_one_drops():
    rules = [
        RelabelRule(target_label="a", replacement="1"),
        RelabelRule(source_labels=("a",), target_label="b", replacement="${1}2"),
        RelabelRule(source_labels=("b",), regex="12", action="drop"),
        RelabelRule(target_label="never", replacement="$nothing"),
    ]
    assert relabel({}, rules[:2]) == {"a": "1", "b": "12"}
    assert relabel({}, rules) is None


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        ({}, "target_label"),
        ({"action": "hashmod", "target_label": "a"}, "modulus"),
        ({"action": "lowercase", "source_labels": ["a"]}, "target_label"),
        ({"action": "lowercase", "target_label": "$1"}, "label name"),
        ({"target_label": "a-b"}, "label name"),
        ({"action": "labelmap", "replacement": "-"}, "label name"),
        ({"action": "labeldrop", "source_labels": ["a"]}, "does not use"),
        ({"action": "keepequal", "target_label": "a", "regex": "x"}, "does not use"),
        ({"target_label": "a", "regex": "("}, "RE2"),
        ({"target_label": "a", "regex": "(?=x)"}, "RE2"),
        ({"target_label": "a", "action": "explode"}, "action"),
        ({"target_label": "a", "sourcelabels": ["a"]}, "sourcelabels"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(rule: dict[str, Any], hint: str):
    with pytest.raises(ValidationError, match=hint):
        RelabelRule.model_validate(rule)


def test_equal_rules_are_equal():
    """A reload compares settings to find out what changed."""
    first, second = (RelabelRule(source_labels=("a",), regex="(x+)", target_label="b") for _ in range(2))
    relabel({"a": "x"}, [first])
    assert first == second


@pytest.mark.parametrize(
    ("template", "expanded"),
    [
        ("$1", "ab"), ("${1}", "ab"), ("$1x", ""), ("${1}x", "abx"), ("$name", "c"), ("${name}!", "c!"),
        ("$0", "abc"), ("$3", ""), ("$01", ""), ("$$1", "$1"), ("$", "$"), ("a$", "a$"), ("$-", "$-"),
        ("${1", "${1"),
        ("${}", "${}"), ("${ 1}", "${ 1}"), ("$1$name", "abc"), ("", ""), ("$99999999999", ""),
    ],
)  # fmt: skip
def test_replacements_are_read_as_go_reads_them(template: str, expanded: str):
    assert Template(template).expand(compile_anchored("(ab)(?P<name>c)").fullmatch("abc")) == expanded


@given(labels=st.dictionaries(st.from_regex(r"[a-z_]{1,4}", fullmatch=True), st.text(max_size=8), max_size=5))
def test_no_rule_changes_nothing_but_empty_values(labels: dict[str, str]):
    assert relabel(labels, []) == {n: v for n, v in labels.items() if v}


@given(value=st.text(max_size=20))
def test_the_default_rule_copies_any_value(value: str):
    copied = relabel({"a": value}, [RelabelRule(source_labels=("a",), target_label="b")])
    assert copied == ({"a": value, "b": value} if value else {})
