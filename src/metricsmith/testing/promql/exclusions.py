"""What is not asked of both servers, and why: 2.42 and 3.x differ, or nothing defines the answer."""

from __future__ import annotations

from typing import Final

FUNCTIONS: Final[dict[str, str]] = {
    **dict.fromkeys(
        [
            *["first_over_time", "mad_over_time", "ts_of_first_over_time", "ts_of_last_over_time"],
            *["ts_of_max_over_time", "ts_of_min_over_time", "double_exponential_smoothing"],
            *["histogram_avg", "histogram_stddev", "histogram_stdvar", "histogram_quantiles"],
            *["sort_by_label", "sort_by_label_desc", "info", "start", "end", "step", "range"],
            *["min_of", "max_of"],
        ],
        "came after 2.42",
    ),
    "histogram_fraction": "2.42 answers nothing for floats; 3.x and we take classic buckets",
}
"""Functions by name."""

AGGREGATIONS: Final[dict[str, str]] = {
    "limitk": "came after 2.42",
    "limit_ratio": "came after 2.42",
}
"""Aggregations by name."""

CONSTRUCTS: Final[dict[str, str]] = {
    "number and duration literals of 3.x, duration expressions, quoted names": "2.42 does not parse them",
    "order of instant answers but for sort, sort_desc, topk and bottomk": "the documentation promises none",
    "order of the groups of topk and bottomk": "the same; inside a group it is defined",
    'buckets with le="NaN"': (
        "2.42 sorts by comparing with NaN, so the order of series decides; here they are left out"
    ),
    "buckets that fall by rounding errors": "levelled out since 2.48",
    "a dot in a pattern beside a line break": "it matches one since 3.0",
    "predict_linear, or a parameter that changes by step, beside a range selector with @": (
        "2.42 moves the pinned window with the steps; the documentation says that it stays"
    ),
    "an aggregation with a parameter that changes by step over a selector with @": (
        "2.42 takes the parameter of the first step for all"
    ),
    "timestamp of a selector with both @ and offset": "2.42 forgets the offset",
    "count_values whose label sorts before a label of its `by`": "2.42 loses the latter",
    "logarithms and powers of subnormal numbers": "those of Go are wrong on x86: ln(5e-324) is -709 there",
    "cosh and sinh between 709.8 and 710.5": "Go's are infinite there; the numbers are not",
    "0 and -0": "the order of series decides which of them a minimum, maximum or sum is",
    "subqueries of constants or pinned selectors, as answers, whose window holds no step": (
        "2.42 answers a step outside it"
    ),
    "hexadecimal bounds of buckets": "Go reads them as numbers; here they are no bounds",
    "the parameter lookback_delta": "2.42 ignores it; its flag is compared with our parameter instead",
    "order among equal values of sort, topk and bottomk": "2.42 takes them as the storage gives them",
    "topk, bottomk, count_values, comparisons, %, floor, ceil, round, sgn, changes, resets and rates"
    " of rounded numbers": "they make the last bit of their operand the first of their answer",
    "sums, means, deviations and lines of numbers of 1e300 and both signs": (
        "2.42 adds up plainly, so its answer depends on the order of series in storage; ours is compensated"
    ),
    "stddev and stdvar of series with NaN or infinities": "before 3.0 that of a single NaN or infinity was 0",
    "deriv, predict_linear and holt_winters of NaN or infinities": (
        "2.42's running sums give NaN or not depending on where the infinity stands"
    ),
    "date functions of numbers that are no dates": "what Go makes of them depends on the processor",
}
"""Everything else, in words."""
