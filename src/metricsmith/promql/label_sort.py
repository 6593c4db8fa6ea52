"""sort_by_label: natural order of label values, in which `node9` comes before `node10`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from metricsmith.model.labels import decode_labels
from metricsmith.promql.series_labels import label_order, occurring
from metricsmith.promql.values import Vector

_CHUNK = re.compile(r"[0-9]+|[^0-9]+")

_NaturalKey: TypeAlias = "tuple[tuple[str, int, str], ...]"


def sort_by_label(vector: Vector, names: Sequence[str], *, descending: bool) -> Vector:
    """Return the series of one step in the order of some labels, then of all; a range keeps its order."""
    if vector.values.shape[1] != 1:
        return vector
    labels = [decode_labels(key) for key in vector.keys]
    names = occurring(tuple(names), vector.keys)
    natural = [[natural_key(each.get(name, "")) for name in names] for each in labels]
    order = sorted(label_order(vector.keys), key=natural.__getitem__)
    if descending:
        order.reverse()
    present = None if vector.present is None else vector.present[order]
    return Vector([vector.keys[i] for i in order], vector.values[order], present)


def natural_key(text: str) -> _NaturalKey:
    """Return what sorts texts with the numbers in them by value.

    >>> sorted(["n10", "n9", "n09x", "na", "n"], key=natural_key)
    ['n', 'n9', 'n09x', 'n10', 'na']
    """
    return tuple(_chunk_key(chunk) for chunk in _CHUNK.findall(text))


def _chunk_key(chunk: str) -> tuple[str, int, str]:
    # A digit stands for every number, so that numbers and words compare as their first characters do;
    # numbers compare by length, then digit by digit: they may be too long for an integer.
    if "0" <= chunk[0] <= "9":
        digits = chunk.lstrip("0")
        return "0", len(digits), digits
    return chunk, 0, ""
