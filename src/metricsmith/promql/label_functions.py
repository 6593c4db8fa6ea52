"""label_replace and label_join, done once per series; and which names labels may have."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from metricsmith.errors import ExecutionError
from metricsmith.model.labels import decode_labels
from metricsmith.model.matchers import compile_anchored
from metricsmith.model.template import template
from metricsmith.promql.budget import Budget
from metricsmith.promql.series_labels import merge_same_labels, replace_labels
from metricsmith.promql.values import Vector

_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


def check_label_name(name: str, user: str, prometheus_2: bool) -> None:
    """Refuse what cannot name a label: nothing, and in Prometheus 2 all but letters, digits and `_`.

    Raises:
        ExecutionError: as said.
    """
    if not name or (prometheus_2 and not _PLAIN_NAME.fullmatch(name)):
        raise ExecutionError(f"invalid label name in {user}(): {name!r}")


def label_replace(
    vector: Vector, target: str, replacement: str, source: str, pattern: str, budget: Budget
) -> Vector:
    """Return series with a label set from a pattern over another label, where that matches.

    Raises:
        ExecutionError: the pattern is invalid.
    """
    try:
        compiled = compile_anchored(pattern)
    except ValueError as error:
        raise ExecutionError(f"invalid regular expression in label_replace(): {pattern}: {error}") from None
    filled = template(replacement)

    def replaced(labels: dict[str, str]) -> str | None:
        match = compiled.fullmatch(labels.get(source, ""))
        return None if match is None else filled.expand(match)

    return _relabelled(vector, target, replaced, budget)


def label_join(vector: Vector, target: str, separator: str, sources: Sequence[str], budget: Budget) -> Vector:
    """Return series with a label set to the values of others, joined."""

    def joined(labels: dict[str, str]) -> str:
        return separator.join(labels.get(name, "") for name in sources)

    return _relabelled(vector, target, joined, budget)


def _relabelled(
    vector: Vector, target: str, value: Callable[[dict[str, str]], str | None], budget: Budget
) -> Vector:
    """Return series with a label set to what is made of the others, as it was where that is None."""
    keys = []
    size = 0
    for key in vector.keys:
        new = value(decode_labels(key))
        keys.append(key if new is None else replace_labels(key, {target: new}))
        size += len(keys[-1])
        budget.check_labels(size)
        budget.check_time()
    return merge_same_labels(Vector(keys, vector.values, vector.present))
