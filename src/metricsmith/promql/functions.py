"""The functions and aggregations of PromQL: names, types and what they are for; no implementation."""

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
    help: str

    def arg_type(self, index: int) -> ValueType:
        """Return the type that the argument at an index must have."""
        return self.arg_types[min(index, len(self.arg_types) - 1)]


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What an aggregation must look like: `parameter` is the type of what precedes the vector."""

    parameter: ValueType | None
    experimental: bool
    help: str


def _plain(
    args: tuple[ValueType, ...],
    texts: dict[str, str],
    *,
    returns: ValueType = _INSTANT,
    optional: int = 0,
    experimental: bool = False,
) -> Iterator[Function]:
    """Functions that take these arguments, of which the last `optional` may be left out."""
    for name, text in texts.items():
        least = len(args) - optional
        yield Function(name, args, least, len(args), returns, experimental, text)


def _variadic(
    args: tuple[ValueType, ...], least: int, most: int, texts: dict[str, str], *, experimental: bool = False
) -> Iterator[Function]:
    for name, text in texts.items():
        yield Function(name, args, least, most, _INSTANT, experimental, text)


def _of_vectors() -> Iterator[Function]:
    yield from _plain(
        _V,
        {
            "abs": "Absolute value.",
            "absent": "1 when there is no series, else nothing; with the labels that the selector asks for.",
            "ceil": "The next whole number up.",
            "exp": "e to the power of the value.",
            "floor": "The next whole number down.",
            "ln": "Natural logarithm.",
            "log10": "Decimal logarithm.",
            "log2": "Binary logarithm.",
            "sgn": "-1, 0 or 1: the sign.",
            "sort": "Series by value, smallest first; only instant queries have an order.",
            "sort_desc": "Series by value, largest first; only instant queries have an order.",
            "sqrt": "Square root.",
            "timestamp": "When the sample was taken, in seconds since the epoch.",
        },
    )
    yield from _plain(
        _V + _S + _S, {"clamp": "Values cut to at least the second and at most the third argument."}
    )
    yield from _plain(
        _V + _S,
        {
            "clamp_max": "Values cut to at most the argument.",
            "clamp_min": "Values cut to at least the argument.",
        },
    )
    yield from _plain(
        _V + _S, {"round": "Nearest multiple of the second argument, 1 unless given; ties go up."}, optional=1
    )


def _of_angles() -> Iterator[Function]:
    yield from _plain(
        _V,
        {
            "acos": "Arc cosine, in radians.",
            "acosh": "Inverse hyperbolic cosine.",
            "asin": "Arc sine, in radians.",
            "asinh": "Inverse hyperbolic sine.",
            "atan": "Arc tangent, in radians.",
            "atanh": "Inverse hyperbolic tangent.",
            "cos": "Cosine of radians.",
            "cosh": "Hyperbolic cosine.",
            "sin": "Sine of radians.",
            "sinh": "Hyperbolic sine.",
            "tan": "Tangent of radians.",
            "tanh": "Hyperbolic tangent.",
            "deg": "Radians as degrees.",
            "rad": "Degrees as radians.",
        },
    )


def _of_times() -> Iterator[Function]:
    yield from _plain(
        _V,
        {
            "day_of_month": "Day of the month, 1 to 31, of a time in seconds, UTC; without argument, now.",
            "day_of_week": "Day of the week, 0 (Sunday) to 6.",
            "day_of_year": "Day of the year, 1 to 366.",
            "days_in_month": "Number of days in the month, 28 to 31.",
            "hour": "Hour of the day, 0 to 23.",
            "minute": "Minute of the hour, 0 to 59.",
            "month": "Month, 1 to 12.",
            "year": "Year.",
        },
        optional=1,
    )


def _of_histograms() -> Iterator[Function]:
    yield from _plain(
        _V,
        {
            "histogram_avg": "Average of native histograms: nothing here, as they are not supported.",
            "histogram_count": "Count of native histograms: nothing here.",
            "histogram_stddev": "Standard deviation of native histograms: nothing here.",
            "histogram_stdvar": "Variance of native histograms: nothing here.",
            "histogram_sum": "Sum of native histograms: nothing here.",
        },
    )
    yield from _plain(
        _S + _S + _V,
        {"histogram_fraction": "Share of a histogram's observations between two bounds, interpolated."},
    )
    yield from _plain(
        _S + _V,
        {"histogram_quantile": "Quantile of a histogram, interpolated; cut at its last finite bound."},
    )
    yield from _variadic(
        (_INSTANT, _STRING, _SCALAR),
        3,
        12,
        {"histogram_quantiles": "Several quantiles at once, told apart by the label that the text names."},
        experimental=True,
    )


def _of_labels() -> Iterator[Function]:
    yield from _plain(
        (_INSTANT, _STRING, _STRING, _STRING, _STRING),
        {
            "label_replace": "Sets a label (2nd) to a template (3rd) where one (4th) matches a regex (5th).",
        },
    )
    yield from _variadic(
        (_INSTANT, _STRING, _STRING, _STRING),
        3,
        _ANY_NUMBER,
        {"label_join": "Sets a label (2nd) to the values of those that follow, joined by a separator (3rd)."},
    )
    yield from _variadic(
        (_INSTANT, _STRING),
        1,
        _ANY_NUMBER,
        {
            "sort_by_label": "Series by the values of labels, numbers within them in their order.",
            "sort_by_label_desc": "Series by the values of labels, the other way round.",
        },
        experimental=True,
    )
    yield from _plain(
        _V + _V,
        {"info": "Adds labels of info series, of `target_info` unless told, by `job` and `instance`."},
        optional=1,
        experimental=True,
    )


def _of_ranges() -> Iterator[Function]:
    yield from _plain(
        _M,
        {
            "changes": "How often the value changed.",
            "delta": "Difference between the window's ends, extrapolated; for gauges.",
            "deriv": "Slope of the regression line, per second; for gauges.",
            "idelta": "Difference of the last two samples.",
            "increase": "Growth of a counter, resets added back, extrapolated to the window's ends.",
            "irate": "Growth per second of a counter between the last two samples.",
            "rate": "Growth per second of a counter, resets added back, extrapolated to the window's ends.",
            "resets": "How often a counter fell.",
            "absent_over_time": "1 when no series has a sample in the window, else nothing.",
            "avg_over_time": "Average.",
            "count_over_time": "Number of samples.",
            "first_over_time": "The first sample.",
            "last_over_time": "The last sample.",
            "max_over_time": "Maximum.",
            "min_over_time": "Minimum.",
            "present_over_time": "1 for each series with a sample.",
            "stddev_over_time": "Standard deviation of the population.",
            "stdvar_over_time": "Variance of the population.",
            "sum_over_time": "Sum.",
        },
    )
    yield from _plain(
        _M,
        {
            "mad_over_time": "Median of the absolute deviations from the median.",
            "ts_of_first_over_time": "When the first sample was taken, in seconds since the epoch.",
            "ts_of_last_over_time": "When the last sample was taken.",
            "ts_of_max_over_time": "When the maximum was last seen.",
            "ts_of_min_over_time": "When the minimum was last seen.",
        },
        experimental=True,
    )
    yield from _plain(
        _M + _S, {"predict_linear": "Value in so many seconds, by the regression line; for gauges."}
    )
    yield from _plain(_S + _M, {"quantile_over_time": "Quantile of the samples, interpolated."})
    smoothing = "Smoothed value, by a factor for the level and one for the trend, 0 to 1; for gauges."
    yield from _plain(_M + _S + _S, {"double_exponential_smoothing": smoothing}, experimental=True)
    yield from _plain(
        _M + _S + _S, {"holt_winters": "Prometheus 2's name of `double_exponential_smoothing`."}
    )


def _of_scalars() -> Iterator[Function]:
    yield from _plain(
        (), {"pi": "π.", "time": "Time of the step, in seconds since the epoch."}, returns=_SCALAR
    )
    yield from _plain(
        (),
        {
            "start": "Start of the query, in seconds since the epoch.",
            "end": "End of the query.",
            "step": "Step of the query, in seconds.",
            "range": "Length of the query, in seconds.",
        },
        returns=_SCALAR,
        experimental=True,
    )
    yield from _plain(
        _S + _S,
        {"min_of": "The smaller of two scalars.", "max_of": "The larger of two scalars."},
        returns=_SCALAR,
        experimental=True,
    )
    yield from _plain(
        _V, {"scalar": "The value of the only series; NaN if there is not exactly one."}, returns=_SCALAR
    )
    yield from _plain(_S, {"vector": "One series without labels."})


_GROUPS = (
    *(_of_vectors, _of_angles, _of_times, _of_histograms),
    *(_of_labels, _of_ranges, _of_scalars),
)

FUNCTIONS: dict[str, Function] = {function.name: function for group in _GROUPS for function in group()}
"""Every function by name.

Source:
    Prometheus 3.x, `promql/parser/functions.go`, and `holt_winters`, which is 2.x'
    name of `double_exponential_smoothing`.
"""

AGGREGATIONS: dict[str, Aggregation] = {
    "sum": Aggregation(None, False, "Sum."),
    "avg": Aggregation(None, False, "Average."),
    "count": Aggregation(None, False, "Number of series."),
    "min": Aggregation(None, False, "Minimum."),
    "max": Aggregation(None, False, "Maximum."),
    "group": Aggregation(None, False, "1 for each group."),
    "stddev": Aggregation(None, False, "Standard deviation of the population."),
    "stdvar": Aggregation(None, False, "Variance of the population."),
    "topk": Aggregation(_SCALAR, False, "The series with the largest values, so many of each group."),
    "bottomk": Aggregation(_SCALAR, False, "The series with the smallest values, so many of each group."),
    "quantile": Aggregation(_SCALAR, False, "Quantile of the values, interpolated."),
    "count_values": Aggregation(
        _STRING, False, "Number of series for each value, which the named label holds."
    ),
    "limitk": Aggregation(_SCALAR, True, "So many series of each group, the same ones each time."),
    "limit_ratio": Aggregation(
        _SCALAR, True, "A share of the series, picked by their labels; a negative share picks the others."
    ),
}
"""Every aggregation by name."""
