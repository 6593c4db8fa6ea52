"""Why an answer is empty: a name that no metric has, and the names that are near it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from metricsmith.cli.client import Unreachable, metric_names
from metricsmith.errors import QueryError
from metricsmith.promql.ast import MatrixSelector, VectorSelector
from metricsmith.promql.parser import parse
from metricsmith.promql.walk import preorder

MAX_NEAR = 3


def explain_nothing(url: str, expression: str, *, remarked: bool) -> str:
    """Return one line for people whose query found nothing; looks up which metrics there are.

    Where the agent `remarked` something on the answer, that is the reason, and none is guessed.
    """
    try:
        nodes = list(preorder(parse(expression)))
        known = metric_names(url)
    except (QueryError, Unreachable):
        return "no data"  # a hint is not worth an error
    asked = list(dict.fromkeys(node.name for node in nodes if isinstance(node, VectorSelector) and node.name))
    unknown = [name for name in asked if name not in known]
    if unknown:
        return "no data: " + "; ".join(_near(unknown, known))
    if remarked:
        return "no data"
    if any(isinstance(node, MatrixSelector) for node in nodes):
        return "no data at that time (most functions of a range such as [1m] need two samples in it)"
    return "no data at that time (nothing matches)"


def _near(unknown: list[str], known: list[str]) -> Iterator[str]:
    for name in unknown:
        near = difflib.get_close_matches(name, known, MAX_NEAR)
        # A part of a name is what people remember: `requests` for `http_requests_total`.
        near += [other for other in known if name.lower() in other.lower() and other not in near]
        hint = f"; did you mean {' or '.join(near[:MAX_NEAR])}?" if near else ""
        yield f"no metric is named {name}{hint}"
