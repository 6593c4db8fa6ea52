"""Drawing binary operators between vectors, over labels that do match."""

from __future__ import annotations

from dataclasses import replace

from metricsmith.testing.promql import vectors as of
from metricsmith.testing.promql.draw import Draw
from metricsmith.testing.promql.vectors import METRICS, Vec


class Joins(Draw):
    """Draws operators between two vectors."""

    def between_vectors(self, depth: int) -> Vec:
        """Return a join or a set operator."""
        left = self.vector(depth)
        right = self.selector(of.OWNER) if self.chance(0.2) else self.vector(depth)
        if self.chance(0.3):
            return self._set(left, right)
        if self.chance(0.4):  # the usual case: the same metric once more, or its like
            right = self._relative(left)
        return self._joined(_unique(left), _unique(right))

    def _relative(self, vec: Vec) -> Vec:
        alike = [metric for metric in METRICS if metric.labels >= vec.labels]
        return self.selector(self.one(alike)) if alike and self.chance(0.7) else vec

    def _set(self, left: Vec, right: Vec) -> Vec:
        op, common = self.one(["and", "or", "unless"]), sorted(left.labels & right.labels)
        clauses = [
            "",
            f" on ({', '.join(common)})",
            f" ignoring ({', '.join(sorted(left.labels ^ right.labels))})",
        ]
        text = f"({left.text} {op}{self.one(clauses)} {right.text})"
        if op != "or":
            return replace(left, text=text, ordered=False)
        return Vec(
            text,
            frozenset(common),
            max(left.size, right.size),
            exact=left.exact and right.exact,
            whole=left.whole and right.whole,
            positive=left.positive and right.positive,
            finite=left.finite and right.finite,
            unique=False,
        )

    def _joined(self, left: Vec, right: Vec) -> Vec:
        common = left.labels & right.labels
        if not (left.labels <= right.labels or right.labels <= left.labels):
            left = _reduced(left, common, self.one(["max", "min"]))
        on = f" on ({', '.join(sorted(common))})"
        apart = f" ignoring ({', '.join(sorted(left.labels ^ right.labels) or ['absent'])})"
        if left.labels == right.labels:
            return self._operated(left, right, self.one(["", on, apart]), common)
        larger = left.labels > right.labels
        many, one = (left, right) if larger else (right, left)
        include = (
            self.some([*sorted(one.labels - common), "absent", "zone", "__name__"])
            if self.chance(0.3)
            else []
        )
        group = f" group_{'left' if larger else 'right'}" + (
            f" ({', '.join(include)})" if self.chance(0.9) else ""
        )
        return self._operated(left, right, self.one([on, apart]) + group, many.labels)

    def _operated(self, left: Vec, right: Vec, clause: str, labels: frozenset[str]) -> Vec:
        exact, sharp = left.exact and right.exact, left.sharp and right.sharp
        if exact:
            op = self.one(of.ARITHMETIC + of.COMPARISONS)
        else:
            # A quotient of numbers that are wrong by a fixed amount may be wrong by any.
            ops = ["*"] * (sharp or (left.tame and right.tame)) + ["/"] * (2 * sharp)
            op = self.one(ops + ["+", "-"] * (left.tame and right.tame) or ["+"])
        bool_ = " bool" if op in of.COMPARISONS and self.chance(0.4) else ""
        vec = Vec(
            f"({left.text} {op}{bool_}{clause} {right.text})",
            labels,
            max(left.size, right.size) * 2,
            exact=exact,
            positive=left.positive and right.positive and op in "+*/",
            whole=left.whole and right.whole and op in "+-",
            finite=left.finite and right.finite and op not in "/%^",
        )
        if bool_:
            return vec.counted(vec.text)
        if op in of.COMPARISONS:
            return replace(vec, positive=left.positive, whole=left.whole, finite=left.finite)
        if op in ("^", "atan2"):
            return vec.rounded(vec.text, finite=False)
        return replace(vec, size=left.size * right.size) if op == "*" else vec


def _unique(vec: Vec) -> Vec:
    return vec if vec.unique else _reduced(vec, vec.labels, "max")


def _reduced(vec: Vec, labels: frozenset[str], op: str) -> Vec:
    text = f"{op} by ({', '.join(sorted(labels))}) ({vec.text})"
    reduced = vec.mapped(text, whole=vec.whole, positive=vec.positive)
    return replace(reduced, labels=labels, unique=True)
