"""Output in pieces of any size is the same lines, and never more of it is held than one line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from metricsmith.sources.exec.lines import Line, LineSplitter

LIMIT = 5


def lines_of(pieces: list[bytes]) -> list[Line]:
    splitter = LineSplitter(LIMIT)
    found = [line for piece in pieces for line in splitter.feed(piece)]
    return [*found, *splitter.finish()]


@given(st.lists(st.text("ab\n\r", max_size=12).map(str.encode), max_size=6))
def test_lines_do_not_depend_on_where_pieces_end(pieces):
    whole = b"".join(pieces)
    expected = []
    for text in whole.split(b"\n"):
        line = Line(text[:LIMIT], cut=True) if len(text) > LIMIT else Line(text.removesuffix(b"\r"))
        expected += [line] if line.cut or line.text.strip() else []
    assert lines_of(pieces) == expected
