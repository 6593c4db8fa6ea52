"""Selectors by themselves, as settings and requests hold them."""

from __future__ import annotations

import pytest

from metricsmith.errors import ParseError
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.promql.functions import AGGREGATIONS
from metricsmith.promql.parser import parse
from metricsmith.syntax.lexer import AGGREGATION_WORDS
from metricsmith.syntax.selector import parse_selector


def name(value: str) -> Matcher:
    return Matcher("__name__", MatchOp.EQ, value)


def test_the_words_of_aggregations_are_all_known_and_no_others():
    assert AGGREGATIONS.keys() == AGGREGATION_WORDS


@pytest.mark.parametrize(
    "text", ["up", 'up{a="b",c!~"d.*"}', '{"a b",x=~"y|z"}', '{__name__=~"http_.*"}', "sum"]
)
def test_a_selector_reads_the_same_alone_and_in_a_query(text):
    assert parse_selector(text).matchers == parse(text).matchers


def test_a_lone_selector_is_read_for_match_parameters() -> None:
    assert parse_selector('x{a="b"}').matchers == (name("x"), Matcher("a", MatchOp.EQ, "b"))
    for text in ("", "{}", "5", "x + 1", "x[5m]", "x offset 5m", "x{", '{a=~".*"}'):
        with pytest.raises(ParseError):
            parse_selector(text)
