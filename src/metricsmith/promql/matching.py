"""Vector matching: which series of two vectors meet, and the labels of what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from metricsmith.errors import ExecutionError
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.labels import decode_labels, metric_name
from metricsmith.model.series_keys import SeriesKeys, derive
from metricsmith.promql.arithmetic import apply
from metricsmith.promql.ast import Matching
from metricsmith.promql.budget import Budget
from metricsmith.promql.filling import fill_missing
from metricsmith.promql.plan import Operate
from metricsmith.promql.series_labels import (
    describe,
    drop_name,
    merge_same_labels,
    number_groups,
    occurring,
    replace_labels,
    signatures,
)
from metricsmith.promql.values import Vector, both, narrow

_NOT_EXPLICIT = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
_NOT_UNIQUE = "multiple matches for labels: grouping labels must ensure unique matches"


def match_vectors(node: Operate, left: Vector, right: Vector, budget: Budget) -> Vector:
    """Return an arithmetic or comparison operator between the series of two vectors that match.

    Raises:
        ExecutionError: at some step a match is not unique.
    """
    node = _with_occurring_labels(node, left, right)
    matching = node.matching
    swapped = matching.card == "one-to-many"
    many, one = (right, left) if swapped else (left, right)
    if matching.fill_left is not None or matching.fill_right is not None:
        left_value, right_value = matching.fill_left, matching.fill_right
        for_sides = (right_value, left_value) if swapped else (left_value, right_value)
        many, one = fill_missing(many, one, matching, for_sides)
    many_signatures = signatures(many.keys, matching.labels, matching.on)
    sides = _one_side(one, _active(many, one), matching, "left" if swapped else "right")
    steps = left.values.shape[1]
    if sides.vector is one:
        # The meeting holds the keys of the one side, so that no other list can have their identity.
        what = "meeting", id(one.keys), matching, node.drop_name, node.return_bool
        met = derive(many.keys, what, lambda: _met(many, many_signatures, sides, node, budget))
    else:
        met = _met(many, many_signatures, sides, node, budget)
    budget.check_samples(len(met.keys) * steps)
    if not met.keys:
        return Vector([], np.empty((0, steps)))
    many_rows, one_rows = met.many_rows, met.one_rows
    many_values, many_present = _rows(many, many_rows)
    one_values, one_present = _rows(sides.vector, one_rows)
    operands = (one_values, many_values) if swapped else (many_values, one_values)
    values, present = apply(node.op, *operands, both(many_present, one_present), node.return_bool)
    if not met.unambiguous:
        found = [many_signatures[row] for row in many_rows.tolist()]
        _refuse_ambiguous(found, met.keys, present, values.shape[1], matching)
    return merge_same_labels(narrow(met.keys, values, present))


def _with_occurring_labels(node: Operate, left: Vector, right: Vector) -> Operate:
    """Return the operator without the included labels that no series has: there may be many thousands."""
    include = occurring(node.matching.include, left.keys, right.keys)
    if include is node.matching.include:
        return node
    return replace(node, matching=replace(node.matching, include=include))


@dataclass(frozen=True, slots=True)
class _Meeting:
    """Which series meet, and the labels of what comes out; depends on labels only.

    Shapes:
        many_rows, one_rows: (M,); keys: M.
    """

    many_rows: I64
    one_rows: I64
    keys: SeriesKeys
    unambiguous: bool
    one_keys: list[bytes]


def _met(
    many: Vector, many_signatures: list[bytes], sides: _OneSide, node: Operate, budget: Budget
) -> _Meeting:
    matches = sum(len(sides.rows.get(signature, ())) for signature in many_signatures)
    budget.check_samples(matches * many.values.shape[1])
    pairs = [
        (row, target)
        for row, signature in enumerate(many_signatures)
        for target in sides.rows.get(signature, ())
    ]
    many_rows, one_rows = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    keys = [
        _result_key(many.keys[row], many_signatures[row], sides.included[target], node)
        for row, target in pairs
    ]
    groups = _result_groups([many_signatures[row] for row, _ in pairs], keys, node.matching)
    unambiguous = len(set(groups)) == len(groups)
    return _Meeting(many_rows, one_rows, SeriesKeys(keys), unambiguous, sides.vector.keys)


class _OneSide:
    """The side that must be unique: one row for each signature and set of included labels."""

    def __init__(self, vector: Vector, rows: dict[bytes, list[int]], included: list[dict[str, str]]) -> None:
        self.vector = vector
        self.rows = rows
        self.included = included


def _active(left: Vector, right: Vector) -> Bool:
    """Return the steps at which both sides have a value; at others nothing is matched, nor refused."""
    return np.logical_and(left.mask().any(axis=0), right.mask().any(axis=0))


def _one_side(vector: Vector, active: Bool, matching: Matching, side: str) -> _OneSide:
    found = signatures(vector.keys, matching.labels, matching.on)
    included = [_included(key, matching.include) for key in vector.keys]
    if len(set(found)) < len(found):
        _refuse_many_to_many(vector, found, active, matching, side)
        # What never meets in time is one series to match with, as far as its labels do not show.
        shown = [replace_labels(s, values) for s, values in zip(found, included, strict=True)]
        first = {key: row for row, key in reversed(list(enumerate(shown)))}
        order = sorted(first.values())
        merged = merge_same_labels(Vector(shown, vector.values, np.asarray(vector.mask() & active)))
        vector, found, included = merged, [found[i] for i in order], [included[i] for i in order]
    rows: dict[bytes, list[int]] = {}
    for row, signature in enumerate(found):
        rows.setdefault(signature, []).append(row)
    return _OneSide(vector, rows, included)


def _included(key: bytes, labels: Sequence[str]) -> dict[str, str]:
    if not labels:
        return {}
    known = decode_labels(key)
    return {label: known.get(label, "") for label in labels}


def _refuse_many_to_many(
    vector: Vector, found: list[bytes], active: Bool, matching: Matching, side: str
) -> None:
    present = vector.mask() & active
    taken: dict[bytes, Bool] = {}
    for row, signature in enumerate(found):
        before = taken.get(signature)
        if before is not None and (present[row] & before).any():
            other = next(i for i in range(row) if found[i] == signature and (present[i] & present[row]).any())
            labels = signatures([vector.keys[row]], matching.labels, matching.on)[0]
            raise ExecutionError(
                f"found duplicate series for the match group {describe(labels)} on the {side} hand-side "
                f"of the operation: [{describe(vector.keys[row])}, {describe(vector.keys[other])}];"
                "many-to-many matching not allowed: matching labels must be unique on one side"
            )
        taken[signature] = present[row] if before is None else before | present[row]


def _rows(vector: Vector, rows: I64) -> tuple[F64, Bool | None]:
    if len(rows) == len(vector.keys) and (rows == np.arange(len(rows))).all():
        return vector.values, vector.present
    return vector.values[rows], None if vector.present is None else vector.present[rows]


def _result_key(key: bytes, signature: bytes, included: dict[str, str], node: Operate) -> bytes:
    if node.matching.card == "one-to-one":
        if node.drop_name:
            return drop_name(signature)
        return signature if node.matching.on else metric_name(key).encode() + signature
    kept = drop_name(key) if node.drop_name else key
    labelled = replace_labels(kept, included) if included else kept
    # An included name stays, but not with `bool`.
    return drop_name(labelled) if node.return_bool else labelled


def _refuse_ambiguous(
    found: list[bytes], keys: list[bytes], present: Bool | None, steps: int, matching: Matching
) -> None:
    """Raise where one series of the unique side meets several others that would give the same labels."""
    numbers, names = number_groups(_result_groups(found, keys, matching))
    several = np.bincount(numbers)[numbers] > 1
    mask = np.ones((1, steps), np.bool_) if present is None else present[several]
    hits = np.zeros((len(names), mask.shape[1]), dtype=np.int64)
    np.add.at(hits, numbers[several], mask)
    if (hits > 1).any():
        raise ExecutionError(_NOT_EXPLICIT if matching.card == "one-to-one" else _NOT_UNIQUE)


def _result_groups(found: list[bytes], keys: list[bytes], matching: Matching) -> list[bytes]:
    """Return for each match what may come out once at a step."""
    if matching.card == "one-to-one":
        return found
    return [b"\x00".join(pair) for pair in zip(found, keys, strict=True)]


def combine_sets(op: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    """Return `left and right`, `left or right` or `left unless right`, decided at each step."""
    left_numbers, right_numbers, groups = _common_numbers(left, right, matching)
    if op == "or":
        met = _any_of_group(left, left_numbers, groups)[right_numbers]
        return merge_same_labels(
            narrow(
                [*left.keys, *right.keys],
                np.concatenate([left.values, right.values]),
                np.concatenate([left.mask(), right.mask() & ~met]),
            )
        )
    met = _any_of_group(right, right_numbers, groups)[left_numbers]
    return narrow(left.keys, left.values, left.mask() & (met if op == "and" else ~met))


def _common_numbers(left: Vector, right: Vector, matching: Matching) -> tuple[I64, I64, int]:
    found = signatures([*left.keys, *right.keys], matching.labels, matching.on)
    numbers, groups = number_groups(found)
    return numbers[: len(left.keys)], numbers[len(left.keys) :], len(groups)


def _any_of_group(vector: Vector, numbers: I64, groups: int) -> Bool:
    """Return where any series of each group has a value.

    Shapes:
        numbers: (S,); returns: (groups, T)
    """
    met = np.zeros((groups, vector.values.shape[1]), dtype=np.bool_)
    if vector.present is None:
        met[numbers] = True
    else:
        np.logical_or.at(met, numbers, vector.present)
    return met
