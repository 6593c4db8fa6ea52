"""YAML that is cheap to write and dear to read is refused before it is read."""

from __future__ import annotations

import pytest
import yaml

from metricsmith.model.yaml_guard import MAX_DEPTH, MAX_NODES, MAX_PLAIN, check_depth

MERGES = "\n".join(
    ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 9))]
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 60_000, "50 levels of nesting (line 1)"),
        ("\n" + "- " * 60_000, "50 levels of nesting (line 2)"),
        ("{a: " * 60_000, "50 levels of nesting"),
        ("? " * 60_000, "50 levels of nesting"),
        ("a:\n- &a [*a]", "an alias *a inside of what it refers to (line 2)"),
        (MERGES, "200000 values, aliases written out"),
        ("[" + "[]," * MAX_NODES, "200000 values"),
        ("a: 1" + ":1" * MAX_PLAIN, "20001 characters without quotes"),
    ],
)
def test_what_costs_more_than_its_length_is_refused(text, message):
    with pytest.raises(ValueError) as refused:
        check_depth(text)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * MAX_DEPTH + "]" * MAX_DEPTH,
        "base: &base {a: 1}\nboth: [*base, {<<: *base}]",
        f'"{"x" * (MAX_PLAIN + 1)}"',
        "---\na: 1\n---\nb: 2",
    ],
)
def test_ordinary_documents_pass(text):
    check_depth(text)


def test_text_that_is_not_yaml_says_so():
    with pytest.raises(yaml.YAMLError):
        check_depth("[a, b")
