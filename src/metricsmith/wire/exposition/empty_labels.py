"""Which series expose a label with an empty value: a canonical key cannot tell, and some readers ask."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from metricsmith.model.arrays import I64
from metricsmith.wire.exposition.series_text import LABEL, QUOTED, unescape

_EMPTY_LABEL = re.compile(rb"(" + LABEL + rb"|" + QUOTED + rb')[ \t]*=[ \t]*""')


def find_empty(body: bytes, spans: I64, names: Iterable[bytes]) -> dict[bytes, I64]:
    """Return, for each name that occurs, the rows of the series that give it an empty value.

    The body is searched for the few names that somebody asks for, for there are exporters
    whose every series has some empty label.

    Shapes:
        spans: (P, 2) start and end of each series text, in order.
    """
    found: dict[bytes, I64] = {}
    for name in names:
        places = [m.start() for m in re.finditer(re.escape(name) + rb'"?[ \t]*=[ \t]*""', body)]
        rows = np.unique(np.searchsorted(spans[:, 0], places, side="right")) - 1
        rows = np.array([row for row in rows if row >= 0 and name in _empty_labels(body, *spans[row])])
        if len(rows):
            found[name] = rows
    return found


def _empty_labels(body: bytes, start: int, end: int) -> list[bytes]:
    """Names of a valid series text: there, `=""` is never a part of a value."""
    names = _EMPTY_LABEL.findall(body[start:end])
    return [unescape(name[1:-1]) if name[:1] == b'"' else name for name in names]
