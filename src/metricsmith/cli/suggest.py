"""Why an answer is empty: a metric, a label or a value that is not there, and what is near it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from metricsmith.cli.client import Unreachable, label_names, label_values, metric_names
from metricsmith.errors import QueryError
from metricsmith.model.labels import NAME_LABEL
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.metadata import MetricType
from metricsmith.model.own_metrics import OWN_METRICS, OwnMetric
from metricsmith.promql.ast import MatrixSelector, VectorSelector
from metricsmith.promql.parser import parse
from metricsmith.promql.walk import preorder

MAX_NEAR = 3
MIN_PART = 3  # shorter ones are in names that have nothing to do with them
MAX_SELECTORS = 3
MAX_MATCHERS = 3
"""Of each selector: a hint takes at most 3 * (1 + 3) lookups."""
MAX_NAMES = 1000
"""In the answer to one lookup; where there are more, none is said to be absent."""


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
    absent = _absent_labels(url, [node for node in nodes if isinstance(node, VectorSelector)])
    if absent:
        return "no data: " + "; ".join(absent)
    if any(isinstance(node, MatrixSelector) for node in nodes):
        return "no data at that time (most functions of a range such as [1m] need two samples in it)"
    return "no data at that time (nothing matches)"


def _near(unknown: list[str], known: list[str]) -> Iterator[str]:
    own = {form for metric in OWN_METRICS for form in _forms(metric)}
    for name in unknown:
        if name in own:
            yield f"{name} is known, but it has no samples yet"
        else:
            yield f"no metric is named {name}{_did_you_mean(name, known)}"


def _forms(metric: OwnMetric) -> list[str]:
    """Return the names under which samples of a metric are kept."""
    if metric.type is MetricType.HISTOGRAM:
        return [f"{metric.name}_{part}" for part in ("bucket", "count", "sum")]
    return [metric.name]


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, MAX_NEAR)
    # A part of a name is what people remember: `requests` for `http_requests_total`.
    if len(word) >= MIN_PART:
        near += [other for other in known if word.lower() in other.lower() and other not in near]
    return f"; did you mean {' or '.join(near[:MAX_NEAR])}?" if near else ""


def _absent_labels(url: str, selectors: Sequence[VectorSelector]) -> list[str]:
    """Return what selectors ask for that no series of their metric has."""
    try:
        found = [text for node in selectors[:MAX_SELECTORS] if node.name for text in _absent(url, node)]
    except (QueryError, Unreachable):
        return []
    return list(dict.fromkeys(found))


def _absent(url: str, selector: VectorSelector) -> Iterator[str]:
    asked = [matcher for matcher in selector.matchers if _needs_a_value(matcher)][:MAX_MATCHERS]
    labels = label_names(url, selector.name, MAX_NAMES) if asked else []
    for matcher in asked if len(labels) < MAX_NAMES else ():
        if matcher.name not in labels:
            known = [label for label in labels if label != NAME_LABEL]
            yield f"{selector.name} has no label {matcher.name}{_did_you_mean(matcher.name, known)}"
            continue
        values = label_values(url, matcher.name, selector.name, MAX_NAMES)
        if len(values) < MAX_NAMES and not any(map(matcher.matches, values)):
            yield f"{selector.name} has no {matcher}{_did_you_mean(matcher.value, values)}"


def _needs_a_value(matcher: Matcher) -> bool:
    positive = matcher.op in (MatchOp.EQ, MatchOp.RE)
    return matcher.name != NAME_LABEL and positive and not matcher.matches("")
