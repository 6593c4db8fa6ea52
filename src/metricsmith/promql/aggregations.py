"""What each aggregation does: one table from names to implementations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from metricsmith.promql.aggregate import REDUCTIONS, Reduction, reduce_groups
from metricsmith.promql.budget import Budget
from metricsmith.promql.count_values import count_values
from metricsmith.promql.rank import quantiles, select_extreme
from metricsmith.promql.remarks import CallRemarks, bad_quantiles, bad_ratios
from metricsmith.promql.sampling import limit_k, limit_ratio
from metricsmith.promql.values import Scalar, String, Vector

Aggregate: TypeAlias = Callable[[Vector, Any, tuple[str, ...], bool, Budget], Vector]
"""Called with the vector, the parameter or None, the grouping labels, whether it is `without`, the budget."""


def _plain(reduction: Reduction) -> Aggregate:
    def run(
        vector: Vector, parameter: None, labels: tuple[str, ...], without: bool, budget: Budget
    ) -> Vector:
        return reduce_groups(vector, reduction, labels, without)

    return run


def _extreme(largest: bool) -> Aggregate:
    def run(
        vector: Vector, parameter: Scalar, labels: tuple[str, ...], without: bool, budget: Budget
    ) -> Vector:
        return select_extreme(vector, parameter, labels, without, largest, budget)

    return run


def _quantile(
    vector: Vector, parameter: Scalar, labels: tuple[str, ...], without: bool, budget: Budget
) -> Vector:
    return quantiles(vector, parameter, labels, without, budget)


def _limit_k(
    vector: Vector, parameter: Scalar, labels: tuple[str, ...], without: bool, budget: Budget
) -> Vector:
    return limit_k(vector, parameter, labels, without)


def _limit_ratio(
    vector: Vector, parameter: Scalar, labels: tuple[str, ...], without: bool, budget: Budget
) -> Vector:
    return limit_ratio(vector, parameter)


AGGREGATIONS: dict[str, Aggregate] = {
    **{name: _plain(reduction) for name, reduction in REDUCTIONS.items()},
    "topk": _extreme(largest=True),
    "bottomk": _extreme(largest=False),
    "quantile": _quantile,
    "limitk": _limit_k,
    "limit_ratio": _limit_ratio,
    "count_values": count_values,
}
"""Implementations of all that stands in `functions.AGGREGATIONS`, by name."""


def remark_on_parameter(op: str, parameter: Scalar | String | None, remarks: CallRemarks) -> None:
    """Warn of a parameter that is a number, and still not one that the aggregation can use."""
    find = {"quantile": bad_quantiles, "limit_ratio": bad_ratios}.get(op)
    if find is not None and isinstance(parameter, Scalar):
        remarks.warn(find(parameter.values), argument=0)
