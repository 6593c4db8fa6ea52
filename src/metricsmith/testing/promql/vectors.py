"""What generated queries are made of: the metrics of the data set, and texts to choose from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

JOB_INSTANCE: Final = frozenset({"job", "instance"})
MODERATE: Final = 1e30
"""Up to here sums lose few digits."""
LARGEST_EXPONENT: Final = 700.0
VARIED: Final = 1e6
"""Up to here deviations do: numbers are not much larger than their differences."""


@dataclass(frozen=True, slots=True)
class Vec:
    """An instant vector: its text, and what is known of it.

    `labels` are those that its series have; they tell series apart if
    `unique`. `size` bounds the numbers that appear while it is computed; `finite`:
    there are no NaN and infinities among them. `exact`: both servers compute the
    same bits. `whole`: whole numbers. `positive`: not below zero, and zero only
    where exact arithmetic gives zero. `distinct`: no two values are equal.
    `ordered`: an instant answer comes in a defined order.
    """

    text: str
    labels: frozenset[str]
    size: float
    exact: bool = True
    whole: bool = False
    positive: bool = False
    distinct: bool = False
    unique: bool = True
    ordered: bool = False
    finite: bool = True

    @property
    def tame(self) -> bool:
        """Whether numbers are finite and of moderate size, so that sums lose few digits."""
        return self.finite and self.size < MODERATE

    @property
    def sharp(self) -> bool:
        """Whether the error of each number is a small share of that number, however small it is."""
        return self.exact or self.positive

    def mapped(
        self, text: str, size: float | None = None, *, whole: bool = False, positive: bool = False
    ) -> Vec:
        """Return what an exactly defined function makes of it."""
        size = self.size if size is None else size
        return replace(
            self, text=text, size=size, whole=whole, positive=positive, distinct=False, ordered=False
        )

    def rounded(
        self, text: str, size: float | None = None, *, positive: bool = False, finite: bool = True
    ) -> Vec:
        """Return what a function makes of it whose last bits are not defined."""
        mapped = self.mapped(text, size, positive=positive)
        return replace(mapped, exact=False, finite=self.finite and finite)

    def counted(self, text: str) -> Vec:
        """Return small whole numbers made of it, exact whatever it was."""
        return replace(self.mapped(text, 1e5, whole=True, positive=True), exact=True, finite=True)


METRICS: Final[dict[Vec, int]] = {
    Vec("requests_total", JOB_INSTANCE, 1e4, whole=True, positive=True): 6,
    Vec("jittered_total", JOB_INSTANCE, 1e3, positive=True): 6,
    Vec("level", JOB_INSTANCE, 500.0, distinct=True): 6,
    Vec("steps", JOB_INSTANCE, 5.0, whole=True): 4,
    Vec("odd", JOB_INSTANCE, 100.0, finite=False): 3,
    Vec("wild", JOB_INSTANCE, 1e300, finite=False, distinct=True): 2,
    Vec("sparse", JOB_INSTANCE | {"zone"}, 10.0, positive=True, distinct=True): 4,
    Vec("moment", JOB_INSTANCE, 1e10, whole=True, distinct=True): 1,
    Vec("flapping", JOB_INSTANCE, 2.0, positive=True, distinct=True): 5,
    Vec("passing", JOB_INSTANCE, 1.0, positive=True, distinct=True): 3,
    Vec("seconds_bucket", JOB_INSTANCE | {"le"}, 1e5, whole=True, positive=True): 3,
    Vec("broken_bucket", frozenset({"job", "le"}), 1e3, positive=True): 1,
    Vec('{__name__=~"early|later"}', JOB_INSTANCE, 5.0, distinct=True): 3,
    Vec("mixed", JOB_INSTANCE, 10.0, whole=True, unique=False): 3,
    Vec("owner", frozenset({"job", "team"}), 5.0, whole=True, positive=True): 3,
    Vec("single", frozenset({"job"}), 50.0, distinct=True): 1,
    Vec("many", frozenset({"n", "parity"}), 100.0, distinct=True): 2,
    Vec("text", frozenset({"kind", "text"}), 10.0, whole=True, positive=True): 2,
    Vec("ends", frozenset({"n"}), 1e308, finite=False): 1,
    Vec("equal", frozenset({"n"}), 1.0, positive=True): 1,
}
"""The data set's metrics, and how often they are chosen."""

COUNTERS: Final = [m for m in METRICS if m.text in ("requests_total", "jittered_total", "seconds_bucket")]
DATES_ONLY: Final = next(m for m in METRICS if m.text == "moment")
OWNER: Final = next(m for m in METRICS if m.text == "owner")

MATCHERS: Final[dict[str, list[str]]] = {
    "job": ['job="api"', 'job!="api"', 'job=~"api|db"', 'job!~"w.*"', 'job=~".+"', "job='web'"],
    "instance": ['instance="a:1"', 'instance!="b:1"', 'instance=~".:1"', 'instance!~"c.*"'],
    "le": ['le="+Inf"', 'le!="+Inf"', 'le=~"0.*|[+]Inf"'],
    "team": ['team=~"team-(api|web)"', "team!=``"],
    "zone": ['zone=~"a|d"', 'zone!=""'],
    "n": ['n=~"1?[0-5]"', 'n!="3"'],
    "parity": ['parity="odd"'],
    "kind": ['kind=~"k[1-4]"', 'kind!="k0"'],
    "text": [
        'text=~"(?s).*[ö\\"b].*"',
        'text=""',
        'text!~"x+"',
        r'text="quote\" back\\slash"',
        r'text=~"(?s).*\nb.*"',
    ],
    "absent": ['absent=""', 'absent!~".+"', 'absent=~""'],
}
RANGES: Final = ["1m", "5m", "47s", "10m", "90s", "2m30s", "15s", "1h", "1d", "14999ms"]
STEPS: Final = ["", "", "30s", "17s", "1m", "2m", "15s"]
OFFSETS: Final = ["3m", "-2m", "15s", "1m1s500ms", "-7m30s", "10m", "1ms", "-1ms", "5m"]
GRIDS: Final = [
    *((0, 60), (1, 13), (5, 15), (5, 7.5), (12, 60), (12, 300)),
    *((0.2, 0.5), (0.01, 0.001), (60, 600)),
]
"""Minutes and seconds of step of range queries."""
PINNED: Final = ["start()", "end()", "1700000600", "1700001200.5", "1700002000"]
CONSTANTS: Final = ["0", "1", "2.5", "-3", "0.1", "1e3", "100", "0x1F", ".5", "1e-9"]
ODD_CONSTANTS: Final = ["Inf", "-Inf", "NaN", "1e308"]
BETWEEN_VALUES: Final = ["0.37123", "-1.7123", "17.30017", "1234.56789"]
"""Thresholds that no rounded number hits."""

ARITHMETIC: Final = ["+", "-", "*", "/", "%", "^", "atan2"]
COMPARISONS: Final = ["==", "!=", ">", "<", ">=", "<="]
LABELS: Final = ["job", "instance", "zone", "le", "team", "n", "absent", "__name__"]
ALIKE: Final = ["requests_total", "level", "steps", "odd", "flapping", "passing", "jittered_total"]
"""Metrics with the same labels."""
QUANTILES: Final = ["0.5", "0.9", "0", "1", "0.25", "0.999", "1.2", "-1", "NaN"]
STEPWISE: Final = ["sqrt", "ceil", "floor", "round", "sgn"]
SMOOTH: Final = [
    "exp",
    "ln",
    "log2",
    "log10",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "cos",
    "sin",
    "tan",
    "tanh",
]
DATES: Final = [
    "minute",
    "hour",
    "day_of_week",
    "day_of_month",
    "day_of_year",
    "days_in_month",
    "month",
    "year",
]
LINES: Final = [
    "deriv({})",
    "holt_winters({}, 0.3, 0.6)",
    "predict_linear({}, 600)",
    "predict_linear({}, -90.5)",
]

REFUSED: Final = [
    "{a} + on (job) {b}",
    "{a} and on (__name__) {b}",
    '{{__name__=~"{a}|{b}"}} * on (__name__, job, instance) {a}',
    'label_replace({a}, "__name__", "$1", "instance", "(.).*")',
    'label_replace({a} * 2, "__name__", "new_${{1}}", "job", "(.*)")',
    'sum by (__name__) ({{__name__=~"{a}|{b}"}})',
    "{a} * on (job, instance) group_left (__name__, job) {b}",
    "{a} / ignoring (instance) group_left () {b}",
    "topk(scalar(steps{{job='api',instance='a:1'}}), level)",
    "{a} < bool on (job) group_right (instance) {b}",
    "{a} * on (job) group_left {b}",
    "{a} == on () {b}",
    'rate({{__name__=~"{a}|{b}"}}[5m])',
    '-{{__name__=~"{a}|{b}"}}',
    'abs({{__name__=~"{a}|{b}"}})',
    'sum_over_time({{__name__=~"{a}|{b}"}}[5m])',
    'sort({{__name__=~"{a}|{b}"}} * 1)',
    'label_replace({a}, "job", "one", "", "")',
    'label_replace({a}, "~x", "one", "", "")',
    'label_replace({a}, "x", "one", "job", "(")',
    'label_join({a}, "a-b", "-", "job")',
    "holt_winters({a}[5m], 2, 0.5)",
    "holt_winters({a}[5m], 0.5, 0)",
    "topk(NaN, {a})",
    "bottomk(1e30, {a})",
    'count_values("a-b", {a})',
    "sum({a}",
    "rate({a})",
    "{a}[5m] + 1",
    "{a} offset 5m offset 5m",
    "sum by (job) ({a}, {b})",
    "1 and {a}",
    "{a} == bool on (job) group_left (job) owner",
    '{{job=~".*"}}',
    "{a} unless on (job) group_left {b}",
    "{a}[5m:]",
    "nothing({a})",
    "{a} > bool bool 1",
    "1 > 2",
    "sum_over_time({a}[0s])",
    'absent_over_time({{__name__="{a}",job="api",job="db"}}[5m])',
]
"""Queries that are refused, or nearly."""
