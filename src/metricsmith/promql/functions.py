"""The functions of PromQL: names and types only, no implementation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metricsmith.promql.ast import ValueType

_SCALAR, _STRING, _INSTANT, _RANGE = ValueType.SCALAR, ValueType.STRING, ValueType.INSTANT, ValueType.RANGE
_S, _V, _M = (_SCALAR,), (_INSTANT,), (_RANGE,)
_ANY_NUMBER = 1 << 30


@dataclass(frozen=True, slots=True)
class Function:
    """What a call must look like: `least` to `most` arguments; the last type stands for all that follow."""

    name: str
    arg_types: tuple[ValueType, ...]
    least: int
    most: int
    returns: ValueType
    experimental: bool

    def arg_type(self, index: int) -> ValueType:
        """Return the type that the argument at an index must have."""
        return self.arg_types[min(index, len(self.arg_types) - 1)]


def _plain(
    names: str, args: tuple[ValueType, ...], returns: ValueType = _INSTANT, *, experimental: bool = False
) -> Iterator[Function]:
    for name in names.split():
        yield Function(name, args, len(args), len(args), returns, experimental)


def _variadic(
    names: str, args: tuple[ValueType, ...], least: int, most: int, *, experimental: bool = False
) -> Iterator[Function]:
    for name in names.split():
        yield Function(name, args, least, most, _INSTANT, experimental)


def _table() -> Iterator[Function]:
    yield from _plain("abs absent ceil exp floor ln log10 log2 sgn sort sort_desc sqrt timestamp", _V)
    yield from _plain("acos acosh asin asinh atan atanh cos cosh sin sinh tan tanh deg rad", _V)
    yield from _plain("changes delta deriv idelta increase irate rate resets", _M)
    yield from _plain("absent_over_time avg_over_time count_over_time last_over_time max_over_time", _M)
    yield from _plain("min_over_time present_over_time stddev_over_time stdvar_over_time sum_over_time", _M)
    yield from _plain("first_over_time mad_over_time", _M, experimental=True)
    yield from _plain(
        "ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time",
        _M,
        experimental=True,
    )
    yield from _plain("predict_linear", _M + _S)
    yield from _plain("quantile_over_time", _S + _M)
    yield from _plain("double_exponential_smoothing", _M + _S + _S, experimental=True)
    yield from _plain("holt_winters", _M + _S + _S)
    yield from _plain("clamp", _V + _S + _S)
    yield from _plain("clamp_max clamp_min", _V + _S)
    yield from _variadic("round", _V + _S, 1, 2)
    yield from _variadic(
        "day_of_month day_of_week day_of_year days_in_month hour minute month year", _V, 0, 1
    )
    yield from _plain("histogram_avg histogram_count histogram_stddev histogram_stdvar histogram_sum", _V)
    yield from _plain("histogram_fraction", _S + _S + _V)
    yield from _plain("histogram_quantile", _S + _V)
    yield from _variadic("histogram_quantiles", (_INSTANT, _STRING, _SCALAR), 3, 12, experimental=True)
    yield from _plain("label_replace", (_INSTANT, _STRING, _STRING, _STRING, _STRING))
    yield from _variadic("label_join", (_INSTANT, _STRING, _STRING, _STRING), 3, _ANY_NUMBER)
    yield from _variadic(
        "sort_by_label sort_by_label_desc", (_INSTANT, _STRING), 1, _ANY_NUMBER, experimental=True
    )
    yield from _variadic("info", _V + _V, 1, 2, experimental=True)
    yield from _plain("pi time", (), _SCALAR)
    yield from _plain("start end step range", (), _SCALAR, experimental=True)
    yield from _plain("min_of max_of", _S + _S, _SCALAR, experimental=True)
    yield from _plain("scalar", _V, _SCALAR)
    yield from _plain("vector", _S)


FUNCTIONS: dict[str, Function] = {function.name: function for function in _table()}
"""Every function by name.

Source:
    Prometheus 3.x, `promql/parser/functions.go`, and `holt_winters`, which is 2.x'
    name of `double_exponential_smoothing`.
"""

AGGREGATIONS: dict[str, ValueType | None] = {
    "sum": None,
    "avg": None,
    "count": None,
    "min": None,
    "max": None,
    "group": None,
    "stddev": None,
    "stdvar": None,
    "topk": ValueType.SCALAR,
    "bottomk": ValueType.SCALAR,
    "quantile": ValueType.SCALAR,
    "count_values": ValueType.STRING,
    "limitk": ValueType.SCALAR,
    "limit_ratio": ValueType.SCALAR,
}
"""Every aggregation by name, with the type of its parameter where it takes one."""

EXPERIMENTAL_AGGREGATIONS = frozenset({"limitk", "limit_ratio"})
