"""Random queries that are well-typed, mostly have an answer, and whose precision is known.

Every expression carries what is known of its value (`Vec`). So joins are asked over labels that do match,
and what amplifies a last bit (`exclusions.CONSTRUCTS`) is asked of exact numbers only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from metricsmith.testing.promql import vectors as of
from metricsmith.testing.promql.duel import Question
from metricsmith.testing.promql.joins import Joins
from metricsmith.testing.promql.vectors import METRICS, Vec

ROUNDING = 1e-13
"""Error of a computed number, as a share of the largest number on the way to it."""


class Grammar(Joins):
    """Draws queries from a seed."""

    def __init__(self, seed: int | str) -> None:
        super().__init__(seed)
        self._kinds: dict[Callable[[int], Vec], int] = {
            self._of_range: 16,
            self._aggregation: 14,
            self._ranking: 6,
            self._with_scalar: 9,
            self._chain: 4,
            self._with_moving_scalar: 3,
            self.between_vectors: 14,
            self._elementwise: 6,
            self._histogram: 5,
            self._labelled: 5,
            self._of_time: 3,
            self._rest: 6,
        }

    def question(self) -> Question:
        """Return a query, and when to ask it."""
        depth = self.weighted({0: 1, 1: 4, 2: 6, 3: 4, 4: 2})
        kind = self._random.random()
        if kind < 0.04:
            names = [metric.text for metric in METRICS if metric.finite]
            return self._when(_loose(self.one(of.REFUSED).format(a=self.one(names), b=self.one(names))))
        if kind < 0.10:
            return self._when(_loose(self._other_type(depth)))
        return self._when(self.vector(depth))

    def _when(self, vec: Vec) -> Question:
        minute = self._random.randint(4, 37) if self.chance(0.9) else self._random.randint(-3, 50)
        question = Question(
            vec.text,
            minute + self.one([0.0, 0.0, 0.1, 0.25, 0.0125]),
            precision="exact" if vec.exact else "close",
            absolute=vec.size * ROUNDING if vec.size < of.MODERATE and not vec.sharp else 0.0,
        )
        if self.chance(0.5):
            return replace(question, ordered=vec.ordered)
        minutes, step_s = self.one(of.GRIDS)
        return replace(question, minutes=minutes, step_s=step_s)

    def _other_type(self, depth: int) -> str:
        samples, inner = self.ranged(depth)
        if not inner.labels or "@" in samples:  # it may be constant
            samples, _ = self.ranged(0)
        return self.one([self.scalar(depth), samples, '"text é\\n"', self.scalar(depth)])

    def vector(self, depth: int) -> Vec:
        """Return an instant vector nested at most this deep."""
        return self.weighted(self._kinds)(depth - 1) if depth else self.selector()

    def _of_range(self, depth: int) -> Vec:
        if self.chance(0.3):
            return self._rate()
        samples, vec = self.ranged(depth)
        choices = [self._counting, self._extreme]
        if vec.tame:
            choices += [self._changing, self._summing, self._summing, self._spread, self._line]
        elif vec in METRICS and vec.size < of.MODERATE:
            choices += [self._sum_of_odd] * 2
        return self.one(choices)(samples, vec)

    def _rate(self) -> Vec:
        samples, vec = self.ranged(0, self.one(of.COUNTERS))
        text = f"{self.one(['rate', 'rate', 'increase', 'irate'])}({samples})"
        # Of whole numbers all sums are exact, and the rest is computed in one order.
        return vec.mapped(text, positive=True) if vec.whole else vec.rounded(text, positive=True)

    def _counting(self, samples: str, vec: Vec) -> Vec:
        of_exact = ["changes", "resets"] if vec.exact else []
        return vec.counted(f"{self.one(['count_over_time', 'present_over_time', *of_exact])}({samples})")

    def _extreme(self, samples: str, vec: Vec) -> Vec:
        text = f"{self.one(['min_over_time', 'max_over_time', 'last_over_time'])}({samples})"
        return vec.mapped(text, whole=vec.whole, positive=vec.positive)

    def _changing(self, samples: str, vec: Vec) -> Vec:
        of_exact = ["rate", "increase", "irate"] if vec.exact else []
        text = f"{self.one(['delta', 'idelta', *of_exact])}({samples})"
        exact = vec.whole or text.startswith(("delta", "idelta", "irate"))
        return vec.mapped(text, vec.size * 1e3) if exact else vec.rounded(text, vec.size * 1e3)

    def _summing(self, samples: str, vec: Vec) -> Vec:
        op = self.one(["sum_over_time", "avg_over_time"])
        if op == "sum_over_time" and vec.whole:
            return vec.mapped(f"{op}({samples})", vec.size * 1e3, whole=True, positive=vec.positive)
        return vec.rounded(f"{op}({samples})", vec.size * 1e3, positive=vec.positive)

    def _sum_of_odd(self, samples: str, vec: Vec) -> Vec:
        op = self.one(["sum", "avg", "stddev", "stdvar"])
        return vec.rounded(f"{op}_over_time({samples})", vec.size**2, finite=False)

    def _spread(self, samples: str, vec: Vec) -> Vec:
        if self.chance(0.5) or not vec.exact or vec.size > of.VARIED:
            quantile = self.one(of.QUANTILES)
            return replace(vec.mapped(f"quantile_over_time({quantile}, {samples})"), finite=False)
        return vec.rounded(f"{self.one(['stddev', 'stdvar'])}_over_time({samples})", vec.size**2)

    def _line(self, samples: str, vec: Vec) -> Vec:
        lines = of.LINES[:2] if "@" in samples else of.LINES
        return vec.rounded(self.one(lines).format(samples), vec.size * 1e3)

    def _aggregation(self, depth: int) -> Vec:
        vec = self.vector(depth)
        ops = ["min", "max", "count", "group"]
        if vec.tame:
            ops += ["sum", "sum", "sum", "avg", "avg"]
            ops += ["stddev", "stdvar"] * (vec.exact and vec.size <= of.VARIED)
        op = self.one(ops)
        vec = self.aggregated(op, vec)
        if op in ("count", "group"):
            return vec.counted(vec.text)
        if op in ("min", "max") or (op == "sum" and vec.whole):
            return vec.mapped(vec.text, vec.size * 100, whole=vec.whole, positive=vec.positive)
        if op in ("sum", "avg"):
            return vec.rounded(vec.text, vec.size * 100, positive=vec.positive)
        return vec.rounded(vec.text, vec.size**2)

    def _ranking(self, depth: int) -> Vec:
        match self._random.randint(0, 3):
            case 0:
                vec = self.aggregated("quantile", self.vector(depth), f"{self.one(of.QUANTILES)}, ")
                return replace(vec.mapped(vec.text), finite=False)
            case 1:
                vec = self.aggregated("count_values", self.exact(depth), '"zvalue", ')
                return replace(vec.counted(vec.text), labels=vec.labels | {"zvalue"})
        vec = self.distinct()
        grouping, _ = self.grouping(vec)
        number = self.one(["1", "2", "3", "0.4", "100", "-1"])
        text = f"{self.one(['topk', 'bottomk'])}{grouping} ({number}, {vec.text})"
        return replace(vec, text=text, ordered=not grouping)

    def _with_scalar(self, depth: int) -> Vec:
        vec = self.vector(depth)
        if self.chance(0.5):
            return self._compared(vec)
        op = self.one(of.ARITHMETIC if vec.exact else ["+", "-", "*"] if vec.tame else ["*"])
        odd = vec.exact and self.chance(0.08)
        constant = self.one(of.ODD_CONSTANTS if odd else of.CONSTANTS)
        sides = [vec.text, constant] if self.chance(0.7) else [constant, vec.text]
        text = f"({sides[0]} {op} {sides[1]})"
        if op in ("^", "atan2"):
            return vec.rounded(text, finite=False)
        mapped = vec.mapped(text, vec.size * 1e3)
        return replace(mapped, finite=vec.finite and not odd and op not in "/%")

    def _chain(self, depth: int) -> Vec:
        """Return operators between vectors with the same labels, without parentheses."""
        names = [self.one(of.ALIKE) + self.modifiers() for _ in range(self._random.randint(3, 5))]
        text = names[0]
        for name in names[1:]:
            comparison = self.one(of.COMPARISONS) + self.one(["", " bool"])
            text += f" {self.one(['+', '-', '*', '/', '%', 'and', 'or', 'unless', comparison])} {name}"
        return Vec(f"({self.one(['', '-'])}{text})", of.JOB_INSTANCE, 1e12, finite=False)

    def _with_moving_scalar(self, depth: int) -> Vec:
        """Return a parameter that changes from step to step."""
        number = self.one(["steps", "level", "sparse", "flapping"])
        moving = f"scalar({number}{{job='{self.one(['api', 'db'])}',instance='a:1'}})"
        moving = self.one([moving, f"(time() % {self.one(['60', '7', '0.7'])})", f"({moving} / 3)"])
        vec = self.one([metric for metric in METRICS if metric.distinct])
        vec = replace(vec, text=self.matched(vec) + self.offset())
        samples = f"{self.matched(self.one(of.COUNTERS))}[{self.one(of.RANGES)}]{self.offset()}"
        exact = [
            f"{self.one(['topk', 'bottomk'])}({moving}, {vec.text})",
            f"clamp_{self.one(['min', 'max'])}({vec.text}, {moving})",
            f"clamp({vec.text}, {moving}, {self.one(of.CONSTANTS)})",
            f"({vec.text} {self.one(['>', '<', '-', '*', '+', '/', '>= bool'])} {moving})",
        ]
        if self.chance(0.5):
            return replace(vec.mapped(self.one(exact)), finite=False)
        rounded = [
            f"quantile({moving}, {vec.text})",
            f"quantile by (job) ({moving}, {vec.text})",
            f"quantile_over_time({moving}, {samples})",
            f"histogram_quantile({moving}, seconds_bucket)",
            f"holt_winters({samples}, {self.one([moving, '0.5'])}, 0.5)",
            f"predict_linear({samples}, {moving})",
        ]
        return _loose(self.one(rounded))

    def _compared(self, vec: Vec) -> Vec:
        thresholds = of.CONSTANTS if vec.exact else of.BETWEEN_VALUES
        bool_ = " bool" if self.chance(0.3) else ""
        op = self.one(of.COMPARISONS if self.chance(0.4) else [">", "!=", "<"])
        sides = [vec.text, self.one(thresholds)]
        if self.chance(0.15):
            sides.reverse()
        text = f"({sides[0]} {op}{bool_} {sides[1]})"
        return vec.counted(text) if bool_ else replace(vec, text=text, ordered=False)

    def _elementwise(self, depth: int) -> Vec:
        vec = self.vector(depth)
        match self._random.randint(0, 7):
            case 0:
                return vec.mapped(f"abs({vec.text})", whole=vec.whole, positive=vec.positive)
            case 1:
                low, high = self.one(of.CONSTANTS), self.one([*of.CONSTANTS, "NaN", "Inf"])
                return replace(vec.mapped(f"clamp({vec.text}, {low}, {high})"), finite=False)
            case 2:
                text = f"clamp_{self.one(['min', 'max'])}({vec.text}, {self.scalar(0)})"
                return replace(vec.mapped(text), finite=False)
            case 3:
                return vec.mapped(f"{self.one(['deg', 'rad'])}({vec.text})", vec.size * 100)
            case 4:
                return vec.mapped(f"{self.one(['-', '+'])}{vec.text}", whole=vec.whole)
        return self._of_exact(self.exact(depth))

    def _of_exact(self, vec: Vec) -> Vec:
        match self._random.randint(0, 2):
            case 0:
                to = f", {self.one(['5', '0.1', '-2', '1e3', '0', 'NaN'])}" if self.chance(0.7) else ""
                return replace(vec.mapped(f"round({vec.text}{to})", vec.size * 10), finite=False)
            case 1:
                text = f"{self.one(of.STEPWISE)}({vec.text})"
                return replace(vec.mapped(text, positive=vec.positive), finite=False)
        functions = [*of.SMOOTH, *(["cosh", "sinh"] if vec.size <= of.LARGEST_EXPONENT else [])]
        return vec.rounded(f"{self.one(functions)}({vec.text})", finite=False)

    def _histogram(self, depth: int) -> Vec:
        quantile = self.one([*of.QUANTILES[:6], *of.QUANTILES])
        if self.chance(0.25):
            buckets = self.one(["broken_bucket", "rate(broken_bucket[5m])", "sum by (le) (broken_bucket)"])
            return _loose(f"histogram_quantile({quantile}, {buckets})")
        matched = self.matched(of.COUNTERS[-1])
        samples = f"{matched}[{self.one(of.RANGES)}]{self.modifiers()}"
        rate = f"{self.one(['rate', 'increase'])}({samples})"
        keeps = self.one([of.JOB_INSTANCE, frozenset({"job"}), frozenset[str]()])
        summed = f"sum by ({', '.join(sorted({'le', *keeps}))}) ({rate})"
        buckets = self.one([rate, matched]) if keeps == of.JOB_INSTANCE else summed
        return replace(
            _loose(f"histogram_quantile({quantile}, {buckets})"), labels=keeps, exact=buckets != summed
        )

    def _labelled(self, depth: int) -> Vec:
        vec = self.vector(depth)
        match self._random.randint(0, 6):
            case 0 | 1:
                source = self.one(of.LABELS)
                text = f'label_replace({vec.text}, "dst", "${{1}}-$2x", "{source}", "(.*?)(:.*)?")'
                return replace(vec, text=text, labels=vec.labels | {"dst"}, ordered=False)
            case 2:
                text = f'label_replace({vec.text}, "job", "${{1}}x", "instance", "(.):.*")'
                return replace(vec, text=text, unique=False, ordered=False)
            case 3:
                text = f'label_join({vec.text}, "dst", "-", "job", "instance", "absent")'
                return replace(vec, text=text, labels=vec.labels | {"dst"}, ordered=False)
            case 4 | 5:
                texts = [f"absent({vec.text})", f"absent_over_time({self.ranged(depth)[0]})"]
                return Vec(self.one(texts), frozenset(), 1.0, whole=True, positive=True, unique=False)
        vec = self.distinct()
        return replace(vec, text=f"{self.one(['sort', 'sort_desc'])}({vec.text})", ordered=True)

    def _of_time(self, depth: int) -> Vec:
        match self._random.randint(0, 3):
            case 0:
                inner = self.vector(depth)
                return inner.counted(f"timestamp(({inner.text}) + 0)")
            case 1:
                metric = self.weighted(METRICS)
                text = f"timestamp({self.matched(metric)}{self.modifiers(only_one=True)})"
                return metric.mapped(text, 1e10)
        part, dates = self.one(of.DATES), self.selector(of.DATES_ONLY)
        now = Vec(f"{part}()", frozenset(), 1e4, whole=True)
        return self.one([dates.counted(f"{part}({dates.text})"), now])

    def _rest(self, depth: int) -> Vec:
        match self._random.randint(0, 3):
            case 0:
                return _loose(f"vector({self.scalar(depth)})")
            case 3:
                # Nothing comes of floats, and of nothing something may come.
                nothing = f"{self.one(['histogram_count', 'histogram_sum'])}({self.vector(depth).text})"
                return _loose(f"({nothing} or {self.selector().text})")
            case 1:
                vec = self.vector(depth)
                if vec.sharp:
                    return vec.rounded(f"({vec.text} * {self.scalar(depth)})", finite=False)
        vec = self.vector(depth)
        return replace(vec, text=f"({vec.text})")


def _loose(text: str) -> Vec:
    """Return an expression of which little is known."""
    return Vec(text, frozenset(), 1e3, exact=False, finite=False)
