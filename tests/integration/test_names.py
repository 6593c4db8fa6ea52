"""Names of integrations: what can be a file, a module, a prefix of metrics and a part of an archive."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metricsmith.integration.names import MAX_NAME, Names, check_name


@pytest.mark.parametrize("name", ["a", "queue-depth", "s3-2-buckets", "x" * MAX_NAME])
def test_names_that_will_do(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Queue Depth", '(try "queue-depth")'),
        ("QueueDepth", '(try "queue-depth")'),
        ("queue_depth", '(try "queue-depth")'),
        ("../../etc/passwd", '(try "etc-passwd")'),
        ("-x", '(try "x")'),
        ("x" * 51, f'(try "{"x" * 50}")'),
        ("json", '(try "json-metrics")'),
        ("class", '(try "class-metrics")'),
        ("metricsmith", '(try "metricsmith-metrics")'),
    ],
)
def test_a_name_that_will_not_do_comes_with_one_that_does(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(hint)):
        check_name(name)


@pytest.mark.parametrize("name", ["", "-", "42", "ü", "a\n", "a\0b", "日本"])
def test_names_that_nothing_can_be_made_of(name: str) -> None:
    with pytest.raises(ValueError, match="wanted a name such as queue-depth"):
        check_name(name)


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_./ -]{0,60}", fullmatch=True))
@example("if-")
@example("A-Json")
def test_whatever_is_hinted_will_do(name: str) -> None:
    try:
        check_name(name)
    except ValueError as error:
        hinted = re.search(r'\(try "(.*)"\)$', str(error))
        assert hinted is None or check_name(hinted[1])
    else:
        assert Names(name).module.isidentifier()
