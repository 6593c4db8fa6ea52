"""Empty labels: absent from keys, told to whoever asks for them, whatever else stands in the text."""

from __future__ import annotations

import pytest

from metricsmith.wire.exposition import ExpositionFormat, ExpositionParser

BODY = b"""\
# HELP a has instance="" in its help
a{zone="eu"} 1
a{instance="",zone="us"} 2
a{myinstance="",zone="instance=\\"\\""} 3
  a { job = "" , "instance" = "" , } 4
b{job="own",instance="there"} 5
"""


def empty_rows(parser: ExpositionParser, body: bytes = BODY) -> dict[bytes, list[int]]:
    return {name: rows.tolist() for name, rows in parser.parse(body).structure.empty.items()}


def test_rows_of_the_names_asked_for_are_told():
    parser = ExpositionParser(ExpositionFormat.TEXT, empty_labels=(b"instance", b"job", b"environment"))
    assert empty_rows(parser) == {b"instance": [1, 3], b"job": [3]}
    assert empty_rows(ExpositionParser(ExpositionFormat.TEXT)) == {}, "though the document is known"


@pytest.mark.parametrize("other", [b'a 1\nb{x=""} 1\n', b'a{x=""} 1\nb{y=""} 1\n'])
def test_a_document_that_differs_in_empty_labels_only_is_another(other):
    parser = ExpositionParser(ExpositionFormat.TEXT, empty_labels=(b"x",))
    first = parser.parse(b'a{x=""} 1\nb 1\n').structure
    assert parser.parse(b'a{x=""}  1\nb 1\n').structure is first, "blanks change nothing"
    assert (parser.parse(other).structure is first) == other.startswith(b'a{x=""}')
