"""Generated query texts: of the language that Prometheus 2.42 shares with 3.x, and of the whole of ours."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from metricsmith.testing.services import Server

METRICS = ["x", "http_requests_total", "a:b", "sum", "offset", "by", "and", "Without", "start", "_"]
LABELS = ["job", "le", "on", "by", "sum", "group_left", "end", "ATAN2", "_a1"]
STRINGS = ['"a"', "'b|c'", "`d.*`", '""', r'"\x41é\n"', r"'\''", "'.+'", '"世"']
NUMBERS = ["0", "1", "2.5", ".5", "3.", "1e3", "1E-2", "0x1F", "017", "089", "Inf", "nan", "iNF"]
DURATIONS = ["5m", "1h30m", "90s", "1d", "10ms", "1y2w3d4h5m6s7ms"]
MODERN_NUMBERS = [*NUMBERS, "1_000", "0x_F_F", "5m", "1_0.5_0e0_1"]
MODERN_DURATIONS = [
    *["300", "0.5", "5m + 1m", "-(5m - 1h)", "2 * step()", "(range() / 4) ^ 2"],
    *["min_of(5m, 2 ^ 3 ^ 1 * 1m)", "MAX(step(), 1m % 7)", "5 - -step()"],
]
MODERN_OFFSETS = ["0s", "7", "step()", "-range()", "(5m + 1)", "-(2 * step())", "+3m", "max_of(1m, step())"]
TO_VECTOR = [
    "abs",
    "sort",
    "absent",
    "histogram_quantile",
    "round",
    "label_replace",
    "label_join",
    "clamp",
    "hour",
]
OF_RANGE = ["rate", "increase", "max_over_time", "quantile_over_time", "predict_linear", "holt_winters"]
PLAIN_AGGREGATIONS = ["sum", "avg", "count", "MIN", "max", "group", "stddev", "stdvar"]
ARITHMETIC = ["+", "-", "*", "/", "%", "^", "atan2"]
COMPARISONS = ["==", "!=", "<", ">", "<=", ">="]
SETS = ["and", "or", "unless"]
MODERN_CALLS = [
    *("info", "sort_by_label", "histogram_quantiles", "histogram_fraction"),
    *("ts_of_min_over_time", "increase"),
]


class Grammar:
    """Draws well-typed queries; `modern` adds what Prometheus 2.42 does not know."""

    def __init__(self, draw: DrawFn, modern: bool) -> None:
        self._draw = draw
        self._modern = modern

    def _one(self, choices: list[str]) -> str:
        return self._draw(st.sampled_from(choices))

    def _maybe(self, text: str) -> str:
        return text if self._draw(st.booleans()) else ""

    def _space(self) -> str:
        return self._draw(st.sampled_from(["", "", " ", "\n", "\t", " # note\n"]))

    def any(self, depth: int) -> str:
        kinds = [
            self.vector,
            self.vector,
            self.vector,
            self.scalar,
            self.ranged,
            lambda _: self._one(STRINGS),
        ]
        return self._space() + self._draw(st.sampled_from(kinds))(depth) + self._space()

    def selector(self) -> str:
        matchers = [
            f"{self._one(LABELS)}{self._space()}{self._one(['=', '!=', '=~', '!~'])}{self._one(STRINGS)}"
            for _ in range(self._draw(st.integers(0, 2)))
        ]
        name = self._one(METRICS)
        if self._modern and self._draw(st.booleans()):
            named = [f'"{name}.é"', *matchers, f'"some label"="{name}"']
            return "{" + ",".join(self._draw(st.permutations(named))) + "}"
        return f"{name}{{{', '.join(matchers)}{self._maybe(',') if matchers else ''}}}"

    def _extension(self) -> str:
        return self._maybe(f" {self._one(['anchored', 'SMOOTHED'])}") if self._modern else ""

    def _modifiers(self) -> str:
        offsets = DURATIONS + [f"-{duration}" for duration in DURATIONS]
        offset = self._one(offsets + MODERN_OFFSETS if self._modern else offsets)
        at = self._one(["start()", "end()", "1.5", "-3", "+1e9", "1603774568.123"])
        both = [self._maybe(f" offset {offset}"), self._maybe(f" @ {at}")]
        return "".join(self._draw(st.permutations(both)))

    def _duration(self) -> str:
        return self._one(DURATIONS + MODERN_DURATIONS if self._modern else DURATIONS)

    def ranged(self, depth: int) -> str:
        if depth > 0 and self._draw(st.booleans()):
            inner = f"({self.vector(depth - 1)})"
            return f"{inner}[{self._duration()}:{self._maybe(self._duration())}]{self._modifiers()}"
        return f"{self.selector()}[{self._duration()}]{self._modifiers()}"

    def scalar(self, depth: int) -> str:
        number = self._one(MODERN_NUMBERS if self._modern else NUMBERS)
        if depth == 0:
            return number
        below = depth - 1
        match self._draw(st.integers(0, 5)):
            case 0:
                return f"{self.scalar(below)} {self._one(ARITHMETIC)} {self.scalar(below)}"
            case 1:
                return f"{self.scalar(below)} {self._one(COMPARISONS)} bool {self.scalar(below)}"
            case 2:
                return f"{self._one(['-', '+'])}{self.scalar(below)}"
            case 3:
                return f"scalar({self.vector(below)})"
            case 4:
                return f"({self.scalar(below)})"
            case _:
                return self._one([number, "time()", "pi()"])

    def vector(self, depth: int) -> str:
        if depth == 0:
            return self.selector() + self._modifiers() + self._extension()
        below = depth - 1
        match self._draw(st.integers(0, 6)):
            case 0:
                return self._binary(below)
            case 1:
                return self._aggregation(below)
            case 2:
                return f"{self._one(['-', '+'])}{self.vector(below)}"
            case 3:
                return f"({self._space()}{self.vector(below)})"
            case 4:
                return self._call(self._one(TO_VECTOR), below)
            case 5:
                return self._call(self._one(OF_RANGE + (MODERN_CALLS if self._modern else [])), below)
            case _:
                return f"vector({self.scalar(below)})"

    def _binary(self, depth: int) -> str:
        if self._draw(st.booleans()):
            # Bare, `1 == 2 == x` would compare 1 with 2.
            sides = self._draw(st.permutations([f"({self.vector(depth)})", self.scalar(depth)]))
            return f"{sides[0]} {self._one(ARITHMETIC + COMPARISONS)} {sides[1]}"
        op = self._one(ARITHMETIC + COMPARISONS + SETS)
        bool_ = self._maybe(" bool") if op in COMPARISONS else ""
        matching = self._maybe(f"{bool_} {self._one(['on', 'ignoring'])} ({self._one(LABELS)}) ")
        if matching and op not in SETS:
            matching += self._one(["", "group_left ()", "group_right ()", "group_left (extra, more)"])
        if self._modern and op not in SETS:
            matching += self._one(["", "", " fill (0)", " fill_left (-1)", " fill_right(nan) FILL_LEFT(1h)"])
        lhs, rhs = self.vector(depth), self.vector(depth)
        # Bare, `x + on (a) 1 * y` would match x with 1.
        return f"({lhs}) {op}{matching} ({rhs})" if matching else f"{lhs} {op}{bool_} {rhs}"

    def _aggregation(self, depth: int) -> str:
        labels = self._draw(st.lists(st.sampled_from(LABELS + (['"é"'] if self._modern else [])), max_size=3))
        grouping = self._maybe(f" {self._one(['by', 'WITHOUT'])} ({', '.join(labels)})")
        op, args = self._one(PLAIN_AGGREGATIONS), self.vector(depth)
        match self._draw(st.integers(0, 3)):
            case 0:
                op, args = self._one(["topk", "bottomk", "quantile"]), f"{self.scalar(depth)}, {args}"
            case 1:
                op, args = "count_values", f"{self._one(STRINGS)}, {args}"
            case 2 if self._modern:
                op, args = self._one(["limitk", "limit_ratio"]), f"{self.scalar(depth)}, {args}"
        return f"{op}{grouping}({args})" if self._draw(st.booleans()) else f"{op}({args}){grouping}"

    def _call(self, function: str, depth: int) -> str:
        vector, scalar, ranged = self.vector(depth), self.scalar(depth), self.ranged(depth)
        strings = [self._one(STRINGS) for _ in range(4)]
        args = {
            "histogram_quantile": [scalar, vector],
            "quantile_over_time": [scalar, ranged],
            "predict_linear": [ranged, scalar],
            "holt_winters": [ranged, "0.5", scalar],
            "round": [vector, *([scalar] if self._draw(st.booleans()) else [])],
            "label_replace": [vector, *strings],
            "label_join": [vector, *strings[: self._draw(st.integers(2, 4))]],
            "clamp": [vector, scalar, "1"],
            "hour": [vector] if self._draw(st.booleans()) else [],
            "info": [vector, *([f"{{{self._one(LABELS)}=~'.+'}}"] if self._draw(st.booleans()) else [])],
            "sort_by_label": [vector, *strings[: self._draw(st.integers(0, 3))]],
            "histogram_quantiles": [vector, strings[0], scalar, "0.5"],
            "histogram_fraction": [scalar, "1", vector],
            "increase": [f"{self.selector()}[{self._duration()}]{self._extension()}{self._modifiers()}"],
        }.get(function, [ranged] if function in OF_RANGE or function.endswith("_over_time") else [vector])
        return f"{function}{self._space()}({', '.join(args)})"


@st.composite
def _queries(draw: DrawFn, *, modern: bool) -> str:
    return Grammar(draw, modern).any(draw(st.integers(0, 3)))


@st.composite
def _damaged(draw: DrawFn) -> str:
    text = draw(_queries(modern=False))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 3)))
        scraps = [
            "",
            "(",
            ")",
            ",",
            "[",
            "]",
            "{",
            "}",
            '"',
            "by",
            "bool",
            " on(a) ",
            "-",
            "=",
            "5m",
            "1",
            " ",
            ":",
        ]
        text = text[:start] + draw(st.sampled_from(scraps)) + text[end:]
    return text


@pytest.fixture(scope="session")
def queries() -> SearchStrategy[str]:
    """Valid queries in the whole language."""
    return _queries(modern=True)


@pytest.fixture(scope="session")
def shared_queries() -> SearchStrategy[str]:
    """Valid queries in the language that Prometheus 2.42 shares with 3.x."""
    return _queries(modern=False)


@pytest.fixture(scope="session")
def damaged_queries() -> SearchStrategy[str]:
    """Queries of the shared language with one to three scraps cut out or put in: most are refused."""
    return _damaged()


@pytest.fixture(scope="session")
def refusal(prometheus: Server) -> Callable[[str], str | None]:
    """Ask the real Prometheus why it refuses a query: None if it accepts it."""

    def ask(query: str) -> str | None:
        body = urllib.parse.urlencode({"query": query}).encode()
        try:
            urllib.request.urlopen(f"{prometheus.url}/api/v1/format_query", body, timeout=60).close()
        except urllib.error.HTTPError as error:
            with error:
                return str(json.load(error)["error"]).removeprefix('invalid parameter "query": ')
        return None

    return ask
