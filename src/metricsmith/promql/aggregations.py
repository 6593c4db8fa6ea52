"""What each aggregation does: one table from names to implementations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from metricsmith.promql.aggregate import REDUCTIONS, Reduction, reduce_groups
from metricsmith.promql.rank import quantiles, select_extreme
from metricsmith.promql.values import Scalar, Vector

Aggregate: TypeAlias = Callable[[Vector, Any, tuple[str, ...], bool], Vector]
"""Called with the vector, the parameter or None, the grouping labels, and whether it is `without`."""


def _plain(reduction: Reduction) -> Aggregate:
    def run(vector: Vector, parameter: None, labels: tuple[str, ...], without: bool) -> Vector:
        return reduce_groups(vector, reduction, labels, without)

    return run


def _extreme(
    vector: Vector, parameter: Scalar, labels: tuple[str, ...], without: bool, *, largest: bool
) -> Vector:
    return select_extreme(vector, parameter, labels, without, largest)


AGGREGATIONS: dict[str, Aggregate] = {
    **{name: _plain(reduction) for name, reduction in REDUCTIONS.items()},
    "topk": partial(_extreme, largest=True),
    "bottomk": partial(_extreme, largest=False),
    "quantile": quantiles,
}
"""Implementations by name; what stands in `functions.AGGREGATIONS` and not here is not supported yet."""
