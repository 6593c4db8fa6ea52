"""Series chosen by PromQL selectors in settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from metricsmith.errors import ParseError
from metricsmith.model.arrays import U32, Bool
from metricsmith.model.series import SeriesTable
from metricsmith.syntax.selector import parse_selector

MAX_SELECTORS = 1000


def _selector(text: str) -> str:
    try:
        parse_selector(text)
    except ParseError as error:
        raise ValueError(f'got "{text[:100]}", wanted a selector such as up{{job="shop"}}: {error}') from None
    return text


SelectorText = Annotated[str, Field(max_length=10_000), AfterValidator(_selector)]
"""A selector as PromQL writes it: a metric name, label matchers in braces, or both."""


class Choice:
    """What any of some selectors matches.

    >>> Choice(['http_requests_total{code!="200"}']).has({"__name__": "http_requests_total", "code": "500"})
    True
    """

    def __init__(self, selectors: Sequence[str]) -> None:
        self._matchers = [parse_selector(text).matchers for text in selectors]

    def has(self, labels: Mapping[str, str]) -> bool:
        """Return whether a series is chosen."""
        return any(all(m.matches(labels.get(m.name, "")) for m in one) for one in self._matchers)


_UNDECIDED = -1


class SeriesChoice:
    """What selectors choose among interned series, decided once per series."""

    def __init__(self, table: SeriesTable, selectors: Sequence[str]) -> None:
        self._table, self._choice = table, Choice(selectors)
        self._decided = np.full(1024, _UNDECIDED, dtype=np.int8)

    def mask(self, ids: U32) -> Bool:
        """Return which of the series are chosen.

        Shapes:
            ids, returns: (P,)
        """
        highest = int(ids.max(initial=0))
        if highest >= len(self._decided):
            grown = np.full(2 * (highest + 1), _UNDECIDED, dtype=np.int8)
            grown[: len(self._decided)] = self._decided
            self._decided = grown
        for series in np.unique(ids[self._decided[ids] == _UNDECIDED]).tolist():
            self._decided[series] = self._choice.has(self._table.labels(series))
        chosen: Bool = self._decided[ids] == 1
        return chosen
