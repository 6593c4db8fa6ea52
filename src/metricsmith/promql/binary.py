"""Binary operators: which kinds of operands meet."""

from __future__ import annotations

from metricsmith.model.arrays import F64
from metricsmith.promql.arithmetic import COMPARISON, apply
from metricsmith.promql.budget import Budget
from metricsmith.promql.check import SET_OPERATORS
from metricsmith.promql.matching import combine_sets, match_vectors
from metricsmith.promql.plan import Operate
from metricsmith.promql.series_labels import merge_same_labels, without_names
from metricsmith.promql.values import Scalar, Value, Vector


def operate(node: Operate, left: Value, right: Value, budget: Budget) -> Value:
    """Return the operator's result, whatever the operands' kinds."""
    match left, right:
        case Scalar(), Scalar():
            return Scalar(apply(node.op, left.values, right.values, None, return_bool=True)[0])
        case Vector(), Scalar():
            return _with_scalar(node, left, left.values, right.values)
        case Scalar(), Vector():
            return _with_scalar(node, right, left.values, right.values)
        case Vector(), Vector() if node.op in SET_OPERATORS:
            return combine_sets(node.op, left, right, node.matching)
        case Vector(), Vector():
            return match_vectors(node, left, right, budget)
    raise TypeError(f"{node.op} between {type(left).__name__} and {type(right).__name__}")


def _with_scalar(node: Operate, vector: Vector, left: F64, right: F64) -> Vector:
    values, present = apply(node.op, left, right, vector.present, node.return_bool)
    if not node.drop_name:
        # A comparison keeps the vector's values, on whichever side it stands.
        values = vector.values if node.op in COMPARISON else values
        return Vector(vector.keys, values, present)
    return merge_same_labels(Vector(without_names(vector.keys), values, present))
