"""Every syntax error says where it is, what was found there, and what was expected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metricsmith.errors import ParseError
from metricsmith.promql.parser import parse

LINES = (Path(__file__).parent / "syntax_errors.txt").read_text().splitlines()[1:]
ERRORS = [(json.loads(text), error.strip()) for text, error in zip(LINES[::2], LINES[1::2], strict=True)]


def test_the_table_is_read_whole() -> None:
    assert len(ERRORS) > 150


@pytest.mark.parametrize(("text", "error"), ERRORS, ids=LINES[::2])
def test_a_syntax_error_says_where_what_and_what_instead(text: str, error: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    position, _, message = error.partition(": ")
    assert str(caught.value) == f"{position}: parse error: {message}"
