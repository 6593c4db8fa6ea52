"""Matchers decide as Prometheus' do."""

from __future__ import annotations

import pytest

from metricsmith.model.matchers import Matcher, MatchOp


@pytest.mark.parametrize(
    ("op", "pattern", "value", "wanted"),
    [
        (MatchOp.EQ, "a", "a", True),
        (MatchOp.NE, "a", "a", False),
        (MatchOp.NE, "a", "", True),
        (MatchOp.RE, "a|b", "b", True),
        (MatchOp.RE, "a|b", "ab", False),
        (MatchOp.RE, "a.b", "a\nb", True),
        (MatchOp.RE, ".*", "", True),
        (MatchOp.RE, ".+", "", False),
        (MatchOp.NRE, "a.*", "abc", False),
        (MatchOp.NRE, "a", "abc", True),
        (MatchOp.RE, "(?i)shop", "SHOP", True),
        (MatchOp.RE, "ä.", "äö", True),
    ],
)
def test_a_matcher_matches_the_whole_value(op: MatchOp, pattern: str, value: str, wanted: bool) -> None:
    assert Matcher("x", op, pattern).matches(value) is wanted


@pytest.mark.parametrize("pattern", ["a)|(b", "(", "a{1001}", "(?=a)", "\\1", "*"])
def test_what_is_not_re2_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="wanted RE2 syntax"):
        Matcher("x", MatchOp.RE, pattern)
